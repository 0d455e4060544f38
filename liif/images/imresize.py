"""MATLAB's ``imresize`` with the bicubic kernel, to the last grey level.

Breaking any of these rules changes pixels: the kernel is widened when downscaling (antialiasing);
the border is symmetric with the edge pixel repeated; the axis with the smaller scale comes first,
rows before columns when equal; uint8 is rounded half away from zero and clipped between the two
passes as well as after them; all sums are in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array

from liif.images.pixels import PictureLike, channels_of, image_array, like
from liif.system import arguments

Float64 = NDArray[np.float64]


def cubic(x: Float64, a: float = -0.5) -> Float64:
    """Keys' cubic convolution kernel; MATLAB's a is −0.5.

    R. G. Keys, "Cubic convolution interpolation for digital image processing", 1981, eq. 15.
    """
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


@lru_cache(maxsize=512)
def resize_matrix(
    n_in: int, n_out: int, scale: float, antialiasing: bool = True
) -> csr_array[np.float64]:
    """The matrix (n_out, n_in) that resizes one axis: ``output = matrix @ input``.

    Sparse, float64, every row sums to 1. Cached, since training uses the same few hundred.
    """
    stretch = scale if scale < 1 and antialiasing else 1.0
    width = 4 / stretch
    centre = np.arange(1, n_out + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(centre - width / 2)
    taps = left[:, None] + np.arange(ceil(width) + 2)
    weights = stretch * cubic(stretch * (centre[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(n_in), np.arange(n_in)[::-1]])
    columns = mirror[np.mod(taps.astype(np.int64) - 1, 2 * n_in)]
    rows = np.broadcast_to(np.arange(n_out)[:, None], columns.shape)
    used = weights != 0
    # Taps that the border mirrors onto one pixel are added up by the constructor.
    return csr_array((weights[used], (rows[used], columns[used])), shape=(n_out, n_in))


def imresize(
    image: PictureLike, scale_or_size: float | tuple[int, int], *, antialiasing: bool = True
) -> PictureLike:
    """Resize a picture as MATLAB's ``imresize(image, scale_or_size, 'bicubic')`` does.

    Parameters
    ----------
    image : (H, W) or (H, W, C), uint8, uint16 or floating point in any range; or a PIL picture
        Any picture down to 1×1.
    scale_or_size : float or (rows, cols)
        A scale for both axes, for an output of ceil(scale · size); or the output's size, for
        which each axis has its own scale, out / in.
    antialiasing : bool
        Widen the kernel when downscaling (MATLAB's default).

    Returns
    -------
    The same kind: uint8 to MATLAB's grey level, uint16 by the same rule, float64 to 1e−12, float32
    and float16 computed in float64. A floating-point picture is neither rounded nor clipped.

    Raises
    ------
    TypeError
        The picture is neither an array of uint8, uint16 or floating point nor a PIL picture; or
        the scale or size is not a number.
    ValueError
        A dimension, scale or size is not positive.

    Notes
    -----
    Equal to MATLAB R2019b on the values in ``tests/images/test_imresize.py``. Pillow, OpenCV,
    torch and scikit-image all differ from it.
    """
    if isinstance(image, Image.Image):
        channels = imresize(channels_of(image), scale_or_size, antialiasing=antialiasing)
        return like(image, channels)
    given = image_array(image)
    rounds = given.dtype in (np.uint8, np.uint16)
    sizes, scales = _target(given.shape[:2], scale_or_size)
    white = np.iinfo(given.dtype).max if rounds else 0
    pixels = given.astype(np.float64).reshape(*image.shape[:2], -1)
    for axis in sorted((0, 1), key=lambda a: scales[a]):
        matrix = resize_matrix(pixels.shape[axis], sizes[axis], scales[axis], antialiasing)
        columns = np.swapaxes(pixels, 0, axis)
        resized = np.asarray(matrix @ columns.reshape(len(columns), -1))
        pixels = np.swapaxes(resized.reshape(-1, *columns.shape[1:]), 0, axis)
        if rounds:
            pixels = np.clip(np.floor(pixels + 0.5), 0, white)
    return pixels.reshape(*sizes, *image.shape[2:]).astype(image.dtype)


def target_size(
    shape: tuple[int, ...], scale: float | None = None, size: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Rows and columns of an upscaled picture, from either `scale` or `size` (rows, cols).

    Scales are exact to six decimals of a pixel: 1.1 times 100 is 110, not 111. Anything below the
    picture's size is a ValueError.
    """
    if (scale is None) == (size is None):
        raise ValueError("pass either `scale` or `size`")
    if size is None:
        factor = arguments.number("scale", scale)
        if factor < 1:
            raise ValueError(f"`scale` (={scale}) must be 1 or more; liif.imresize downscales")
        return ceil(round(factor * shape[0], 6)), ceil(round(factor * shape[1], 6))
    rows, cols = arguments.size("size", size)
    if rows < shape[0] or cols < shape[1]:
        raise ValueError(
            f"size {cols}x{rows} is less than the picture's {shape[1]}x{shape[0]} pixels (width x "
            "height); liif.imresize downscales"
        )
    return rows, cols


def _target(
    shape: tuple[int, ...], scale_or_size: float | tuple[int, int]
) -> tuple[tuple[int, int], tuple[float, float]]:
    """The output size and the scale of each axis, (row, col)."""
    given = scale_or_size
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes):
        rows, cols = arguments.size("scale_or_size", given)
        return (rows, cols), (rows / shape[0], cols / shape[1])
    scale = arguments.number("scale_or_size", given, others=" or two (rows, columns)")
    if scale <= 0:
        raise ValueError(f"`scale` (={scale}) must be positive")
    return (ceil(scale * shape[0]), ceil(scale * shape[1])), (scale, scale)
