"""Encoding large pictures tile by tile, in memory that is bounded.

Tiles overlap by the encoder's reach, so that what is kept of each is what it is without tiles.
"""

from __future__ import annotations

from math import isqrt
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from liif.encoders import EDSR, RDN


def encode(
    encoder: EDSR | RDN, lr: Float[Tensor, "b 3 h w"], *, max_memory: int | None = None
) -> Float[Tensor, "b c h w"]:
    """Features of normalised pictures; for inference.

    `max_memory` in bytes bounds what a tile takes; half of what is free when not given.
    """
    b, _, h, w = lr.shape
    side = tile_side(encoder, available(lr.device) // 2 if max_memory is None else max_memory)
    if h <= side and w <= side:
        features: Tensor = encoder(lr)
        return features
    out = torch.empty(
        b, encoder.channels, h, w, device=lr.device, memory_format=torch.channels_last
    )
    reach = encoder.reach
    # Of equal size, so that the last of a row is no sliver.
    rows, cols = (-(-n // -(-n // side)) for n in (h, w))
    for i in range(b):
        for top in range(0, h, rows):
            for left in range(0, w, cols):
                bottom, right = min(top + rows, h), min(left + cols, w)
                above, before = max(0, top - reach), max(0, left - reach)
                part = lr[i : i + 1, :, above : bottom + reach, before : right + reach]
                tile = encoder(part)[0]
                kept = tile[:, top - above : bottom - above, left - before : right - before]
                out[i, :, top:bottom, left:right] = kept
    return out


def tile_side(encoder: EDSR | RDN, max_memory: int) -> int:
    """The largest tile that takes at most so many bytes to encode; not below the reach."""
    with_overlap = isqrt(max(0, max_memory - encoder.fixed_bytes) // encoder.bytes_per_pixel)
    return min(encoder.best_tile, max(with_overlap - 2 * encoder.reach, encoder.reach, 16))


def available(device: torch.device) -> int:
    """Bytes of memory that are free for use on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 << 30  # of a machine that does not say
