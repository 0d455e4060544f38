"""Interpolation of LR pictures, which some networks add to their prediction."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from liif.network.coords import centres

Skip = Literal["none", "bilinear", "bicubic"]


class Taps(NamedTuple):
    """The pixels that interpolation reads for each query on one axis, and their weights."""

    pixel: Int[Tensor, t * q]
    weight: Float[Tensor, t * q]


def taps(query: Float[Tensor, "*q"], n: int, kind: str) -> Taps:
    """Interpolation of an axis with n pixels at the query coordinates.

    `kind` is "bilinear" or "bicubic" (a = −0.5, like MATLAB's). The border is symmetric with the
    edge pixel repeated. At the centres of a larger picture this is MATLAB's imresize.
    """
    position = (query.double() + 1) * (n / 2) - 0.5
    first = position.floor()
    if kind not in ("bilinear", "bicubic"):
        raise ValueError(f"`kind` (={kind!r}) must be 'bilinear' or 'bicubic'")
    reach = 1 if kind == "bilinear" else 2
    offsets = torch.arange(1 - reach, 1 + reach, device=query.device)
    pixel = first.long() + offsets.view(-1, *[1] * query.ndim)
    distance = (position - pixel).abs()
    if kind == "bilinear":
        weight = (1 - distance).clamp(min=0)
    else:
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weight = torch.where(distance <= 1, near, far)
    # The remainder by 2n, in operations that ONNX has for an n known only at run time.
    folded = pixel - (pixel / (2 * n)).floor().long() * (2 * n)
    return Taps(torch.minimum(folded, 2 * n - 1 - folded), weight.float())


def at_queries(
    image: Float[Tensor, "b 3 h w"], queries: Float[Tensor, "b q 2"], kind: Skip
) -> Float[Tensor, "b q 3"]:
    """The pictures interpolated at (row, column) queries."""
    b, _, h, w = image.shape
    rows, cols = taps(queries[..., 0], h, kind), taps(queries[..., 1], w, kind)
    index = (rows.pixel[:, None] * w + cols.pixel[None]).flatten(0, 1)  # (taps, b, q)
    weight = (rows.weight[:, None] * cols.weight[None]).flatten(0, 1)
    pixels = image.flatten(2).transpose(1, 2)  # (b, h·w, 3)
    picture = torch.arange(b, device=image.device)[:, None]
    return (pixels[picture, index] * weight[..., None]).sum(dim=0)


def band(
    image: Float[Tensor, "3 h w"], size: tuple[int, int], rows: slice, kind: Skip
) -> Float[Tensor, "3 r W"]:
    """Some rows of the picture interpolated to a size (rows, cols)."""
    (height, width), (h, w) = size, image.shape[1:]
    vertical = taps(centres(height, image.device)[rows], h, kind)
    horizontal = taps(centres(width, image.device), w, kind)
    taller = sum(image[:, i] * k[:, None] for i, k in zip(*vertical, strict=True))
    assert isinstance(taller, Tensor)
    wider = sum(taller[:, :, i] * k for i, k in zip(*horizontal, strict=True))
    assert isinstance(wider, Tensor)
    return wider
