"""Checkpoints: our safetensors files; those of others are read by `liif.checkpoints.authors`.

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
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from liif.checkpoints import authors as foreign
from liif.checkpoints import catalog as known
from liif.checkpoints.state_dict import count_of, require_tensors
from liif.config import Architecture, RDNEncoder
from liif.network import device as devices
from liif.network.decoder import Decoder
from liif.network.edsr import EDSR
from liif.network.model import LIIF
from liif.network.rdn import RDN
from liif.system import arguments
from liif.system.errors import UserError, printable
from liif.system.files import atomic_write

BUNDLED = Path(__file__).parents[1] / "assets" / "weights" / "edsr-baseline-liif.safetensors"
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
    # As bytes, since the library's own writing to a file goes by a temporary file of its own, which
    # would stay for ever when the process is killed.
    data = to_bytes(contiguous, metadata={_KEY: text})
    with atomic_write(path) as part:
        part.write_bytes(data)


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
        `bundled` (the released EDSR-baseline weights), a name of `liif weights` that was fetched,
        or a file: ours, the authors' or mmagic's. Nothing in the file is executed.
    device
        Where the model is put: `cpu`, `cuda`, `cuda:1`, `mps`, `xpu`.

    Raises
    ------
    UserError
        The file is missing, unreadable or of no known layout.
    TypeError, ValueError
        `path` is no path, or there is no such device.
    """
    if not isinstance(path, str | Path):
        raise TypeError(f"`path` must be a name or a path, not {arguments.shown(path)}")
    try:
        where = devices.named(device)
    except UserError:
        raise ValueError(
            f"`device` (={device}) is not available here; give cpu, cuda, mps or xpu"
        ) from None
    model, _, _ = read(path)
    return model.to(where).eval()


def locate(weights: str | Path) -> Path:
    """The file of `bundled`, of a known name that is bundled or was fetched, or of a path.

    Raises
    ------
    UserError
        There is no such file.
    """
    path = BUNDLED if str(weights) == "bundled" else Path(weights)
    if not path.is_file() and str(weights) in known.WEIGHTS:
        path = BUNDLED if known.WEIGHTS[str(weights)].bundled else known.cached(str(weights))
        if not path.is_file():
            raise UserError(f"{weights}: is not here yet; get it by `liif weights fetch {weights}`")
    if not path.is_file():
        raise UserError(f"{weights}: no such weights file")
    return path


def read(path: str | Path = "bundled") -> tuple[LIIF, Architecture, dict[str, Any]]:
    """A model with its architecture and provenance, from any format that `load` takes."""
    path = locate(path)
    if is_safetensors(path):
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
        if not isinstance(provenance, dict) or not isinstance(provenance.get("format", ""), str):
            raise UserError(f"{path}: its provenance is of no known kind")
        require_tensors(path, tensors)
    else:
        tensors, architecture, provenance = foreign.read(path)
    _require_fitting(architecture, tensors, path)
    model = build(architecture)
    model.load_state_dict(dict(tensors))
    return model, architecture, provenance


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as safetensors does: a length, then that much JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    if len(head) < 9 or head[8:] != b"{":
        return False
    length: int = struct.unpack("<Q", head[:8])[0]
    return length <= path.stat().st_size


def _require_fitting(architecture: Architecture, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Every key must fit, and every value be a number.

    Found out before memory is taken for the network, whose sizes are only what a file says.
    """
    count = count_of(architecture)
    if count > 10 * len(tensors) + 1000:
        raise UserError(
            f"{path}: does not fit its architecture, which has {count} tensors; it holds "
            f"{len(tensors)}"
        )
    try:
        with torch.device("meta"):
            expected = build(architecture).state_dict()
    except (RuntimeError, ValueError, TypeError, OverflowError):
        raise UserError(f"{path}: its architecture is larger than any that there is") from None
    wrong = [f"{k} is missing" for k in expected if k not in tensors]
    wrong += [f"{printable(k)} is unknown" for k in tensors if k not in expected]
    wrong += [
        f"{k} is {tuple(tensors[k].shape)} and should be {tuple(expected[k].shape)}"
        for k in expected
        if k in tensors and tensors[k].shape != expected[k].shape
    ]
    if wrong:
        count = len(wrong)
        raise UserError(
            f"{path}: {count} tensor{'s do' if count > 1 else ' does'} not fit its architecture: "
            f"{'; '.join(wrong)}"
        )
    broken = [k for k, t in tensors.items() if not bool(torch.isfinite(t.to(torch.float32)).all())]
    if broken:
        raise UserError(f"{path}: has values that are no numbers, in {', '.join(broken[:4])}")
