"""LIIF: encode a picture once, decode it at any coordinates.

Chen, Liu, Wang, "Learning Continuous Image Representation with Local Implicit Image Function",
CVPR 2021. Feature unfolding, cell decoding and local ensemble are always on, as published.

The decoding function's first layer acts on unfolded features, that is on 3×3 neighbourhoods:
its feature part *is* a 3×3 convolution of the encoder's output. ``encode`` does it once per LR
pixel, so that ``decode`` gathers its results instead of 576 features per query and neighbour.
"""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from liif import coords
from liif.encoders import EDSR, RDN

Skip = Literal["none", "bilinear", "bicubic"]
RGB = (0.5, 0.5, 0.5)
_QUERIES = {"cpu": 800}
"""Queries decoded at once: on a CPU what stays in the cache, elsewhere what fills the device."""


class Encoded(NamedTuple):
    """What ``decode`` needs of LR pictures."""

    grid: Float[Tensor, "b h w d"]
    """The decoder's first layer over the encoder's features, less its geometry; channels last."""
    lr: Float[Tensor, "b 3 h w"]
    """The normalised LR pictures, for the skip."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the LR pictures."""
        return self.grid.shape[1], self.grid.shape[2]


class Decoder(nn.Module):
    """The decoding function f: (unfolded feature, relative coordinate, cell) → RGB."""

    def __init__(self, channels: int = 64, hidden: tuple[int, ...] = (256, 256, 256, 256)) -> None:
        super().__init__()
        self.channels = channels
        widths = [9 * channels + 4, *hidden, 3]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def features_part(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w d"]:
        """The first layer's response to the unfolded features (zero beyond the border)."""
        weight = self.linears[0].weight[:, : 9 * self.channels]
        kernel = weight.reshape(-1, self.channels, 3, 3)
        return F.conv2d(features, kernel, padding=1).permute(0, 2, 3, 1).contiguous()

    def geometry_part(
        self, relative: Float[Tensor, "*q 2"], cells: Float[Tensor, "*#q 2"]
    ) -> Float[Tensor, "*q d"]:
        """The first layer's response to the relative coordinate and cell, with its bias."""
        weight, bias = self.linears[0].weight[:, 9 * self.channels :], self.linears[0].bias
        return F.linear(relative, weight[:, :2]) + F.linear(cells, weight[:, 2:], bias)

    def rest(self, first: Float[Tensor, "n d"]) -> Float[Tensor, "n 3"]:
        """All that follows the first linear layer."""
        rgb: Tensor = self.layers[1:](first)
        return rgb


class LIIF(nn.Module):
    """A local implicit image function: an encoder, a decoder, and how pictures enter and leave.

    Parameters
    ----------
    encoder
        Module with ``channels`` and (b, 3, h, w) → (b, channels, h, w).
    decoder
        Its first layer must be made for the encoder's channels.
    skip
        What the enlarged input adds to the prediction: nothing (the paper's), or its bilinear or
        bicubic enlargement.
    mean, std
        Of each RGB channel in 0..1: pictures enter as (x − mean)/std and leave by the inverse.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: EDSR | RDN,
        decoder: Decoder,
        *,
        skip: Skip = "none",
        mean: tuple[float, float, float] = RGB,
        std: tuple[float, float, float] = RGB,
    ) -> None:
        super().__init__()
        if decoder.channels != encoder.channels:
            raise ValueError(
                f"the decoder is made for {decoder.channels} channels, "
                f"the encoder gives {encoder.channels}"
            )
        self.encoder = encoder
        self.imnet = decoder  # the published name, which is in every checkpoint's keys
        self.skip: Skip = skip
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    def encode(self, lr: Float[Tensor, "b 3 h w"]) -> Encoded:
        """Encode LR pictures (RGB in 0..1) of any size down to 1×1."""
        lr = (lr - self.mean.view(3, 1, 1)) / self.std.view(3, 1, 1)
        return Encoded(self.imnet.features_part(self.encoder(lr)), lr)

    def decode(
        self,
        encoded: Encoded,
        queries: Float[Tensor, "b q 2"],
        cells: Float[Tensor, "b 2"],
    ) -> Float[Tensor, "b q 3"]:
        """RGB at any coordinates: in 0..1 but not clipped, differentiable.

        Parameters
        ----------
        queries
            (row, column) in [−1, 1], for each picture of the batch its own.
        cells
            Height and width of the queried pixels, in coordinates (2/H, 2/W).
        """
        (b, q, _), (h, w) = queries.shape, encoded.size
        rows = coords.neighbours(queries[..., 0], h)
        cols = coords.neighbours(queries[..., 1], w)
        picture = torch.arange(b, device=queries.device).view(1, 1, b, 1) * (h * w)
        # (2, 2, b, q): every neighbouring row with every neighbouring column.
        index = picture + rows.pixel[:, None] * w + cols.pixel[None]
        relative = torch.stack(
            torch.broadcast_tensors(rows.relative[:, None], cols.relative[None]), dim=-1
        )
        size = torch.tensor([h, w], dtype=torch.float32, device=queries.device)
        gathered = encoded.grid.flatten(0, 2).index_select(0, index.flatten())
        geometry = self.imnet.geometry_part(relative, (cells * size)[:, None])
        rgb = self.imnet.rest(gathered + geometry.flatten(0, 3)).view(2, 2, b, q, 3)
        weight = _ensemble(rows.relative[:, None], cols.relative[None])
        blended = (rgb * weight[..., None]).sum(dim=(0, 1))
        if self.skip != "none":
            blended = blended + _interpolate(encoded.lr, queries, self.skip)
        return blended * self.std + self.mean

    @torch.inference_mode()
    def decode_image(self, encoded: Encoded, size: tuple[int, int]) -> Float[Tensor, "b 3 H W"]:
        """Whole pictures of any size (rows, cols), clipped to 0..1.

        Row and column geometry are separable here, so nothing is computed per query but the
        decoding function itself.
        """
        pictures = [
            self._decode_one(Encoded(grid[None], lr[None]), size)
            for grid, lr in zip(encoded.grid, encoded.lr, strict=True)
        ]
        return torch.stack(pictures)

    def _decode_one(self, encoded: Encoded, size: tuple[int, int]) -> Float[Tensor, "3 H W"]:
        device = self.device
        (height, width), (h, w) = size, encoded.size
        row_query, col_query = coords.centres(height, device), coords.centres(width, device)
        rows, cols = coords.neighbours(row_query, h), coords.neighbours(col_query, w)
        ratio = torch.tensor([[2 / height * h, 2 / width * w]], device=device)
        row_term, col_term = self._separate_geometry(rows.relative, cols.relative, ratio)
        out = torch.empty(3, height, width, device=device)
        for r, c in _tiles(size, _QUERIES.get(device.type, 65536)):
            # (2, 2, r, c, d): every neighbouring row with every neighbouring column.
            grid = encoded.grid[0][rows.pixel[:, None, r, None], cols.pixel[None, :, None, c]]
            grid += row_term[:, None, r, None]
            grid += col_term[None, :, None, c]
            rgb = self._rest_in_place(grid.view(-1, grid.shape[-1])).view(*grid.shape[:-1], 3)
            weight = _ensemble(rows.relative[:, None, r, None], cols.relative[None, :, None, c])
            out[:, r, c] = (rgb * weight[..., None]).sum(dim=(0, 1)).permute(2, 0, 1)
        if self.skip != "none":
            row_taps = coords.taps(row_query, h, self.skip)
            col_taps = coords.taps(col_query, w, self.skip)
            out += _enlarge(encoded.lr[0], row_taps, col_taps)
        out *= self.std.view(3, 1, 1)
        out += self.mean.view(3, 1, 1)
        return out.clamp_(0, 1)

    def _separate_geometry(
        self, rows: Float[Tensor, "2 H"], cols: Float[Tensor, "2 W"], ratio: Float[Tensor, "1 2"]
    ) -> tuple[Float[Tensor, "2 H d"], Float[Tensor, "2 W d"]]:
        """The first layer's geometry as a row term plus a column term."""
        nothing = torch.zeros(1, 2, device=ratio.device)
        weight = self.imnet.linears[0].weight[:, 9 * self.imnet.channels :]
        row_term = rows[..., None] * weight[:, 0]
        col_term = cols[..., None] * weight[:, 1] + self.imnet.geometry_part(nothing, ratio)
        return row_term, col_term

    def _rest_in_place(self, first: Float[Tensor, "n d"]) -> Float[Tensor, "n 3"]:
        """``Decoder.rest`` that overwrites its argument; for inference."""
        x = first
        for linear in self.imnet.linears[1:]:
            x = F.linear(x.relu_(), linear.weight, linear.bias)
        return x

    @torch.inference_mode()
    def upscale(
        self,
        image: NDArray[Any] | Image.Image,
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
    ) -> NDArray[Any] | Image.Image:
        """Enlarge a picture; give either `scale` or `size`.

        Parameters
        ----------
        image : (H, W, 3) uint8 in 0..255 or floating point in 0..1; or an RGB PIL picture
        scale
            Any positive number; the output has round(scale · size) pixels, at least 1.
        size
            (rows, cols) of the output.

        Returns
        -------
        The same kind as `image`; uint8 is rounded to the nearest grey level.
        """
        if isinstance(image, Image.Image):
            if image.mode != "RGB":
                raise ValueError(f"`image` must have mode RGB, not {image.mode}; convert it first")
            enlarged = self.upscale(np.asarray(image), scale=scale, size=size)
            return Image.fromarray(np.asarray(enlarged))
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"`image` must be (H, W, 3) and not empty, not {image.shape}")
        if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
            raise TypeError(f"`image` must be uint8 or floating point, not {image.dtype}")
        target = output_size(image.shape[:2], scale, size)
        unit = 255 if image.dtype == np.uint8 else 1
        lr = torch.from_numpy(image.astype(np.float32) / unit).permute(2, 0, 1)[None]
        sr = self.decode_image(self.encode(lr.to(self.device)), target)[0]
        pixels = sr.permute(1, 2, 0).cpu().numpy()
        if unit == 255:
            pixels = np.floor(pixels * 255 + 0.5)
        return pixels.astype(image.dtype)


