"""All geometry: pixel centres, cells, and which feature pixels surround a query.

Coordinates are (row, column) in [−1, 1]. An axis of n pixels has its centres at −1 + (2i + 1)/n.
Everything is separable, so it is written for one axis. The sums are in float32 and in the order of
the published code, since results depend on their last bits.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

EPS = 1e-6
"""Offset of a query from ties and from the border (published constant)."""


def centres(n: int, device: torch.device | None = None) -> Float[Tensor, " n"]:
    """Coordinates of the pixel centres of an axis with n pixels."""
    return (-1 + 1 / n) + (2 / n) * torch.arange(n, dtype=torch.float32, device=device)


def cell(size: tuple[int, int], device: torch.device | None = None) -> Float[Tensor, " 2"]:
    """Height and width of one pixel of a picture of that size, in coordinates."""
    return torch.tensor([2 / size[0], 2 / size[1]], dtype=torch.float32, device=device)


class Neighbours(NamedTuple):
    """The two feature pixels of an axis that surround each query: before, then after it."""

    pixel: Int[Tensor, "2 *q"]
    """Index of the feature pixel."""
    relative: Float[Tensor, "2 *q"]
    """Query minus that pixel's centre, in feature pixels × 2."""


def neighbours(query: Float[Tensor, "*q"], n: int) -> Neighbours:
    """The feature pixels nearest to the query shifted by ∓1/n on an axis of n feature pixels.

    Chen, Liu, Wang, "Learning Continuous Image Representation with Local Implicit Image
    Function", 2021, section 3.2 (local ensemble). Ties go as in ``grid_sample``'s mode nearest
    with align_corners=False: to the even pixel.
    """
    shifted = torch.stack([query + (-1 / n + EPS), query + (1 / n + EPS)])
    shifted = shifted.clamp(-1 + EPS, 1 - EPS)
    pixel = ((shifted + 1) * (n / 2) - 0.5).round().long().clamp(0, n - 1)
    return Neighbours(pixel, (query - centres(n, query.device)[pixel]) * n)
