"""Grey, transparency and integer levels around an upscaler that knows only RGB."""

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
"""Rows of the upscaled picture, and their pixels (r, W, C)."""
BandUpscaler = Callable[[Pixels, tuple[int, int]], Iterator[tuple[slice, NDArray[np.float32]]]]
"""An upscaler: RGB (h, w, 3), size → bands of rows (r, W, 3) in 0..1, top to bottom."""


@dataclass(frozen=True, kw_only=True)
class Upscaled:
    """An upscaled picture, computed band by band."""

    bands: Iterator[Band]
    shape: tuple[int, int, int]
    """(H, W, C)."""
    dtype: np.dtype[Any]
    metadata: Metadata


def upscale_bands(pixels: Pixels, size: tuple[int, int], rgb: BandUpscaler) -> Iterator[Band]:
    """Upscale a picture band by band; type and channels are kept.

    Integers are rounded to the nearest level. Grey pictures are upscaled as RGB and averaged.
    Colours under full transparency, which are undefined, are replaced by the nearest visible
    ones, so that none of them shows at the edges. Transparency is upscaled as grey is, but stays
    exact where the surrounding pixels are equally transparent. The size (rows, cols) is not below
    the picture's.
    """
    white, channels = white_level(pixels.dtype), pixels.shape[2]
    alpha = pixels[..., -1] if channels in (2, 4) else None
    colour = pixels if alpha is None else _spread(pixels[..., :-1], alpha)
    constant = alpha is not None and bool((alpha == alpha.flat[0]).all())
    alphas = None if alpha is None or constant else _alpha_bands(alpha, size, rgb)
    for rows, band in rgb(_as_rgb(colour), size):
        unit = band.mean(axis=2, keepdims=True) if channels <= 2 else band
        if alpha is not None:
            flat = np.full((*band.shape[:2], 1), alpha.flat[0] / white, dtype=np.float32)
            unit = np.concatenate([unit, flat if alphas is None else next(alphas)], axis=2)
        yield rows, (unit if white == 1 else np.floor(unit * white + 0.5)).astype(pixels.dtype)


def join_bands(bands: Iterator[Band], shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Pixels:
    """All bands in one picture."""
    out = np.empty(shape, dtype=dtype)
    for rows, band in bands:
        out[rows] = band
    return out


def _as_rgb(colour: Pixels) -> Pixels:
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour


def _spread(colour: Pixels, alpha: Pixels) -> Pixels:
    """The colour of the nearest pixel that is not fully transparent, where one is."""
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return colour
    rows, cols = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    spread: Pixels = colour[rows, cols]
    return spread


def _alpha_bands(
    alpha: Pixels, size: tuple[int, int], rgb: BandUpscaler
) -> Iterator[NDArray[np.float32]]:
    """Bands (r, W, 1) of transparency in 0..1, between the extremes of the four pixels around.

    The network's ringing would show as a haze.
    """
    (above, below), (left, right) = map(_around, size, alpha.shape)
    white = np.float32(white_level(alpha.dtype))
    for rows, band in rgb(_as_rgb(alpha[..., None]), size):
        limits = []
        for extreme in (np.minimum, np.maximum):
            both = extreme(alpha[above[rows]], alpha[below[rows]])
            limits.append(extreme(both[:, left], both[:, right]) / white)
        yield np.clip(band.mean(axis=2), *limits)[..., None].astype(np.float32)


def _around(n_out: int, n_in: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The input pixels before and after each output pixel of an axis."""
    position = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    before = np.floor(position).astype(np.intp)
    return np.clip(before, 0, n_in - 1), np.clip(before + 1, 0, n_in - 1)
