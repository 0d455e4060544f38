"""What reducing does: MATLAB's imresize, and other bicubics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array

from liif.images.imresize import cubic, imresize, resize_matrix
from liif.images.metrics import psnr_of_error
from liif.images.pixels import RGB8

Float64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """A way of reducing the picture, against imresize with antialiasing."""

    picture: RGB8
    error: RGB8
    """Grey levels of difference, the largest of the channels."""
    psnr: float
    differ: float
    """Share of the pixels."""

    @property
    def largest(self) -> int:
        """The largest difference, in grey levels."""
        return int(self.error.max())


def reductions(hr: RGB8, scale: float) -> dict[str, Reduction]:
    """The picture reduced by imresize, without antialiasing, and by other bicubics."""
    exact = imresize(hr, 1 / scale)
    rows, cols = exact.shape[:2]
    pillow = Image.fromarray(hr).resize((cols, rows), Image.Resampling.BICUBIC)
    made: dict[str, RGB8] = {
        "with_antialiasing": exact,
        "without_antialiasing": imresize(hr, 1 / scale, antialiasing=False),
        "pillow": np.asarray(pillow),
        "opencv": opencv_style(hr, (rows, cols)),
    }
    return {key: _against(picture, exact) for key, picture in made.items()}


def _against(picture: RGB8, exact: RGB8) -> Reduction:
    error = np.abs(picture.astype(np.int16) - exact).astype(np.uint8)
    return Reduction(
        picture=picture,
        error=error.max(axis=2),
        psnr=psnr_of_error(float((error.astype(np.float64) ** 2).mean()) / 255**2),
        differ=float((error.max(axis=2) > 0).mean()),
    )


def opencv_kernel(x: Float64) -> Float64:
    """Keys' kernel with a = −0.75, as OpenCV's INTER_CUBIC has it."""
    x = np.abs(x)
    near = 1.25 * x**3 - 2.25 * x**2 + 1
    far = -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def opencv_style(picture: RGB8, size: tuple[int, int]) -> RGB8:
    """Bicubic as OpenCV's INTER_CUBIC: 4×4 taps at any scale, the edge pixel repeated."""
    pixels = picture.astype(np.float64)
    for axis, n_out in enumerate(size):
        n_in = picture.shape[axis]
        centre = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
        taps = np.floor(centre)[:, None] + np.arange(-1, 3)
        weights = opencv_kernel(centre[:, None] - taps)
        columns = np.clip(taps.astype(int), 0, n_in - 1)
        rows = np.broadcast_to(np.arange(n_out)[:, None], columns.shape)
        matrix = csr_array((weights.ravel(), (rows.ravel(), columns.ravel())), shape=(n_out, n_in))
        moved = np.moveaxis(pixels, axis, 0)
        result = (matrix @ moved.reshape(n_in, -1)).reshape(n_out, *moved.shape[1:])
        pixels = np.moveaxis(result, 0, axis)
    return np.clip(np.floor(pixels + 0.5), 0, 255).astype(np.uint8)


Curve = tuple[Float64, Float64, Float64, Float64]


def kernels(scale: float) -> dict[str, Curve]:
    """Kernels of a reduction: the curve (x, y), and the taps (x, weight) of a pixel inside."""
    reach = 2 * scale + 1
    x = np.linspace(-reach, reach, 801)
    shapes: dict[str, Callable[[Float64], Float64]] = {
        "with_antialiasing": lambda d: cubic(d / scale) / scale,
        "without_antialiasing": cubic,
        "opencv": opencv_kernel,
    }
    # The taps of imresize are those that it works with, at a pixel far from any border.
    n_out = 9
    n_in = ceil(n_out * scale)
    centre = (n_out // 2 + 0.5) * scale - 0.5
    curves: dict[str, Curve] = {}
    for key, shape in shapes.items():
        if key == "opencv":
            taps = np.floor(centre) + np.arange(-1.0, 3.0)
            weights = opencv_kernel(taps - centre)
        else:
            matrix = resize_matrix(n_in, n_out, 1 / scale, key == "with_antialiasing")
            line = matrix[[n_out // 2], :].toarray().ravel()
            taps = np.flatnonzero(line).astype(np.float64)
            weights = line[np.flatnonzero(line)]
        curves[key] = (x, shape(x), taps - centre, weights)
    return curves
