"""LIIF: encode a picture once, decode it at any coordinates.

Chen, Liu, Wang, "Learning Continuous Image Representation with Local Implicit Image Function",
CVPR 2021. Feature unfolding, cell decoding and local ensemble are always on, as published.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from liif import coords, tiles
from liif.decoder import Decoder, ensemble
from liif.encoders import EDSR, RDN
from liif.resize import enlarged_size

Skip = Literal["none", "bilinear", "bicubic"]
RGB = (0.5, 0.5, 0.5)


class Encoded(NamedTuple):
    """What ``decode`` needs of LR pictures."""

    features: Float[Tensor, "b c h w"]
    """The encoder's."""
    lr: Float[Tensor, "b 3 h w"]
    """The normalised LR pictures, for the skip."""


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
        # Pixels' channels side by side is what convolutions are fastest on.
        self.encoder: EDSR | RDN = cast(Any, encoder).to(memory_format=torch.channels_last)
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
        lr = self._normalised(lr)
        return Encoded(self.encoder(lr), lr)

    @torch.inference_mode()
    def encode_large(
        self, lr: Float[Tensor, "b 3 h w"], *, max_memory: int | None = None
    ) -> Encoded:
        """`encode` in tiles that overlap by the encoder's reach: the same result in less memory.

        `max_memory` is in bytes, half of what is free when not given.
        """
        lr = self._normalised(lr)
        return Encoded(tiles.encode(self.encoder, lr, max_memory=max_memory), lr)

    def _normalised(self, lr: Tensor) -> Tensor:
        lr = (lr - self.mean.view(3, 1, 1)) / self.std.view(3, 1, 1)
        return lr.contiguous(memory_format=torch.channels_last)

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
        (b, q, _), (h, w) = queries.shape, encoded.lr.shape[2:]
        rows = coords.neighbours(queries[..., 0], h)
        cols = coords.neighbours(queries[..., 1], w)
        picture = torch.arange(b, device=queries.device).view(1, 1, b, 1) * (h * w)
        # (2, 2, b, q): every neighbouring row with every neighbouring column.
        index = picture + rows.pixel[:, None] * w + cols.pixel[None]
        relative = torch.stack(
            torch.broadcast_tensors(rows.relative[:, None], cols.relative[None]), dim=-1
        )
        size = torch.tensor([h, w], dtype=torch.float32, device=queries.device)
        grid = self.imnet.grid(encoded.features)
        gathered = grid.flatten(0, 2).index_select(0, index.flatten())
        geometry = self.imnet.geometry(relative, (cells * size)[:, None])
        rgb = self.imnet.rest(gathered + geometry.flatten(0, 3)).view(2, 2, b, q, 3)
        weight = ensemble(rows.relative[:, None], cols.relative[None])
        blended = (rgb * weight[..., None]).sum(dim=(0, 1))
        if self.skip != "none":
            blended = blended + _interpolate(encoded.lr, queries, self.skip)
        return blended * self.std + self.mean

    @torch.inference_mode()
    def decode_image(self, encoded: Encoded, size: tuple[int, int]) -> Float[Tensor, "b 3 H W"]:
        """Whole pictures of any size (rows, cols), clipped to 0..1."""
        out = torch.empty(len(encoded.lr), 3, *size, device=self.device)
        for i, picture in enumerate(out):
            one = Encoded(encoded.features[i : i + 1], encoded.lr[i : i + 1])
            for rows, strip in self.decode_strips(one, size):
                picture[:, rows] = strip
        return out

    def decode_strips(
        self, encoded: Encoded, size: tuple[int, int]
    ) -> Iterator[tuple[slice, Float[Tensor, "3 r W"]]]:
        """One picture, strip by strip of rows, so that it need not fit into memory.

        Yields (output rows, RGB clipped to 0..1).
        """
        (height, width), (h, w) = size, encoded.lr.shape[2:]
        for rows, strip in self.imnet.strips(encoded.features, size):
            if self.skip != "none":
                row_query = coords.centres(height, self.device)[rows]
                row_taps = coords.taps(row_query, h, self.skip)
                col_taps = coords.taps(coords.centres(width, self.device), w, self.skip)
                strip += _enlarge(encoded.lr[0], row_taps, col_taps)
            strip *= self.std.view(3, 1, 1)
            strip += self.mean.view(3, 1, 1)
            yield rows, strip.clamp_(0, 1)

    @torch.inference_mode()
    def upscale(
        self,
        image: NDArray[Any] | Image.Image,
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        max_memory: int | None = None,
    ) -> NDArray[Any] | Image.Image:
        """Enlarge a picture; give either `scale` or `size`.

        Parameters
        ----------
        image : (H, W, 3) uint8 in 0..255 or floating point in 0..1; or an RGB PIL picture
        scale
            Any positive number; the output has ceil(scale · size) pixels.
        size
            (rows, cols) of the output.
        max_memory
            Bytes that encoding may take at a time; half of what is free when not given. The
            result is the same.

        Returns
        -------
        The same kind as `image`; uint8 is rounded to the nearest grey level.
        """
        if isinstance(image, Image.Image):
            if image.mode != "RGB":
                raise ValueError(f"`image` must have mode RGB, not {image.mode}; convert it first")
            enlarged = self.upscale(
                np.asarray(image), scale=scale, size=size, max_memory=max_memory
            )
            return Image.fromarray(np.asarray(enlarged))
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"`image` must be (H, W, 3) and not empty, not {image.shape}")
        if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
            raise TypeError(f"`image` must be uint8 or floating point, not {image.dtype}")
        target = _target(image.shape[:2], scale, size)
        unit = 255 if image.dtype == np.uint8 else 1
        lr = torch.from_numpy(image.astype(np.float32) / unit).permute(2, 0, 1)[None]
        encoded = self.encode_large(lr.to(self.device), max_memory=max_memory)
        out = np.empty((*target, 3), dtype=image.dtype)
        for rows, strip in self.decode_strips(encoded, target):
            pixels = strip.permute(1, 2, 0).cpu().numpy()
            out[rows] = np.floor(pixels * 255 + 0.5) if unit == 255 else pixels
        return out


def _target(
    shape: tuple[int, ...], scale: float | None, size: tuple[int, int] | None
) -> tuple[int, int]:
    """Rows and columns of the enlarged picture, from one of scale and size."""
    if (scale is None) == (size is None):
        raise ValueError("give either `scale` or `size`")
    if size is None:
        assert scale is not None
        return enlarged_size(shape, scale)
    if min(size) < 1:
        raise ValueError(f"`size` (={size}) must be positive")
    return size


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
