"""Back-projection: corrects an upscaled picture so that, downscaled, it is closer to its input.

One step of the iteration of Irani and Peleg, "Improving resolution by image registration", CVGIP
1991: SR + imresize(LR − imresize(SR, size of LR), size of SR), with MATLAB's imresize. SR is
clipped beforehand, and the result afterwards.

With a factor, both LR pictures are first shrunk by it. A larger structure, such as the colour of an
area, is then corrected, and a smaller one, such as noise, is not.

The picture streams through in bands of rows. A row of SR can be corrected once the rows of SR below
it, as many as about five pixels of the (shrunk) LR cover, are known: only these are held.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from liif.images.imresize import resize_matrix

_PIXELS = 1 << 19
"""Pixels of SR that are corrected at once."""


def back_project(
    bands: Iterator[tuple[slice, Float[Tensor, "3 r W"]]],
    lr: Float[Tensor, "3 h w"],
    size: tuple[int, int],
    factor: int = 1,
) -> Iterator[tuple[slice, Float[Tensor, "3 s W"]]]:
    """Correct an upscaled picture of that size (rows, cols) by its input, for inference.

    Parameters
    ----------
    bands
        Rows of SR from top to bottom, and their RGB in 0..1. Bands of any height give the same
        bits.
    lr
        The input, RGB in 0..1.
    factor
        The comparison is with `lr` shrunk to ceil(h/factor) × ceil(w/factor).

    Yields
    ------
    Rows from top to bottom, and their RGB, not clipped: equal to the formula to 1e−6.
    """
    (height, width), (h, w) = size, (-(-n // factor) for n in lr.shape[1:])
    if factor > 1:
        lr = _resized(lr, (h, w))
    shrink = [_Resizing.of(*sizes, lr.device) for sizes in ((height, h), (width, w))]
    enlarge = [_Resizing.of(*sizes, lr.device) for sizes in ((h, height), (w, width))]
    sr, errors = _Rows(), _Rows()  # errors: of LR, enlarged to SR's columns
    done = 0
    for band in _split(bands, max(1, _PIXELS // width)):
        sr.append(band)
        new = slice(errors.stop, shrink[0].complete(sr.stop))
        if new.start < new.stop:
            error = lr[:, new] - shrink[1].columns(shrink[0].rows(sr, new))
            errors.append(enlarge[1].columns(error))
        rows = slice(done, enlarge[0].complete(errors.stop))
        if rows.start < rows.stop:
            yield rows, sr[rows] + enlarge[0].rows(errors, rows)
            done = rows.stop
        sr.drop(min(done, shrink[0].first(errors.stop)))
        errors.drop(enlarge[0].first(done))


def _split(
    bands: Iterator[tuple[slice, Float[Tensor, "3 r W"]]], rows: int
) -> Iterator[Float[Tensor, "3 s W"]]:
    """The bands in parts of at most that many rows."""
    for _, band in bands:
        yield from band.split(rows, dim=1)


def _resized(picture: Float[Tensor, "3 a b"], size: tuple[int, int]) -> Float[Tensor, "3 h w"]:
    down, across = (
        _Resizing.of(*sizes, picture.device) for sizes in zip(picture.shape[1:], size, strict=True)
    )
    rows = _Rows()
    rows.append(picture)
    return across.columns(down.rows(rows, slice(0, size[0])))


class _Rows:
    """Consecutive rows of a picture, which come from top to bottom and are dropped after use."""

    def __init__(self) -> None:
        self.start = self.stop = 0
        self._held: Tensor | None = None

    def append(self, rows: Float[Tensor, "3 r W"]) -> None:
        self._held = rows if self._held is None else torch.cat([self._held, rows], dim=1)
        self.stop += rows.shape[1]

    def drop(self, start: int) -> None:
        """Drop the rows above `start`."""
        if self._held is not None and start > self.start:
            self._held = self._held[:, start - self.start :]
            self.start = start

    def __getitem__(self, rows: slice) -> Float[Tensor, "3 r W"]:
        assert self._held is not None
        return self._held[:, rows.start - self.start : rows.stop - self.start]

    def select(self, rows: Int[Tensor, " r"]) -> Float[Tensor, "3 r W"]:
        assert self._held is not None
        return self._held.index_select(1, rows - self.start)


class _Resizing(NamedTuple):
    """Imresize along one axis: each output pixel is a weighted sum of some input pixels.

    Sums are in one order, so that a pixel has the same bits whatever is computed beside it.
    """

    pixel: Int[Tensor, "t n"]
    weight: Float[Tensor, "t n"]
    lowest: list[int]
    """The first input pixel that each output pixel, or a later one, reads."""
    needed: list[int]
    """The number of input pixels that each output pixel, with all before it, reads."""

    @classmethod
    def of(cls, n_in: int, n_out: int, device: torch.device) -> _Resizing:
        matrix = resize_matrix(n_in, n_out, n_out / n_in)
        count = np.diff(matrix.indptr)
        tap = np.arange(count.max())[:, None]
        at = np.minimum(matrix.indptr[:-1] + tap, matrix.indptr[1:] - 1)
        pixels = matrix.indices[at].astype(np.int64)
        weights = np.where(tap < count, matrix.data[at], 0).astype(np.float32)
        lowest = np.minimum.accumulate(pixels.min(axis=0)[::-1])[::-1]
        needed = np.maximum.accumulate(pixels.max(axis=0)) + 1
        pixel, weight = torch.from_numpy(pixels), torch.from_numpy(weights)
        return cls(pixel.to(device), weight.to(device), lowest.tolist(), needed.tolist())

    def complete(self, available: int) -> int:
        """The number of output pixels that read only the first `available` input pixels."""
        return bisect_right(self.needed, available)

    def first(self, done: int) -> int:
        """The first input pixel that the outputs after the first `done` read."""
        return self.lowest[done] if done < len(self.lowest) else self.needed[-1]

    def rows(self, picture: _Rows, rows: slice) -> Float[Tensor, "3 r W"]:
        """Those rows of the resized picture."""
        each = zip(self.pixel[:, rows], self.weight[:, rows, None], strict=True)
        return _sum(picture.select(p).mul_(k) for p, k in each)

    def columns(self, picture: Float[Tensor, "3 r W"]) -> Float[Tensor, "3 r w"]:
        """The picture, its rows resized."""
        each = zip(self.pixel, self.weight, strict=True)
        return _sum(picture.index_select(2, p).mul_(k) for p, k in each)


def _sum(terms: Iterator[Tensor]) -> Tensor:
    total = next(terms)
    for term in terms:
        total += term
    return total
