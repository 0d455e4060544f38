"""Conversion of weights of any format to liif's, after a download where needed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from liif.checkpoints.catalog import CATALOG, folder, local_path, locate, published_network
from liif.checkpoints.describe import FORMATS, normalisation
from liif.checkpoints.format import load_metadata, save_checkpoint
from liif.checkpoints.load import read_checkpoint
from liif.checkpoints.outputs import name_of
from liif.recipe import Weights
from liif.system.errors import UserError
from liif.system.files import DiskFull, file_sha256, require_writable
from liif.system.locks import lock
from liif.system.progress import log
from liif.system.redact import redact


def fetch_weights(name: str, *, sha256: str | None = None) -> Path:
    """Download and convert weights of the catalog, unless they are there.

    `sha256` is for entries without a complete checksum.
    """
    path, entry = local_path(name), CATALOG[name]
    if path.is_file():
        read_checkpoint(path)  # refuses damaged files
        return path
    if sha256 is not None and not sha256.startswith(entry.sha256):
        raise UserError(f"{name}: its sha256 begins with {entry.sha256}, not with the given one")
    digest = sha256 or entry.sha256
    partial = folder() / ".partial"
    convert_weights(entry.url, path, sha256=digest, partial=partial, network=entry.network)
    if len(digest) < 64:
        published_part = f"only {digest} of its sha256 is" if digest else "no checksum of it is"
        found = load_metadata(path)["provenance"]["sha256"]
        log(f"{name}: {published_part} published; the downloaded file has {found}")
    return path


def convert_weights(
    source: str, out: Path, *, sha256: str | None, partial: Path, network: str | None = None
) -> None:
    """Convert weights of any format that `load` takes; a URL is downloaded into `partial` first.

    `sha256` is the file's checksum, or its leading digits, and needed for a URL; `network` the
    published network that is expected.
    """
    if not source.startswith(("http://", "https://")):
        path = _checked(locate(source), sha256)
        if out.exists() and out.samefile(path):
            raise UserError(f"{out}: is the file to convert; choose another output name")
        _convert(path, out, source, network)
        return
    shown = redact(source)
    if sha256 is None:
        raise UserError(f"{shown}: pass its --sha256, so that it can be verified")
    downloaded = partial / f"{name_of(out)}.weights"
    if not (downloaded.is_file() and file_sha256(downloaded).startswith(sha256 or "-")):
        download_weights(source, downloaded, sha256, partial)
    try:
        _convert(downloaded, out, shown, network)
    except DiskFull:  # the next try needs the download
        raise
    except UserError:
        downloaded.unlink()
        raise
    downloaded.unlink()


def file_of(weights: Weights) -> Path:
    """The file of weights in a configuration; one with a `url` is downloaded once and kept."""
    if weights.url is None:
        return _checked(locate(str(weights.weights)), weights.sha256)
    path = folder() / f"{weights.sha256}.weights"
    if not path.is_file():
        with lock(folder() / ".partial" / f"{path.stem}.lock", f"downloading {path.name}"):
            download_weights(weights.url, path, str(weights.sha256), folder() / ".partial")
    return _checked(path, weights.sha256)


def download_weights(url: str, out: Path, sha256: str, partial: Path) -> None:
    """Download weights as they are, checked and resumable."""
    from liif.system.http import fetch

    require_writable(out, partial)
    fetch((url,), out, partial / out.stem, digest=sha256)
    with suppress(OSError):  # it holds another unfinished file
        (partial / out.stem).rmdir()


def _checked(path: Path, sha256: str | None) -> Path:
    """The file, if it has that checksum."""
    if sha256 is not None and not (found := file_sha256(path)).startswith(sha256):
        raise UserError(f"{path}: its sha256 is {found}, not {sha256}; is it another version?")
    return path


def _convert(path: Path, out: Path, source: str, network: str | None) -> None:
    model, architecture, provenance = read_checkpoint(path)
    found = published_network(architecture)
    if network is not None and found != network:
        raise UserError(f"{source}: expected {network}, found {found or 'another network'}")
    layout, basis = provenance.get("format"), "as the file says"
    if layout == "authors":
        basis = "assumed, as in all of the authors' weights"
    elif layout == "mmagic" and "published model" in str(provenance.get("normalisation")):
        basis = "assumed, as in mmagic's published model"
    if layout in FORMATS:
        provenance = {"sha256": file_sha256(path), **provenance}
        source = f"{source}, {FORMATS[layout]} layout"
    save_checkpoint(out, model, architecture, provenance)
    size = sum(p.numel() for p in model.parameters())
    scale = provenance.get("res_scale")
    folded = f"; residual scaling {scale:g} folded into the weights" if scale else ""
    encoder = architecture.encoder.name.upper()
    log(f"{out.name}: {encoder} with {size:,} parameters from {source}{folded}")
    log(f"normalised by {normalisation(architecture)} ({basis})")
