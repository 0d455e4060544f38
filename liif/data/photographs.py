"""The catalogue of photographs with free licences, and recognising the pictures held out.

The photographs are in packages of Debian 12. Held out from training are the bundled test and
validation pictures, and the uncropped photographs that they are cut from.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from liif.images.imresize import imresize
from liif.images.pixels import RGB8
from liif.images.read import read_picture

CATALOGUE = Path(__file__).parents[1] / "assets" / "photographs.csv"
THUMBNAILS = CATALOGUE.with_name("held-out.png")
"""The thumbnails of the pictures in `HELD_OUT`, one below the other: first of the bundled crops,
then of the uncropped photographs."""
HELD_OUT = (
    *("test/brushes", "test/clock", "test/dogs", "test/dragonfly", "test/nuthatch", "test/stream"),
    *("valid/fig", "valid/peaks"),
)
"""The bundled pictures that models are measured on."""
SAME = 0.9
"""Least correlation of two thumbnails of one picture. Copies of the held-out ones reach 0.95 at 64
pixels and JPEG quality 10; 67 other wallpapers stay below 0.67."""
_SIDE = 16


class Photograph(NamedTuple):
    """A photograph in a Debian package."""

    name: str
    package: str
    file: str
    """Its path within the package."""
    sha256: str
    size: str
    """Width x height in pixels."""
    author: str
    licence: str


def catalogue() -> list[Photograph]:
    """The photographs with free licences, by name."""
    with CATALOGUE.open(encoding="utf-8", newline="") as file:
        return [Photograph(**row) for row in csv.DictReader(file)]


def credits_table() -> str:
    """The catalogue as a table in Markdown."""
    lines = ["| photograph | package, file | pixels | author | licence |", "|---|---|---|---|---|"]
    for p in catalogue():
        origin = f"{p.package}, {p.file.removeprefix('usr/share/')}"
        lines.append(f"| {p.name} | {origin} | {p.size} | {p.author} | {p.licence} |")
    return "\n".join(lines) + "\n"


def held_out(rgb: RGB8) -> str | None:
    """The bundled test or validation picture (H, W, 3) that this is, in whatever size and quality.

    Compares thumbnails by correlation, which ignores brightness and contrast. Does not recognise
    crops, other than the bundled ones.
    """
    given = _normalised(thumbnail(rgb))
    scores = [float((given * known).sum()) for known in _known()]
    best = int(np.argmax(scores))
    return HELD_OUT[best % len(HELD_OUT)] if scores[best] >= SAME else None


def thumbnail(rgb: RGB8) -> NDArray[np.uint8]:
    """The picture (H, W, 3) in grey, downscaled to 16×16 whatever its aspect."""
    grey: NDArray[np.uint8] = np.rint(imresize(rgb, (_SIDE, _SIDE)).mean(axis=2)).astype(np.uint8)
    return grey


@lru_cache
def _known() -> list[NDArray[np.float64]]:
    column = read_picture(THUMBNAILS).rgb[..., 0]
    return [_normalised(part) for part in np.split(column, 2 * len(HELD_OUT))]


def _normalised(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Zero mean and unit length, unless constant."""
    centred: NDArray[np.float64] = grey - grey.mean()
    return np.divide(centred, max(float(np.linalg.norm(centred)), 1.0))
