"""LIIF: encode a picture once, decode it at any coordinates.

Chen, Liu, Wang, "Learning Continuous Image Representation with Local Implicit Image Function",
CVPR 2021. Feature unfolding, cell decoding and local ensemble are always on, as published.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, cast, overload

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from liif.images.channels import join_bands, upscale_bands
from liif.images.imresize import target_size
from liif.images.pixels import Pixels, channels_of, image_array, like, white_level
from liif.network import coords
from liif.network import self_ensemble as symmetry
from liif.network import tiling as tiles
from liif.network.decoder import Decoder, ensemble
from liif.network.device import free_memory
from liif.network.edsr import EDSR
from liif.network.rdn import RDN
from liif.system import arguments

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
        (b, q, _), (h, w) = queries.shape, encoded.features.shape[2:]
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
            features = tiles.Whole(encoded.features[i : i + 1])
            for rows, strip in self._decode_strips(features, encoded.lr[i], size):
                picture[:, rows] = strip.clamp_(0, 1)
        return out

    def strips(
        self,
        lr: Float[Tensor, "1 3 h w"],
        size: tuple[int, int],
        *,
        max_memory: int | None = None,
        self_ensemble: bool = False,
    ) -> Iterator[tuple[slice, Float[Tensor, "3 r W"]]]:
        """A picture enlarged strip by strip of rows, so that neither it nor its features need
        fit into memory.

        Parameters
        ----------
        lr
            RGB in 0..1.
        size
            (rows, cols) of the whole.
        max_memory
            Bytes for features and their encoding, half of what is free when not given. The
            result is the same.
        self_ensemble
            The mean over the eight flips and transpositions of the picture.

        Yields
        ------
        Rows from top to bottom, and their RGB clipped to 0..1.
        """
        models = symmetry.twins(self) if self_ensemble else [self]
        with torch.inference_mode():
            lr = self._normalised(lr)
        memory = free_memory(lr.device) // 2 if max_memory is None else max_memory
        sources = [tiles.Banded(m.encoder, lr, max_memory=memory // len(models)) for m in models]
        ways = [m._decode_strips(f, lr[0], size) for m, f in zip(models, sources, strict=True)]
        together = zip(*ways, strict=True)
        while True:
            # Left before each yield, so that the mode is not the caller's too.
            with torch.inference_mode():
                same = next(together, None)
                if same is None:
                    return
                rows, strip = same[0]
                for _, other in same[1:]:
                    strip += other
                strip = (strip / len(models)).clamp_(0, 1)
            yield rows, strip

    def _decode_strips(
        self, features: tiles.FeatureRows, lr: Float[Tensor, "3 h w"], size: tuple[int, int]
    ) -> Iterator[tuple[slice, Float[Tensor, "3 r W"]]]:
        """Rows and their RGB, not clipped; `lr` is normalised."""
        (height, width), (h, w) = size, features.size
        for rows, strip in self.imnet.strips(features, size):
            if self.skip != "none":
                row_query = coords.centres(height, self.device)[rows]
                row_taps = coords.taps(row_query, h, self.skip)
                col_taps = coords.taps(coords.centres(width, self.device), w, self.skip)
                strip += _enlarge(lr, row_taps, col_taps)
            strip *= self.std.view(3, 1, 1)
            strip += self.mean.view(3, 1, 1)
            yield rows, strip

    def rgb_strips(
        self,
        lr: Pixels,
        size: tuple[int, int],
        *,
        max_memory: int | None = None,
        self_ensemble: bool = False,
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """`strips` from and to arrays: RGB (h, w, 3) of any type → (r, W, 3) in 0..1."""
        unit = torch.from_numpy(lr.astype(np.float32) / white_level(lr.dtype))
        picture = unit.permute(2, 0, 1)[None].to(self.device)
        for rows, strip in self.strips(
            picture, size, max_memory=max_memory, self_ensemble=self_ensemble
        ):
            yield rows, strip.permute(1, 2, 0).cpu().numpy()

    @overload
    def upscale(
        self,
        image: Image.Image,
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        self_ensemble: bool = False,
        max_memory: int | None = None,
    ) -> Image.Image: ...
    @overload
    def upscale(
        self,
        image: NDArray[Any],
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        self_ensemble: bool = False,
        max_memory: int | None = None,
    ) -> NDArray[Any]: ...
    def upscale(
        self,
        image: NDArray[Any] | Image.Image,
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        self_ensemble: bool = False,
        max_memory: int | None = None,
    ) -> NDArray[Any] | Image.Image:
        """Enlarge a picture; give either `scale` or `size`.

        Parameters
        ----------
        image : (H, W) or (H, W, C), or a PIL picture
            uint8, uint16, or floating point in 0..1. C is 1 for grey, 2 with alpha, 3 for RGB, 4
            with alpha. PIL pictures may have a palette too; they are taken as they lie in memory,
            so apply `ImageOps.exif_transpose` first where it matters.
        scale
            A number from 1 up; the output has ceil(scale · size) pixels.
        size
            (rows, cols) of the output, neither below the input's.
        self_ensemble
            The mean over the eight flips and transpositions: eight times the work, and a little
            better.
        max_memory
            Bytes that features and their encoding may take; half of what is free when not given.
            The result is the same.

        Returns
        -------
        The same kind as `image`; integers are rounded to the nearest level. A PIL picture's mode
        is kept too, but a palette becomes RGB or RGBA.

        Raises
        ------
        TypeError, ValueError
            A picture, scale or size of another kind; a size below the picture's.
        """
        if isinstance(image, Image.Image):
            enlarged = self.upscale(
                channels_of(image),
                scale=scale,
                size=size,
                self_ensemble=self_ensemble,
                max_memory=max_memory,
            )
            return like(image, enlarged)
        pixels = image_array(image, channels=4)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        target = target_size(pixels.shape[:2], scale, size)
        memory = arguments.max_memory(max_memory)

        def rgb(lr: Pixels, to: tuple[int, int]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
            return self.rgb_strips(lr, to, max_memory=memory, self_ensemble=self_ensemble)

        strips = upscale_bands(pixels, target, rgb)
        big = join_bands(strips, (*target, pixels.shape[2]), pixels.dtype)
        big = big[..., 0] if image.ndim == 2 else big
        return big.astype(image.dtype, copy=False)


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
