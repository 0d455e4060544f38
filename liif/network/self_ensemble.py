"""Self-ensemble by turning the network instead of the picture.

Self-ensemble (Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution",
CVPRW 2017, section 3.3) upscales eight flips and transpositions of the picture and turns the
results back. Here the kernels and coordinates are turned instead: all eight models then work on
the same rows of the same picture, so that their mean needs no more than these rows.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import product

import torch
from torch import Tensor, nn

from liif.network.decoder import Decoder
from liif.network.tiling import Encoder


def twins(encoder: Encoder, decoder: Decoder) -> list[tuple[Encoder, Decoder]]:
    """The network itself and its seven flipped and transposed equivalents."""
    turns = product((False, True), repeat=3)
    return [_twin(encoder, decoder, *t) if any(t) else (encoder, decoder) for t in turns]


@torch.no_grad()
def _twin(
    encoder: Encoder, decoder: Decoder, rows: bool, cols: bool, transposed: bool
) -> tuple[Encoder, Decoder]:
    """Equivalent to: turn the picture, run the network, turn the result back."""
    encoder, decoder = deepcopy(encoder), deepcopy(decoder)
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(_turned(layer.weight, rows, cols, transposed))
    first = decoder.linears[0]
    unfolded = first.weight[:, :-4].clone()
    kernel = unfolded.view(len(unfolded), decoder.channels, 3, 3)
    first.weight[:, :-4] = _turned(kernel, rows, cols, transposed).flatten(1)
    # The last four columns take the relative row and column, the cell's height and width.
    geometry = first.weight[:, -4:].clone()
    if transposed:
        geometry = geometry[:, [1, 0, 3, 2]]
    if rows:
        geometry[:, 0] *= -1
    if cols:
        geometry[:, 1] *= -1
    first.weight[:, -4:] = geometry
    return encoder, decoder


def _turned(kernel: Tensor, rows: bool, cols: bool, transposed: bool) -> Tensor:
    if transposed:
        kernel = kernel.transpose(2, 3)
    flipped = [axis for axis, wanted in ((2, rows), (3, cols)) if wanted]
    return kernel.flip(flipped).clone()
