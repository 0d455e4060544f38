"""Self-ensemble by turning the network instead of the picture.

Self-ensemble (Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution",
CVPRW 2017, section 3.3) upscales eight flips and transpositions of the picture and turns the
results back. Here the kernels and coordinates are turned instead: all eight models then work on
the same rows of the same picture, so that their mean needs no more than these rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liif.network.decoder import Decoder
from liif.network.tiling import Encoder


def twins(encoder: Encoder, decoder: Decoder) -> list[tuple[Encoder, Decoder]]:
    """The network itself and its seven flipped and transposed equivalents."""
    turns = product((False, True), repeat=3)
    return [_twin(encoder, decoder, *t) if any(t) else (encoder, decoder) for t in turns]


def clipped_means(
    bands: Iterator[tuple[tuple[slice, Float[Tensor, "3 r W"]], ...]],
) -> Iterator[tuple[slice, Float[Tensor, "3 r W"]]]:
    """The mean of the same band by several networks, clipped to 0..1."""
    for (rows, mean), *others in bands:
        for _, other in others:
            mean += other
        yield rows, (mean / (1 + len(others))).clamp_(0, 1)


@torch.no_grad()
def _twin(
    encoder: Encoder, decoder: Decoder, rows: bool, cols: bool, transposed: bool
) -> tuple[Encoder, Decoder]:
    """Equivalent to: turn the picture, run the network, turn the result back."""
    flipped = [axis for axis, wanted in ((2, rows), (3, cols)) if wanted]

    def turned(kernel: Tensor) -> Tensor:
        return (kernel.transpose(2, 3) if transposed else kernel).flip(flipped)  # a copy

    encoder, decoder = deepcopy(encoder), deepcopy(decoder)
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(turned(layer.weight))
    weight = decoder.linears[0].weight
    weight[:, :-4] = turned(weight[:, :-4].reshape(-1, decoder.channels, 3, 3)).flatten(1)
    # The last four columns take the relative row and column, the cell's height and width.
    if transposed:
        weight[:, -4:] = weight[:, [-3, -4, -1, -2]]
    weight[:, -4] *= -1 if rows else 1
    weight[:, -3] *= -1 if cols else 1
    return encoder, decoder
