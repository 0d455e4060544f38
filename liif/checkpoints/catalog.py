"""The catalog: published weights by name, and where they are kept once fetched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from liif.network.build import Architecture, EDSREncoder, RDNEncoder
from liif.system.errors import UserError

BUNDLED = Path(__file__).parents[1] / "assets" / "weights" / "edsr-baseline-liif.safetensors"
"""The EDSR-baseline weights that the authors of LIIF released."""
CACHE = "LIIF_CACHE"
"""Environment variable that sets another cache folder."""


EDSR_LIIF, RDN_LIIF = "EDSR-baseline-LIIF", "RDN-LIIF"
"""Networks of the paper."""


def published_network(architecture: Architecture) -> str | None:
    """Name of the published network with this architecture, if there is one."""
    for name, encoder in ((EDSR_LIIF, EDSREncoder()), (RDN_LIIF, RDNEncoder())):
        if architecture == Architecture(
            encoder=encoder, mean=architecture.mean, std=architecture.std
        ):
            return name
    return None


class Entry(NamedTuple):
    """A published checkpoint."""

    network: str
    origin: str
    url: str
    sha256: str = ""
    """Its sha256, or as many leading digits as were published."""
    bundled: bool = False
    """Part of liif, already converted."""


_MMAGIC = "https://download.openmmlab.com/mmediting/restorers/liif/"
CATALOG = {
    "edsr-baseline": Entry(
        EDSR_LIIF,
        "the authors of LIIF; is `bundled`",
        "https://www.dropbox.com/s/6f402wcn4v83w2v/edsr-baseline-liif.pth?dl=1",
        "1cf77e16f33ee17bd04049f497eaea1e06f25585dbb1919e4c7cd1d9d4d23d57",
        bundled=True,
    ),
    "rdn": Entry(
        RDN_LIIF,
        "the authors of LIIF",
        "https://www.dropbox.com/s/mzha6ll9kb9bwy0/rdn-liif.pth?dl=1",
    ),
    "mmagic-edsr-baseline": Entry(
        EDSR_LIIF,
        "mmagic",
        f"{_MMAGIC}liif_edsr_norm_c64b16_g1_1000k_div2k_20210715-ab7ce3fc.pth",
        "ab7ce3fc",
    ),
    "mmagic-rdn": Entry(
        RDN_LIIF,
        "mmagic",
        f"{_MMAGIC}liif_rdn_norm_c64b16_g1_1000k_div2k_20210717-22d6fdc8.pth",
        "22d6fdc8",
    ),
}
"""By the name that `--weights` takes."""


def folder() -> Path:
    """Folder of the fetched weights."""
    given = os.environ.get(CACHE)
    return (Path(given) if given else user_cache_path("liif")) / "weights"


def local_path(name: str) -> Path:
    """Where the catalog's weights are, or will be once fetched."""
    if name not in CATALOG:
        raise UserError(f"`{name}` is none of {', '.join(CATALOG)}")
    return BUNDLED if CATALOG[name].bundled else folder() / f"{name}.safetensors"


def locate(weights: str | Path) -> Path:
    """The file of `bundled`, of a name in the catalog that was fetched, or of a path."""
    path = BUNDLED if str(weights) == "bundled" else Path(weights)
    if not path.is_file() and str(weights) in CATALOG:
        path = local_path(str(weights))
        if not path.is_file():
            raise UserError(f"{weights}: not fetched yet; run `liif weights fetch {weights}`")
    if not path.is_file():
        raise UserError(f"{weights}: no such weights file")
    return path
