"""Pictures as the page shows them: 8 bits, and not larger than a browser can handle."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from liif.app.limits import preview_factor
from liif.images.channels import Band
from liif.images.pixels import Pixels, eight_bits, to_image
from liif.inference.plan import Shape

_SECONDS = 0.25
"""Seconds between two bands, so that a fast computation makes few files."""


def save(path: Path, pixels: Pixels, icc: bytes | None = None) -> None:
    """Write a PNG for the page, quickly rather than small."""
    image = to_image(eight_bits(pixels))
    image.save(path, format="PNG", compress_level=1, icc_profile=icc)


def shrunk(pixels: Pixels, factor: int) -> Pixels:
    """The picture (H, W, C) in 8 bits averaged over squares of that many pixels a side."""
    eight = eight_bits(pixels)
    if factor == 1:
        return eight
    height, width, channels = eight.shape
    padded = np.pad(eight, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    squares = padded.reshape(len(padded) // factor, factor, -1, factor, channels)
    means: Pixels = np.rint(squares.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)
    return means


class Bands:
    """Writes the bands of a picture as files for the page, as they are computed.

    Parameters
    ----------
    folder
        Where to write `band-0.png` and so on.
    emit
        Called with the first row of each file, and with the share of rows that exist by then.
    """

    def __init__(
        self, folder: Path, emit: Callable[[int, float], None], icc: bytes | None = None
    ) -> None:
        self._folder, self._emit, self._icc = folder, emit, icc
        self._waiting: list[Pixels] = []
        self._count = self._row = 0
        self._last = time.monotonic()

    def __call__(self, band: Band, shape: Shape) -> None:
        """Add a band of a picture of that shape."""
        rows, pixels = band
        self._waiting.append(pixels)
        at_end, now = rows.stop == shape[0], time.monotonic()
        if not at_end and now < self._last + _SECONDS:
            return
        factor = preview_factor(*shape[:2])
        have = np.concatenate(self._waiting)
        whole = len(have) if at_end else len(have) // factor * factor
        if whole == 0:
            return
        small = shrunk(have[:whole], factor)
        save(self._folder / f"band-{self._count}.png", small, self._icc)
        self._emit(self._row, rows.stop / shape[0])
        self._waiting, self._last = [have[whole:]], now
        self._count, self._row = self._count + 1, self._row + len(small)


def thumbnail_size(image: Image.Image, side: int = 128) -> Image.Image:
    """The size of a picture downscaled to at most that many pixels a side."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.BOX)
    return small