def output_size(
    shape: tuple[int, ...], scale: float | None, size: tuple[int, int] | None
) -> tuple[int, int]:
    """Rows and columns of the enlarged picture, from one of scale and size."""
    if (scale is None) == (size is None):
        raise ValueError("give either `scale` or `size`")
    if scale is not None:
        if not isfinite(scale) or scale <= 0:
            raise ValueError(f"`scale` (={scale}) must be positive")
        size = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    assert size is not None
    if min(size) < 1:
        raise ValueError(f"`size` (={size}) must be positive")
    return size


def _ensemble(rows: Tensor, cols: Tensor) -> Tensor:
    """Weights of the four predictions (2, 2, …): the area of the diagonally opposite one."""
    area = (rows * cols).abs() + 1e-9
    weight: Tensor = area.flip(0, 1) / area.sum(dim=(0, 1))
    return weight


def _tiles(size: tuple[int, int], queries: int) -> list[tuple[slice, slice]]:
    """Tiles of at most that many pixels that cover a picture, as wide as possible."""
    height, width = size
    n_cols = -(-width // min(width, queries))
    cols = -(-width // n_cols)
    rows = max(1, queries // cols)
    return [
        (slice(r, min(r + rows, height)), slice(c, min(c + cols, width)))
        for r in range(0, height, rows)
        for c in range(0, width, cols)
    ]


def _interpolate(
    image: Float[Tensor, "b 3 h w"], queries: Float[Tensor, "b q 2"], kind: Skip
) -> Float[Tensor, "b q 3"]:
    """The picture at the queries, interpolated."""
    b, _, h, w = image.shape
    rows, cols = coords.taps(queries[..., 0], h, kind), coords.taps(queries[..., 1], w, kind)
    index = (rows.pixel[:, None] * w + cols.pixel[None]).flatten(0, 1)  # (taps, b, q)
    weight = (rows.weight[:, None] * cols.weight[None]).flatten(0, 1)
    pixels = image.flatten(2).transpose(1, 2)  # (b, h·w, 3)
    picture = torch.arange(b, device=image.device)[:, None]
    return (pixels[picture, index] * weight[..., None]).sum(dim=0)


def _enlarge(
    image: Float[Tensor, "3 h w"], rows: coords.Taps, cols: coords.Taps
) -> Float[Tensor, "3 H W"]:
    """The picture interpolated to whole rows and columns."""
    taller = sum(image[:, i] * k[:, None] for i, k in zip(*rows, strict=True))
    assert isinstance(taller, Tensor)
    wider = sum(taller[:, :, i] * k for i, k in zip(*cols, strict=True))
    assert isinstance(wider, Tensor)
    return wider
