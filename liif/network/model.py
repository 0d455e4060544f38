"""LIIF: encode a picture once, decode it at any coordinates.

Chen, Liu, Wang, "Learning Continuous Image Representation with Local Implicit Image Function",
CVPR 2021. Feature unfolding, cell decoding and local ensemble are always on, as published.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from liif.images.channels import join_bands, upscale_bands
from liif.images.imresize import target_size
from liif.images.pixels import (
    PictureLike,
    Pixels,
    channels_of,
    image_array,
    like,
    white_level,
)
from liif.network import coords, interpolation
from liif.network.back_projection import back_project
from liif.network.decoder import Decoder, ensemble
from liif.network.device import free_memory
from liif.network.interpolation import Skip
from liif.network.precision import Precision, Used, choose
from liif.network.products import DTYPES
from liif.network.self_ensemble import clipped_means, twins
from liif.network.tiling import Encoder, FeatureRows
from liif.system import arguments

HALF = (0.5, 0.5, 0.5)


class Encoded(NamedTuple):
    """Encoded LR pictures, as ``decode`` takes them."""

    features: Float[Tensor, "b c h w"]
    """The encoder's output."""
    lr: Float[Tensor, "b 3 h w"]
    """The normalised LR pictures, for the skip."""


class LIIF(nn.Module):
    """A local implicit image function: an encoder, a decoder, and the normalisation of pictures.

    Parameters
    ----------
    encoder
        Module with the attribute ``channels``: (b, 3, h, w) → (b, channels, h, w).
    decoder
        Its first layer must fit the encoder's channels.
    skip
        Interpolation of the LR input that is added to the prediction; the paper adds none.
    mean, std
        Of each RGB channel in 0..1: the encoder sees (x − mean)/std; RGB is restored at the end.
    """

    mean: Tensor
    std: Tensor
    back_projection_factor: int = 1
    """`back_project`'s; `liif.load` sets it to 8 for a model trained on degraded pictures, whose
    results should have the colours of the input, but neither its noise nor its JPEG blocks."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        *,
        skip: Skip = "none",
        mean: tuple[float, float, float] = HALF,
        std: tuple[float, float, float] = HALF,
    ) -> None:
        super().__init__()
        if decoder.channels != encoder.channels:
            found = f"{decoder.channels} channels, the encoder has {encoder.channels}"
            raise ValueError(f"the decoder expects {found}")
        # Convolutions are fastest in channels-last layout.
        self.encoder: Encoder = cast(Any, encoder).to(memory_format=torch.channels_last)
        self.imnet = decoder  # the published name, which is in every checkpoint's keys
        self.skip: Skip = skip
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.mean.device

    def encode(self, lr: Float[Tensor, "b 3 h w"]) -> Encoded:
        """Encode LR pictures (RGB in 0..1) of any size down to 1×1."""
        lr = self.normalise(lr)
        return Encoded(self.encoder(lr).float(), lr)

    def normalise(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """RGB in 0..1 → the encoder's input."""
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
        grid = self.imnet.grid(encoded.features)
        gathered = grid.flatten(0, 2).index_select(0, index.flatten())
        # No tensor of (h, w): copying it to a GPU would wait for all work that is queued there.
        cells = torch.stack([cells[:, 0] * h, cells[:, 1] * w], dim=-1)
        geometry = self.imnet.geometry(relative, cells[:, None])
        rgb = self.imnet.rest(gathered + geometry.flatten(0, 3)).view(2, 2, b, q, 3)
        weight = ensemble(rows.relative[:, None], cols.relative[None])
        blended = (rgb * weight[..., None]).sum(dim=(0, 1))
        if self.skip != "none":
            blended = blended + interpolation.at_queries(encoded.lr, queries, self.skip)
        return blended * self.std + self.mean

    @torch.inference_mode()
    def decode_image(self, encoded: Encoded, size: tuple[int, int]) -> Float[Tensor, "b 3 H W"]:
        """Whole pictures of any size (rows, cols), clipped to 0..1."""
        out = torch.empty(len(encoded.lr), 3, *size, device=self.device)
        for i, picture in enumerate(out):
            features = FeatureRows.of(encoded.features[i : i + 1])
            bands = self._decode_bands(self.imnet, features, encoded.lr[i], size, torch.float32)
            for rows, band in bands:
                picture[:, rows] = band.clamp_(0, 1)
        return out

    def _decode_bands(
        self,
        decoder: Decoder,
        features: FeatureRows,
        lr: Float[Tensor, "3 h w"],
        size: tuple[int, int],
        dtype: torch.dtype,
    ) -> Iterator[tuple[slice, Float[Tensor, "3 r W"]]]:
        """Rows and their RGB, not clipped; `lr` is normalised."""
        for rows, band in decoder.bands(features, size, dtype):
            if self.skip != "none":
                band += interpolation.band(lr, size, rows, self.skip)
            band *= self.std.view(3, 1, 1)
            band += self.mean.view(3, 1, 1)
            yield rows, band

    def upscale_bands(
        self,
        lr: Pixels,
        size: tuple[int, int],
        *,
        max_memory: int | None = None,
        self_ensemble: bool = False,
        precision: Used = "float32",
        back_projection: bool = False,
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Upscale a picture band by band, so that neither it nor its features must fit in memory.

        Parameters
        ----------
        lr : (h, w, 3)
            RGB of any type, as for `upscale`.
        size, max_memory, self_ensemble, precision, back_projection
            As for `upscale`.

        Yields
        ------
        Rows from top to bottom, and their RGB (r, W, 3) clipped to 0..1.
        """
        network = self.encoder, self.imnet
        networks = twins(*network) if self_ensemble else [network]
        with torch.inference_mode():
            unit = torch.from_numpy(lr.astype(np.float32) / white_level(lr.dtype))
            unit = unit.permute(2, 0, 1).to(self.device)
            picture = self.normalise(unit[None])
        memory = free_memory(self.device) // 2 if max_memory is None else max_memory
        share = memory // len(networks)
        dtype = DTYPES[precision]
        features = [FeatureRows(e, picture, share, dtype) for e, _ in networks]
        each = [
            self._decode_bands(decoder, f, picture[0], size, dtype)
            for (_, decoder), f in zip(networks, features, strict=True)
        ]
        bands = clipped_means(zip(*each, strict=True))
        if back_projection:
            bands = back_project(bands, unit, size, self.back_projection_factor)
        while True:
            # Left before each yield: the caller's code must not run in inference mode.
            with torch.inference_mode():
                if (band := next(bands, None)) is None:
                    return
                rows, corrected = band
                rgb = corrected.clamp_(0, 1).permute(1, 2, 0).cpu().numpy()
            yield rows, rgb

    def upscale(
        self,
        image: PictureLike,
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        self_ensemble: bool = False,
        max_memory: int | None = None,
        precision: Precision = "auto",
        back_projection: bool = True,
    ) -> PictureLike:
        """Upscale a picture; pass either `scale` or `size`.

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
            The mean over the eight flips and transpositions: eight times the work, and slightly
            better.
        max_memory
            Bytes for features and their encoding; default half of the free memory. The result is
            the same.
        precision
            `float32`, `bf16` (at most two grey levels from float32), or `auto`: bf16 where the
            device is faster with it.
        back_projection
            Correct the result so that, downscaled by `imresize`, it is closer to `image`; of a
            model trained on degraded pictures, to `image` downscaled by 8.

        Returns
        -------
        The same kind as `image`; integers are rounded to the nearest level. A PIL picture's mode
        is kept too, but a palette becomes RGB or RGBA.

        Raises
        ------
        TypeError, ValueError
            An unusable picture, scale or size; a size below the picture's.
        """
        if isinstance(image, Image.Image):
            pixels = channels_of(image)
        else:
            pixels = image_array(image, channels=4)
            pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        target: tuple[int, int] = target_size(pixels.shape[:2], scale, size)
        memory = arguments.max_memory(max_memory)
        rgb = partial(
            self.upscale_bands,
            max_memory=memory,
            self_ensemble=arguments.switch("self_ensemble", self_ensemble),
            precision=choose(precision, self.device),
            back_projection=arguments.switch("back_projection", back_projection),
        )
        bands = upscale_bands(pixels, target, rgb)
        big = join_bands(bands, (*target, pixels.shape[2]), pixels.dtype)
        if isinstance(image, Image.Image):
            return like(image, big)
        return (big[..., 0] if image.ndim == 2 else big).astype(image.dtype, copy=False)
