"""RDN without its upsampler.

Zhang et al., "Residual Dense Network for Image Super-Resolution", CVPR 2018, configuration "B".
Names of the layers are those of the published checkpoints.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


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
        fused: Tensor = self.LFF(self.convs(x))
        return fused + x


class RDN(nn.Module):
    """LR picture (b, 3, h, w), normalised → features (b, channels, h, w)."""

    channels: int
    """Number of feature channels that come out."""

    def __init__(
        self, blocks: int = 16, layers: int = 8, growth: int = 64, channels: int = 64
    ) -> None:
        super().__init__()
        self.channels = channels
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
        shallow: Tensor = self.SFENet1(lr)
        x: Tensor = self.SFENet2(shallow)
        blocks = []
        for block in self.RDBs:
            x = block(x)
            blocks.append(x)
        deep: Tensor = self.GFF(torch.cat(blocks, dim=1))
        return deep + shallow
