"""The report's pictures within its page, so that it is one file that can be sent."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import numpy as np

from liif.images.read import read_picture
from liif.report.render import Shown, data_url
from liif.system.progress import Progress

MOST_BYTES = 24_000_000
"""Size of the pictures together, as text; the page's other parts take less than 1 MB."""


def embedded(
    shown: list[Shown], folder: Path, gains: dict[str, float], most: int = MOST_BYTES
) -> list[Shown]:
    """The pictures with data URLs of WebP in place of links relative to the folder.

    Where they would take more than `most` bytes, fewer pictures, evenly chosen by gain.
    """
    progress = Progress("report: embedding", len(shown), unit="pictures")
    inside = {}
    for picture in shown:
        files = {
            version: _url(folder / unquote(link)) for version, link in picture["files"].items()
        }
        inside[picture["name"]] = Shown(**{**picture, "files": files})
        progress.advance()
    sizes = {name: sum(map(len, of["files"].values())) for name, of in inside.items()}
    names, count = list(inside), len(inside)
    while sum(sizes[name] for name in names) > most and count > 1:
        count = max(1, min(count - 1, int(count * most / sum(sizes[name] for name in names))))
        names = evenly(list(inside), count, gains)
    return [inside[name] for name in names]


def _url(path: Path) -> str:
    """A picture in high quality, or without loss where that is small."""
    rgb = read_picture(path).rgb
    return data_url(np.asarray(rgb), lossless=rgb.size < 200_000, quality=90)


def evenly(names: list[str], most: int, gains: dict[str, float]) -> list[str]:
    """At most that many names, evenly chosen from the largest gain to the smallest."""
    if len(names) <= most:
        return names
    ordered = sorted(names, key=lambda n: (gains.get(n, 0.0), n))
    return sorted(ordered[round(i)] for i in np.linspace(0, len(names) - 1, most))
