"""The catalog: weights by name, where they are kept, and how good they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from platformdirs import user_cache_path

from liif.system.errors import UserError

if TYPE_CHECKING:  # the names are read without PyTorch
    from liif.network.build import Architecture

WEIGHTS = Path(__file__).parents[1] / "assets" / "weights"
"""Folder of the weights that are part of liif."""
BUNDLED = WEIGHTS / "edsr-baseline-liif.safetensors"
"""The EDSR-baseline weights that the authors of LIIF released."""
MEASURED = WEIGHTS / "models.json"
"""Measurements by `make models`."""
CACHE = "LIIF_CACHE"
"""Environment variable that sets another cache folder."""


EDSR_LIIF, RDN_LIIF = "EDSR-baseline-LIIF", "RDN-LIIF"
"""Networks of the paper."""


def published_network(architecture: Architecture) -> str | None:
    """Name of the published network with this architecture, if there is one."""
    from liif.network.build import Architecture, EDSREncoder, RDNEncoder

    for name, encoder in ((EDSR_LIIF, EDSREncoder()), (RDN_LIIF, RDNEncoder())):
        if architecture == Architecture(
            encoder=encoder, mean=architecture.mean, std=architecture.std
        ):
            return name
    return None


class Entry(NamedTuple):
    """Weights with a name: published ones, or liif's own."""

    network: str
    origin: str
    purpose: str
    """Purpose of the weights."""
    url: str = ""
    sha256: str = ""
    """Checksum of the file at the URL, or as many leading digits as were published."""
    file: str = ""
    """Name of the file that is part of liif."""


_MMAGIC = "https://download.openmmlab.com/mmediting/restorers/liif/"
CATALOG = {
    "edsr-baseline": Entry(
        EDSR_LIIF,
        "LIIF's authors",
        "clean pictures",
        "https://www.dropbox.com/s/6f402wcn4v83w2v/edsr-baseline-liif.pth?dl=1",
        "1cf77e16f33ee17bd04049f497eaea1e06f25585dbb1919e4c7cd1d9d4d23d57",
        file=BUNDLED.name,
    ),
    "fast": Entry(
        "EDSR-baseline with a narrow decoder",
        "this project",
        "clean pictures, quickly",
        file="fast.safetensors",
    ),
    "photo": Entry(EDSR_LIIF, "this project", "JPEG artefacts and noise", file="photo.safetensors"),
    "rdn": Entry(
        RDN_LIIF,
        "LIIF's authors",
        "clean pictures",
        "https://www.dropbox.com/s/mzha6ll9kb9bwy0/rdn-liif.pth?dl=1",
    ),
    "mmagic-edsr-baseline": Entry(
        EDSR_LIIF,
        "mmagic",
        "clean pictures",
        f"{_MMAGIC}liif_edsr_norm_c64b16_g1_1000k_div2k_20210715-ab7ce3fc.pth",
        "ab7ce3fc",
    ),
    "mmagic-rdn": Entry(
        RDN_LIIF,
        "mmagic",
        "clean pictures",
        f"{_MMAGIC}liif_rdn_norm_c64b16_g1_1000k_div2k_20210717-22d6fdc8.pth",
        "22d6fdc8",
    ),
}
"""Weights by the names that `--weights` takes."""


def folder() -> Path:
    """Folder of the fetched weights."""
    given = os.environ.get(CACHE)
    return (Path(given) if given else user_cache_path("liif")) / "weights"


def local_path(name: str) -> Path:
    """Where the catalog's weights are, or will be once fetched."""
    if name not in CATALOG:
        raise UserError(f"`{name}` is not one of {', '.join(CATALOG)}")
    file = CATALOG[name].file
    return WEIGHTS / file if file else folder() / f"{name}.safetensors"


def is_name(weights: str) -> bool:
    """Whether these are `bundled` or a name of the catalog, and not a file of that name."""
    return weights == "bundled" or (weights in CATALOG and not Path(weights).is_file())


def locate(weights: str | Path) -> Path:
    """The file of `bundled`, of a path, or of a name in the catalog, in this order."""
    name, path = str(weights), Path(weights)
    if name == "bundled":
        return BUNDLED
    if is_name(name):
        path = local_path(name)
        if not path.is_file():
            raise UserError(f"{name}: not fetched yet; run `liif weights fetch {name}`")
    require_known(name)
    if not path.is_file():
        raise UserError(f"{name}: no such weights file")
    return path


def require_known(weights: str) -> None:
    """Refuse a single word that is neither a file nor a name."""
    path = Path(weights)
    a_word = path.name == weights and not path.suffix
    if a_word and not is_name(weights) and not path.is_file():
        names = f"bundled, {', '.join(CATALOG)}"
        raise UserError(f"{weights}: no such weights file; the names of weights are {names}")


def measurements() -> dict[str, Any]:
    """What `make models` measured: PSNR, colours and time of each model."""
    measured: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return measured


def as_used(measured: dict[str, Any], case: str, scale: int) -> dict[str, float]:
    """A measured model's PSNR and colour shift with back-projection; bicubic has none."""
    ways: dict[str, dict[str, float]] = measured["quality"][case][str(scale)]
    return ways.get("with", ways["without"])
