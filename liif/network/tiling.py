"""Encoding large pictures tile by tile, in bounded memory.

Tiles overlap by the encoder's reach, so that the result is the same as without tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Encoder(nn.Module):
    """Base of the encoders: normalised LR (b, 3, h, w) → features (b, channels, h, w).

    Under autocast the products within blocks are in bfloat16; the first layer, and what the blocks'
    residuals are added to, stay in float32.
    """

    channels: int
    """Number of feature channels."""
    reach: int
    """Radius of the receptive field, in pixels."""
    best_tile: int
    """Side of the tiles in which large pictures are encoded."""
    bytes_per_pixel: int
    """Memory that encoding takes per pixel of a tile (measured, rounded up)."""
    fixed_bytes: int = 0
    """Memory that encoding takes for any tile, in addition."""
    exact: bool = False
    """Pictures are always encoded in float32."""


def exactly(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The layer in float32, also under autocast."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x)


def encode(
    encoder: Encoder,
    lr: Float[Tensor, "1 3 h w"],
    rows: slice,
    max_memory: int,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "1 c r w"]:
    """Features of some rows of a normalised picture, in tiles of that many bytes; for inference.

    The encoder's products are of numbers of that type, unless it is exact; features are float32.
    """
    low = dtype != torch.float32 and not encoder.exact
    with torch.autocast(lr.device.type, dtype if low else None, enabled=low):
        return _encode(encoder, lr, rows, max_memory)


def _encode(
    encoder: Encoder, lr: Float[Tensor, "1 3 h w"], rows: slice, max_memory: int
) -> Float[Tensor, "1 c r w"]:
    h, w = lr.shape[2:]
    side = tile_side(encoder, max_memory)
    count, reach = rows.stop - rows.start, encoder.reach
    if max(h, w) <= side and count == h:
        features: Tensor = encoder(lr)
        return features.float()
    shape = 1, encoder.channels, count, w
    out = torch.empty(shape, device=lr.device, memory_format=torch.channels_last)
    # Of equal size, so that the last tile is not a sliver.
    height, width = (-(-n // -(-n // side)) for n in (count, w))
    for top in range(rows.start, rows.stop, height):
        for left in range(0, w, width):
            bottom, right = min(top + height, rows.stop), min(left + width, w)
            above, before = max(0, top - reach), max(0, left - reach)
            tile = encoder(lr[:, :, above : bottom + reach, before : right + reach])
            kept = tile[:, :, top - above : bottom - above, left - before : right - before]
            out[:, :, top - rows.start : bottom - rows.start, left:right] = kept
    return out


class FeatureRows:
    """Features of one picture, encoded when their rows are requested and dropped afterwards.

    A picture's features, 80 times its own size, never exist as a whole. `max_memory` in bytes is
    for features and their encoding.
    """

    def __init__(
        self,
        encoder: Encoder,
        lr: Float[Tensor, "1 3 h w"],
        max_memory: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.size, self.device = (lr.shape[2], lr.shape[3]), lr.device
        self._encoder, self._lr, self._dtype = encoder, lr, dtype
        # A quarter is for the band, which exists twice while it moves; the rest is for encoding.
        self._memory = max_memory // 2
        row = 4 * encoder.channels * lr.shape[3]
        self._height = min(tile_side(encoder, self._memory), max(max_memory // 4 // row, 16))
        self._first, self._band = 0, lr.new_empty(1, encoder.channels, 0, lr.shape[3])

    @classmethod
    def of(cls, features: Float[Tensor, "1 c h w"]) -> FeatureRows:
        """Rows of features that are encoded already."""
        rows = cls.__new__(cls)
        rows.size, rows.device = (features.shape[2], features.shape[3]), features.device
        rows._first, rows._band = 0, features
        return rows

    def rows(self, first: int, stop: int) -> Float[Tensor, "1 c r w"]:
        """Rows first … stop − 1; to be called from top to bottom."""
        have = self._first + self._band.shape[2]
        if stop > have:
            kept = self._band[:, :, first - self._first :]
            start = max(first, have)
            bottom = min(self.size[0], max(stop, start + self._height))
            if self.size[0] - bottom < self._height // 4:  # no sliver at the end
                bottom = self.size[0]
            rows = slice(start, bottom)
            new = encode(self._encoder, self._lr, rows, self._memory, self._dtype)
            self._band = torch.cat([kept, new], dim=2) if kept.shape[2] else new
            self._first = first
        return self._band[:, :, first - self._first : stop - self._first]


def tile_side(encoder: Encoder, max_memory: int) -> int:
    """Side of the largest tile whose encoding fits into that many bytes; at least the reach."""
    with_overlap = isqrt(max(0, max_memory - encoder.fixed_bytes) // encoder.bytes_per_pixel)
    return min(encoder.best_tile, max(with_overlap - 2 * encoder.reach, encoder.reach, 16))
