"""RDN without its upsampler.

Zhang et al., "Residual Dense Network for Image Super-Resolution", CVPR 2018, configuration "B".
Names of the layers are those of the published checkpoints.
"""

from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from liif.network.tiling import Encoder, exactly

_BAND = 12288
"""Pixels of the bands that a dense block processes at once in inference."""


class DenseLayer(nn.Module):
    """A convolution with ReLU, appended to its input's channels."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, growth, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """(b, c, h, w) → (b, c + growth, h, w)."""
        return torch.cat([x, self.conv(x)], dim=1)


class ResidualDenseBlock(nn.Module):
    """Dense layers, fused by a 1×1 convolution (LFF) and added to the input."""

    def __init__(self, channels: int, layers: int, growth: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(DenseLayer(channels + i * growth, growth) for i in range(layers))
        )
        self.LFF = nn.Conv2d(channels + layers * growth, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Features in, features of the same shape out."""
        # Cast once here, or each layer would cast all channels before it again.
        dense = (
            x.to(torch.get_autocast_dtype(x.device.type))
            if torch.is_autocast_enabled(x.device.type)
            else x
        )
        fused: Tensor = self.LFF(self.convs(dense))
        return fused + x

    def in_bands(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same band by band of rows: only one band's many dense channels exist at a time."""
        reach, h = len(self.convs), x.shape[2]
        rows = max(2 * reach, _BAND // x.shape[3])
        if h <= rows + 2 * reach:
            whole: Tensor = self(x)
            return whole
        out = torch.empty_like(x)
        for top in range(0, h, rows):
            above, bottom = max(0, top - reach), min(top + rows, h)
            band = self(x[:, :, above : bottom + reach])
            out[:, :, top:bottom] = band[:, :, top - above : bottom - above]
        return out


class RDN(Encoder):
    """LR picture (b, 3, h, w), normalised → features (b, channels, h, w)."""

    best_tile = 1024  # many times the reach

    def __init__(
        self, blocks: int = 16, layers: int = 8, growth: int = 64, channels: int = 64
    ) -> None:
        super().__init__()
        self.channels = channels
        self.reach = blocks * layers + 3
        self.bytes_per_pixel = 32 * channels
        self.fixed_bytes = 3 * 4 * (channels + layers * growth) * _BAND
        self.SFENet1 = nn.Conv2d(3, channels, 3, padding=1)
        self.SFENet2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.RDBs = nn.ModuleList(
            ResidualDenseBlock(channels, layers, growth) for _ in range(blocks)
        )
        self.GFF = nn.Sequential(
            nn.Conv2d(blocks * channels, channels, 1),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Features of a normalised picture."""
        shallow = exactly(self.SFENet1, lr)
        x = exactly(self.SFENet2, shallow)
        # The global fusion is linear: each block's share is added at once, instead of holding and
        # concatenating the features of all blocks.
        fusion, rest = cast(tuple[Any, nn.Conv2d], self.GFF.children())
        fused = fusion.bias.view(1, -1, 1, 1)
        for module, share in zip(self.RDBs, fusion.weight.split(self.channels, dim=1), strict=True):
            block = cast(ResidualDenseBlock, module)
            x = block(x) if torch.is_grad_enabled() else block.in_bands(x)
            fused = fused + exactly(partial(F.conv2d, weight=share), x)
        return exactly(rest, fused) + shallow
