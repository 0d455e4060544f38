"""The eight twins of a network: what it would be to flipped and transposed pictures.

Self-ensemble (Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution",
CVPRW 2017, section 3.3) turns the picture eight ways, enlarges each and turns the results back.
Here the network is turned instead: its kernels flipped, its coordinates with them. All eight then
work on the same rows of the same picture, so that their mean needs no more than these rows.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from liif.network.model import LIIF


def twins(model: LIIF) -> list[LIIF]:
    """The model itself and its seven flipped and transposed twins."""
    turns = list(product((False, True), repeat=3))
    return [model if not any(turn) else _twin(model, *turn) for turn in turns]


@torch.no_grad()
def _twin(model: LIIF, rows: bool, cols: bool, transposed: bool) -> LIIF:
    """What gives, of a picture, what the model gives of it turned, turned back."""
    twin = deepcopy(model)
    for layer in twin.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(_turned(layer.weight, rows, cols, transposed))
    first = twin.imnet.linears[0]
    unfolded = first.weight[:, :-4].clone()
    kernel = unfolded.view(len(unfolded), twin.imnet.channels, 3, 3)
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
    return twin


def _turned(kernel: Tensor, rows: bool, cols: bool, transposed: bool) -> Tensor:
    if transposed:
        kernel = kernel.transpose(2, 3)
    flipped = [axis for axis, wanted in ((2, rows), (3, cols)) if wanted]
    return kernel.flip(flipped).clone()
