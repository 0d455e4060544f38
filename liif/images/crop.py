"""Crops of pictures: centred, to a multiple of a scale, and where most detail is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from liif.images.pixels import RGB8


def centre_crop(picture: RGB8, side: int | None) -> RGB8:
    """The centred square of that side; the whole picture for None."""
    if side is None:
        return picture
    height, width = picture.shape[:2]
    if min(height, width) < side:
        raise ValueError(
            f"is {height}×{width}, smaller than the crop of {side}×{side}; "
            "remove it or lower `data.crop`"
        )
    row, col = (height - side) // 2, (width - side) // 2
    return picture[row : row + side, col : col + side]


def crop_to_multiple(picture: RGB8, scale: float) -> RGB8:
    """Crop to a multiple of an integer scale, keeping the top left; other scales crop nothing."""
    height, width = picture.shape[:2]
    if min(height, width) < scale:
        raise ValueError(f"is {height}×{width}, too small to be downscaled by {scale:g}")
    if not float(scale).is_integer():
        return picture
    factor = int(scale)
    return picture[: height - height % factor, : width - width % factor]


def most_detailed_square(picture: RGB8, side: int) -> tuple[slice, slice]:
    """Rows and columns of the square with the strongest structure, from a grid of 5×5."""
    height, width = picture.shape[:2]
    rows = np.linspace(0, height - side, min(5, height - side + 1)).astype(int)
    cols = np.linspace(0, width - side, min(5, width - side + 1)).astype(int)
    squares = [(slice(r, r + side), slice(c, c + side)) for r in rows for c in cols]
    return max(squares, key=lambda square: _structure(picture[square]))


def _structure(square: RGB8) -> float:
    """Differences between blocks of 8×8 pixels: edges count, gravel does not."""
    rows, cols = (max(1, n // 8) for n in square.shape[:2])
    height, width = square.shape[0] // rows * rows, square.shape[1] // cols * cols
    blocks = square[:height, :width].reshape(rows, height // rows, cols, width // cols, 3)
    grey: NDArray[np.float64] = blocks.mean(axis=(1, 3, 4))
    return sum(float(np.abs(np.diff(grey, axis=a)).sum()) for a in (0, 1))
