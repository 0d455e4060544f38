"""Checkpoints: our safetensors files; those of others are read by `liif.foreign`.

Ours hold the weights under their published names and, under one metadata key, sorted JSON with
the architecture and the provenance: equal weights give equal bytes. No time, host or commit.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from liif import foreign, known, published
from liif.config import Architecture, RDNEncoder
from liif.decoder import Decoder
from liif.encoders import EDSR, RDN
from liif.errors import UserError
from liif.files import file_sha256, replacing
from liif.model import LIIF
from liif.progress import say

BUNDLED = Path(__file__).parent / "weights" / "edsr-baseline-liif.safetensors"
"""The EDSR-baseline weights that the authors of LIIF released."""

_FORMAT = 1
_KEY = "liif"


def build(architecture: Architecture) -> LIIF:
    """A network with fresh weights."""
    e = architecture.encoder
    encoder: EDSR | RDN
    if isinstance(e, RDNEncoder):
        encoder = RDN(e.blocks, e.layers, e.growth, e.channels)
    else:
        encoder = EDSR(e.blocks, e.channels)
    return LIIF(
        encoder,
        Decoder(encoder.channels, architecture.hidden),
        skip=architecture.skip,
        mean=architecture.mean,
        std=architecture.std,
    )


def initialise_he(model: LIIF) -> None:
    """He's initialisation of every layer, with the outputs of blocks and network damped.

    K. He et al., "Delving Deep into Rectifiers", ICCV 2015; the damping (×0.3 for the fusion of
    a dense block, ×0.1 for the last layer) lets a short training of a small network start at once.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            if name.endswith("LFF"):
                layer.weight.data *= 0.3
    model.imnet.linears[-1].weight.data *= 0.1


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and one JSON metadata value as safetensors, whole or not at all."""
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    with replacing(path) as part:
        try:
            save_file(contiguous, part, metadata={_KEY: text})
        except SafetensorError as error:
            if "No space" in str(error) or "os error 28" in str(error):
                raise OSError(28, "No space left on device") from None
            raise


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of one of our safetensors files."""
    with _opened(path) as file:
        metadata = _metadata(path, file)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    return tensors, metadata


def load_metadata(path: Path) -> dict[str, Any]:
    """The metadata alone."""
    with _opened(path) as file:
        return _metadata(path, file)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: is no readable safetensors file: {error}") from None


def _metadata(path: Path, file: Any) -> dict[str, Any]:
    text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise UserError(f"{path}: is a safetensors file, but none of liif's (no `{_KEY}` metadata)")
    try:
        metadata = json.loads(text)
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: its `{_KEY}` metadata is damaged")
    return metadata


def save(
    path: Path, model: LIIF, architecture: Architecture, provenance: dict[str, Any] | None = None
) -> None:
    """Write a model to our format; `provenance` is what it was made from (data, recipe, file)."""
    metadata = {
        "format": _FORMAT,
        "architecture": architecture.model_dump(mode="json"),
        "provenance": provenance or {},
    }
    save_tensors(path, model.state_dict(), metadata)


def load(path: str | Path = "bundled", *, device: str | torch.device = "cpu") -> LIIF:
    """A model that is ready to use.

    Parameters
    ----------
    path
        `bundled` (the released EDSR-baseline weights), a file of ours, or a `.pth` of the
        authors. Nothing in the file is executed.
    device
        Where the model is put.

    Raises
    ------
    UserError
        The file is missing, unreadable or of no known layout.
    """
    model, _, _ = read(path)
    return model.to(device).eval()


def locate(weights: str | Path) -> Path:
    """The file of `bundled`, of a known name that was fetched, or of a path.

    Raises
    ------
    UserError
        There is no such file.
    """
    path = BUNDLED if str(weights) == "bundled" else Path(weights)
    if not path.is_file() and str(weights) in known.WEIGHTS:
        path = known.cached(str(weights))
        if not path.is_file():
            raise UserError(f"{weights}: is not here yet; get it by `liif weights fetch {weights}`")
    if not path.is_file():
        raise UserError(f"{weights}: no such weights file")
    return path


def read(path: str | Path = "bundled") -> tuple[LIIF, Architecture, dict[str, Any]]:
    """A model with its architecture and provenance, from any format that `load` takes."""
    path = locate(path)
    if _is_safetensors(path):
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != _FORMAT:
            raise UserError(
                f"{path}: has format {metadata.get('format')}, this liif reads format {_FORMAT}; "
                "update liif"
            )
        try:
            architecture = Architecture.model_validate(metadata.get("architecture"))
        except ValidationError:
            raise UserError(f"{path}: its architecture is of no known kind") from None
        provenance = metadata.get("provenance", {})
    else:
        tensors, architecture, provenance = foreign.read(path)
    model = build(architecture)
    _fill(model, tensors, path)
    return model, architecture, provenance


def _is_safetensors(path: Path) -> bool:
    """Whether the file begins as safetensors does: a length, then that much JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    if len(head) < 9 or head[8:] != b"{":
        return False
    length: int = struct.unpack("<Q", head[:8])[0]
    return length <= path.stat().st_size


def _fill(model: LIIF, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put the tensors into the model; every key must fit."""
    expected = model.state_dict()
    wrong = [f"{k} is missing" for k in expected if k not in tensors]
    wrong += [f"{k} is unknown" for k in tensors if k not in expected]
    wrong += [
        f"{k} is {tuple(tensors[k].shape)} and should be {tuple(expected[k].shape)}"
        for k in expected
        if k in tensors and tensors[k].shape != expected[k].shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 4} more)" if len(wrong) > 4 else ""
        raise UserError(f"{path}: does not fit its architecture: {'; '.join(wrong[:4])}{more}")
    broken = [k for k, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise UserError(f"{path}: has values that are no numbers, in {', '.join(broken[:4])}")
    model.load_state_dict(dict(tensors))


def import_weights(
    source: str, out: Path, *, sha256: str | None, partial: Path, network: str | None = None
) -> None:
    """Convert weights of any format that `load` takes to ours; a URL is downloaded first.

    Parameters
    ----------
    sha256
        What a URL's file must be, or its beginning.
    network
        The published network that it must be.

    Raises
    ------
    UserError
        The source cannot be had or read, is of another network, or a URL was given without its
        sha256.
    """
    if not source.startswith(("http://", "https://")):
        _convert(locate(source), out, source, network)
        return
    from liif.download import fetch

    if sha256 is None:
        raise UserError(f"{source}: give its --sha256, so that it can be checked")
    fetched = partial / f"{out.stem}.weights"
    fetch((source,), fetched, partial, digest=sha256)
    try:
        _convert(fetched, out, source, network)
    finally:
        fetched.unlink()  # what is kept is the conversion


def _convert(path: Path, out: Path, source: str, network: str | None) -> None:
    model, architecture, provenance = read(path)
    found = published.network(architecture)
    if network is not None and found != network:
        raise UserError(f"{source}: is no {network}, but {found or 'another network'}")
    if provenance.get("format") in ("authors", "mmagic"):
        provenance = {"sha256": file_sha256(path), **provenance}
    save(out, model, architecture, provenance)
    size = sum(p.numel() for p in model.parameters())
    layout = {"authors": ", the authors' layout", "mmagic": ", mmagic's layout"}
    say(
        f"{out}: {architecture.encoder.name.upper()} with {size:,} parameters from {source}"
        f"{layout.get(provenance.get('format', ''), '')}; normalised by mean "
        f"{architecture.mean}, std {architecture.std}"
    )
