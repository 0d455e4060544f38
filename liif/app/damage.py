"""Detection of JPEG artefacts and noise, which a model for clean pictures would sharpen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from liif.images.pixels import RGB8

_SIDE = 1024
"""Side of the central square that is examined, in pixels."""
_BLOCK = 8
"""Side of JPEG's blocks in pixels."""
_BLOCKINESS = 1.15
"""Smallest ratio of steps at the borders of JPEG's blocks to those within."""
_NOISE = 2.5
"""Smallest standard deviation that counts as noise, in grey levels."""
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
"""Kernel blind to edges, with 6 times noise's standard deviation (Immerkær, CVIU 1996)."""


def found(rgb: RGB8) -> list[str]:
    """What the picture (H, W, 3) shows of `jpeg` and `noise`."""
    top, left = (max(0, (n - _SIDE) // 2) // _BLOCK * _BLOCK for n in rgb.shape[:2])
    middle = rgb[top : top + _SIDE, left : left + _SIDE].astype(np.float64)
    damage = []
    if blockiness(middle.mean(axis=2)) >= _BLOCKINESS:
        damage.append("jpeg")
    # Texture is much the same in all channels, noise is not.
    if noise((middle[..., 0] - middle[..., 1]) / np.sqrt(2)) >= _NOISE:
        damage.append("noise")
    return damage


def blockiness(grey: NDArray[np.float64]) -> float:
    """Steps at the borders of JPEG's blocks relative to those within, about 1 without JPEG."""
    ratios = []
    for picture in (grey, grey.T):
        if picture.shape[1] < 4 * _BLOCK:
            return 1.0
        # The third difference ignores gradients, which pass through borders.
        bend = np.abs(np.diff(picture, n=3, axis=1))
        means = np.minimum(bend, 30).mean(axis=0)
        phases = [means[phase::_BLOCK].mean() for phase in range(_BLOCK)]
        border = phases.pop(_BLOCK - 2)  # between columns 7 and 8
        ratios.append((border + 0.1) / (float(np.median(phases)) + 0.1))
    return float(min(ratios))


def noise(difference: NDArray[np.float64]) -> float:
    """Standard deviation of the noise in a channel, estimated where there is least of it.

    From the difference of two channels over the root of 2.
    """
    if min(difference.shape) < 3 * _BLOCK:
        return 0.0
    response = ndimage.convolve(difference, _LAPLACIAN)[1:-1, 1:-1] / 6
    rows, cols = (n // _BLOCK * _BLOCK for n in response.shape)
    blocks = response[:rows, :cols].reshape(rows // _BLOCK, _BLOCK, cols // _BLOCK, _BLOCK)
    return float(np.quantile(np.sqrt((blocks**2).mean(axis=(1, 3))), 0.1))
