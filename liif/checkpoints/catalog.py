"""Known weights: published checkpoints by name, fetched once and kept in a cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from liif.system.errors import UserError

CACHE = "LIIF_CACHE"
"""The variable that names another folder for the cache."""


class Known(NamedTuple):
    """A published checkpoint."""

    network: str
    origin: str
    url: str
    sha256: str = ""
    """Its sha256, or as much of its beginning as was published."""
    bundled: bool = False
    """It comes with the program, converted."""


WEIGHTS = {
    "edsr-baseline": Known(
        "EDSR-baseline-LIIF",
        "the authors of LIIF; is `bundled`",
        "https://www.dropbox.com/s/6f402wcn4v83w2v/edsr-baseline-liif.pth?dl=1",
        "1cf77e16f33ee17bd04049f497eaea1e06f25585dbb1919e4c7cd1d9d4d23d57",
        bundled=True,
    ),
    "rdn": Known(
        "RDN-LIIF",
        "the authors of LIIF",
        "https://www.dropbox.com/s/mzha6ll9kb9bwy0/rdn-liif.pth?dl=1",
    ),
    "mmagic-edsr-baseline": Known(
        "EDSR-baseline-LIIF",
        "mmagic",
        "https://download.openmmlab.com/mmediting/restorers/liif/"
        "liif_edsr_norm_c64b16_g1_1000k_div2k_20210715-ab7ce3fc.pth",
        "ab7ce3fc",
    ),
    "mmagic-rdn": Known(
        "RDN-LIIF",
        "mmagic",
        "https://download.openmmlab.com/mmediting/restorers/liif/"
        "liif_rdn_norm_c64b16_g1_1000k_div2k_20210717-22d6fdc8.pth",
        "22d6fdc8",
    ),
}
"""By the name that `--weights` takes."""


def folder() -> Path:
    """Where fetched weights are kept."""
    given = os.environ.get(CACHE)
    return (Path(given) if given else user_cache_path("liif")) / "weights"


def cached(name: str) -> Path:
    """Where weights of that name are, or would be."""
    return folder() / f"{name}.safetensors"


def require(name: str) -> None:
    """Refuse a name that none of these weights has.

    Raises
    ------
    UserError
        The names that there are, are listed.
    """
    if name not in WEIGHTS:
        raise UserError(f"`{name}` is none of {', '.join(WEIGHTS)}")


def is_here(name: str) -> bool:
    """Whether the weights can be used without being fetched."""
    return WEIGHTS[name].bundled or cached(name).is_file()


def fetch(name: str, *, sha256: str | None = None) -> Path:
    """Fetch known weights, unless they are there, and convert them to our format.

    Parameters
    ----------
    sha256
        What the published file must be, where no whole checksum of it is known here.

    Raises
    ------
    UserError
        No such name; or the file cannot be had, or is another.
    """
    from liif.checkpoints import convert
    from liif.checkpoints import format as checkpoint
    from liif.system.progress import log

    require(name)
    path, known = cached(name), WEIGHTS[name]
    if known.bundled:
        return checkpoint.BUNDLED
    if path.is_file():
        checkpoint.read(path)  # complains if it is damaged
        return path
    if sha256 is not None and not sha256.startswith(known.sha256):
        raise UserError(f"{name}: its sha256 begins with {known.sha256}, not with that given")
    digest = sha256 or known.sha256
    convert.import_weights(
        known.url, path, sha256=digest, partial=folder() / ".partial", network=known.network
    )
    if len(digest) < 64:
        _, _, provenance = checkpoint.read(path)
        of_it = f"only {digest} of its sha256 is" if digest else "no checksum of it is"
        log(f"{name}: {of_it} published; what came has {provenance['sha256']}")
    return path
