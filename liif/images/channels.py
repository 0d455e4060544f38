"""How any picture, grey or with transparency, goes through a way of enlarging RGB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from liif.images.metadata import Metadata
from liif.images.pixels import Pixels, white_level

Band = tuple[slice, Pixels]
"""Rows of the enlarged picture, and their pixels (r, W, C)."""
BandUpscaler = Callable[[Pixels, tuple[int, int]], Iterator[tuple[slice, NDArray[np.float32]]]]
"""A way of enlarging: RGB (h, w, 3), size → bands of rows (r, W, 3) in 0..1, top to bottom."""


@dataclass(frozen=True, kw_only=True)
class Upscaled:
    """A picture that comes band by band."""

    bands: Iterator[Band]
    shape: tuple[int, int, int]
    """(H, W, C)."""
    dtype: np.dtype[Any]
    metadata: Metadata


def upscale_bands(pixels: Pixels, size: tuple[int, int], rgb: BandUpscaler) -> Iterator[Band]:
    """A picture enlarged band by band, of the same type and channels.

    Integers are rounded to the nearest level. Grey pictures are enlarged as RGB and averaged.
    Colours under full transparency, which mean nothing, are replaced by the nearest that do, so
    that none of them shows at the edges; transparency is enlarged in the same way as grey, but
    stays exactly where the picture around is all of one transparency.

    Parameters
    ----------
    size
        (rows, cols), not below the picture's.
    """
    channels = pixels.shape[2]
    has_alpha = channels in (2, 4)
    colour = pixels[..., :-1] if has_alpha else pixels
    alpha = pixels[..., -1] if has_alpha else None
    if alpha is not None:
        colour = _spread(colour, alpha)
    grey = colour.shape[2] == 1
    alphas = None if alpha is None else _Alpha(alpha, size, rgb)
    for rows, band in rgb(_as_rgb(colour), size):
        made = band.mean(axis=2, keepdims=True) if grey else band
        if alphas is not None:
            made = np.concatenate([made, alphas.rows(rows)], axis=2)
        yield rows, _levels(made, pixels.dtype)


def join_bands(bands: Iterator[Band], shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Pixels:
    """All bands in one picture."""
    out = np.empty(shape, dtype=dtype)
    for rows, band in bands:
        out[rows] = band
    return out


def _as_rgb(colour: Pixels) -> Pixels:
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour


def _levels(unit: NDArray[np.float32], dtype: np.dtype[Any]) -> Pixels:
    white = white_level(dtype)
    return (unit if white == 1 else np.floor(unit * white + 0.5)).astype(dtype)


def _spread(colour: Pixels, alpha: Pixels) -> Pixels:
    """The colour of the nearest pixel that is not fully transparent, where one is."""
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return colour
    rows, cols = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    spread: Pixels = colour[rows, cols]
    return spread


class _Alpha:
    """Transparency enlarged, band by band along with the colours."""

    def __init__(self, alpha: Pixels, size: tuple[int, int], rgb: BandUpscaler) -> None:
        self._white = white_level(alpha.dtype)
        self._constant = alpha.flat[0] if (alpha == alpha.flat[0]).all() else None
        self._width = size[1]
        if self._constant is not None:
            return
        self._strips = rgb(_as_rgb(alpha[..., None]), size)
        self._alpha = alpha
        axes = zip(size, alpha.shape, strict=True)
        self._rows, self._cols = (_around(n, small) for n, small in axes)

    def rows(self, rows: slice) -> NDArray[np.float32]:
        """(r, W, 1) in 0..1; asked for in order."""
        if self._constant is not None:
            shape = (rows.stop - rows.start, self._width, 1)
            return np.full(shape, self._constant / self._white, dtype=np.float32)
        own, band = next(self._strips)
        assert own == rows
        # Within what the four pixels around have: the network's ringing would show as a haze.
        low, high = (self._of_four(best, rows) for best in (np.minimum, np.maximum))
        clipped: NDArray[np.float32] = np.clip(band.mean(axis=2), low, high)
        return clipped[..., None].astype(np.float32)

    def _of_four(self, best: np.ufunc, rows: slice) -> NDArray[np.float32]:
        """The least or the greatest of the four pixels around each of these rows."""
        above, below = (self._alpha[index[rows]] for index in self._rows)
        both = best(above, below)
        left, right = (both[:, index] for index in self._cols)
        found: NDArray[np.float32] = best(left, right) / np.float32(self._white)
        return found


def _around(n_out: int, n_in: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each pixel of an enlarged axis those of the small one before and after it."""
    position = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    before = np.floor(position).astype(np.intp)
    return np.clip(before, 0, n_in - 1), np.clip(before + 1, 0, n_in - 1)
