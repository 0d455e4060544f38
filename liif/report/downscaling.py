"""Downscaling: MATLAB's imresize against other bicubics."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array

from liif.images.imresize import cubic, imresize, resize_matrix
from liif.images.metrics import psnr
from liif.images.pixels import RGB8
from liif.report.render import heat_map

AMPLIFIED = 8
"""Factor that makes differences to other bicubics visible."""
_OPENCV = -0.75
"""The parameter of the cubic kernel of OpenCV's INTER_CUBIC."""
Float64 = NDArray[np.float64]


class Reduction(NamedTuple):
    """A downscaled picture, compared with imresize with antialiasing."""

    picture: RGB8
    psnr: float
    differ: float
    """Fraction of pixels that differ."""
    largest: int
    """Largest difference in grey levels."""
    difference: RGB8
    """Heat map of the largest difference of the channels."""


def reductions(hr: RGB8, scale: float) -> dict[str, Reduction]:
    """The picture downscaled by imresize, with and without antialiasing, and by other bicubics."""
    exact = imresize(hr, 1 / scale)
    rows, cols = exact.shape[:2]
    pillow = Image.fromarray(hr).resize((cols, rows), Image.Resampling.BICUBIC)
    made: dict[str, RGB8] = {
        "with_antialiasing": exact,
        "without_antialiasing": imresize(hr, 1 / scale, antialiasing=False),
        "pillow": np.asarray(pillow),
        "opencv": opencv_style(hr, (rows, cols)),
    }
    found = {}
    for key, picture in made.items():
        error = np.abs(picture.astype(np.int16) - exact).max(axis=2)
        difference = heat_map(np.minimum(error / 255 * AMPLIFIED, 1))
        differ, largest = float((error > 0).mean()), int(error.max())
        found[key] = Reduction(picture, psnr(picture, exact), differ, largest, difference)
    return found


def opencv_style(picture: RGB8, size: tuple[int, int]) -> RGB8:
    """Bicubic like OpenCV's INTER_CUBIC: 4×4 taps at any scale, edge pixels replicated."""
    pixels = picture.astype(np.float64)
    for axis, n_out in enumerate(size):
        n_in = picture.shape[axis]
        centre = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
        taps = np.floor(centre)[:, None] + np.arange(-1, 3)
        weights = cubic(centre[:, None] - taps, _OPENCV)
        columns = np.clip(taps.astype(int), 0, n_in - 1)
        rows = np.broadcast_to(np.arange(n_out)[:, None], columns.shape)
        matrix = csr_array((weights.ravel(), (rows.ravel(), columns.ravel())), shape=(n_out, n_in))
        moved = np.moveaxis(pixels, axis, 0)
        result = (matrix @ moved.reshape(n_in, -1)).reshape(n_out, *moved.shape[1:])
        pixels = np.moveaxis(result, 0, axis)
    return np.clip(np.floor(pixels + 0.5), 0, 255).astype(np.uint8)


Curve = tuple[Float64, Float64, Float64, Float64]


def kernels(scale: float) -> dict[str, Curve]:
    """Kernels of a reduction: a curve (x, y), and the taps (x, weight) of an inner pixel."""
    n_out = 9
    n_in, row = ceil(n_out * scale), n_out // 2
    centre = (row + 0.5) * scale - 0.5

    def imresize_taps(antialiasing: bool) -> tuple[Float64, Float64]:
        weights = resize_matrix(n_in, n_out, 1 / scale, antialiasing)[[row], :].toarray().ravel()
        taps = np.flatnonzero(weights)
        return taps.astype(np.float64) - centre, weights[taps]

    x = np.linspace(-2 * scale - 1, 2 * scale + 1, 801)
    taps = np.floor(centre) + np.arange(-1.0, 3.0) - centre
    return {
        "with_antialiasing": (x, cubic(x / scale) / scale, *imresize_taps(True)),
        "without_antialiasing": (x, cubic(x), *imresize_taps(False)),
        "opencv": (x, cubic(x, _OPENCV), taps, cubic(taps, _OPENCV)),
    }
