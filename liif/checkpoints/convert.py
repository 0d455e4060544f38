"""Weights of any format → ours."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from liif.checkpoints import format as checkpoint
from liif.checkpoints import published
from liif.system.errors import UserError
from liif.system.files import DiskFull, file_sha256
from liif.system.progress import log
from liif.system.redact import redact


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
        path = checkpoint.locate(source)
        if out.exists() and out.samefile(path):
            raise UserError(f"{out}: is what is to be converted; give another name")
        _convert(path, out, source, network)
        return
    shown = redact(source)
    from liif.system.http import fetch

    if sha256 is None:
        raise UserError(f"{shown}: give its --sha256, so that it can be checked")
    fetched = partial / f"{out.stem}.weights"
    if not (fetched.is_file() and file_sha256(fetched).startswith(sha256 or "-")):
        # In a folder of its own: another model may be of the same file.
        own = partial / out.stem
        fetch((source,), fetched, own, digest=sha256)
        with suppress(OSError):  # what is there of another file stays
            own.rmdir()
    try:
        _convert(fetched, out, shown, network)
    except DiskFull:  # the next try needs it
        raise
    except UserError:
        fetched.unlink()
        raise
    fetched.unlink()  # what is kept is the conversion


def _convert(path: Path, out: Path, source: str, network: str | None) -> None:
    model, architecture, provenance = checkpoint.read(path)
    found = published.network(architecture)
    if network is not None and found != network:
        raise UserError(f"{source}: is no {network}, but {found or 'another network'}")
    if provenance.get("format") in ("authors", "mmagic"):
        provenance = {"sha256": file_sha256(path), **provenance}
    checkpoint.save(out, model, architecture, provenance)
    size = sum(p.numel() for p in model.parameters())
    layout = {"authors": ", the authors' layout", "mmagic": ", mmagic's layout"}
    scaled = provenance.get("res_scale")
    folded = f"; residual scaling {scaled:g} folded into the weights" if scaled else ""
    log(
        f"{out}: {architecture.encoder.name.upper()} with {size:,} parameters from {source}"
        f"{layout.get(provenance.get('format', ''), '')}; normalised by mean "
        f"{_numbers(architecture.mean)}, std {_numbers(architecture.std)}"
        f"{_source(provenance)}{folded}"
    )


def _source(provenance: dict[str, Any]) -> str:
    """Whether the normalisation is what the file says."""
    layout, said = provenance.get("format"), str(provenance.get("normalisation"))
    if layout == "mmagic" and "published model" in said:
        return " (assumed: the file does not say; mmagic's published model has it)"
    if layout == "authors":
        return " (assumed: such files do not say; all that the authors published have it)"
    return " (as the file says)"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{v:g}" for v in values)
