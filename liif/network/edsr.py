"""EDSR-baseline without its upsampler.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017.
Names of the layers are those of the published checkpoints.
"""

from jaxtyping import Float
from torch import Tensor, nn

from liif.network.tiling import Encoder, exactly


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution; added to the input unscaled, without batch norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Features in, features of the same shape out."""
        residual: Tensor = self.body(x)
        return residual + x


class EDSR(Encoder):
    """LR picture (b, 3, h, w), normalised → features (b, channels, h, w)."""

    best_tile = 256  # suits caches
    exact = True  # few products, whose rounding would move the PSNR more than that of the decoder

    def __init__(self, blocks: int = 16, channels: int = 64) -> None:
        super().__init__()
        self.channels = channels
        self.reach = 2 * blocks + 2
        self.bytes_per_pixel = 32 * channels
        self.head = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1))
        self.body = nn.Sequential(
            *(ResidualBlock(channels) for _ in range(blocks)),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Features of a normalised picture."""
        shallow = exactly(self.head, lr)
        deep: Tensor = self.body(shallow)
        return deep + shallow
