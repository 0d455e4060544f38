"""PSNR and SSIM, with explicit channel and border.

DIV2K's convention: channel "rgb", border scale + 6. The benchmarks' (Set5, Set14, B100,
Urban100): channel "y", border scale.
"""

from __future__ import annotations

from math import ceil, inf, log10
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from liif.images.pixels import RGB8, Pixels
from liif.system.errors import UserError

Channel = Literal["rgb", "y"]
Border = int | Literal["scale", "scale+6"]

_LUMA = np.array([65.738, 129.057, 25.064]) / 256
"""Weights of RGB, as in the published evaluations of LIIF and its peers."""
_WINDOW = 11
"""Side of SSIM's Gaussian window."""


class Quality(NamedTuple):
    """Similarity of a picture to its reference."""

    psnr: float
    """PSNR in dB; infinite for equal pictures."""
    ssim: float | None
    """SSIM, at most 1; None for pictures smaller than its window."""


def parse_channel(text: str) -> Channel:
    """The channel of that name."""
    if text not in ("rgb", "y"):
        raise UserError(f"channel `{text}` must be rgb or y")
    return cast(Channel, text)


def parse_border(text: str) -> Border:
    """The border of that name or width."""
    if text in ("scale", "scale+6"):
        return cast(Border, text)
    if not text.isdecimal():
        raise UserError(f"border `{text}` must be a number, scale or scale+6")
    return int(text)


def border_width(border: Border, scale: float) -> int:
    """Width of the excluded border in pixels, from a number, `scale` or `scale+6`."""
    if isinstance(border, int):
        return border
    return ceil(scale) + (6 if border == "scale+6" else 0)


def quality(truth: Pixels, picture: Pixels, *, channel: Channel, border: int) -> Quality:
    """PSNR and SSIM of a picture against its reference.

    Parameters
    ----------
    truth, picture : (H, W, 3), uint8 in 0..255 or floating point in 0..1
    channel
        "rgb": all three; "y": luma 16 + (65.738 R + 129.057 G + 25.064 B)/256.
    border
        Width of the excluded border in pixels.

    Notes
    -----
    SSIM has MATLAB's settings: Gaussian window 11×11 with σ = 1.5, K = (0.01, 0.03), population
    covariance; for RGB the mean over the channels. Z. Wang et al., "Image quality assessment: from
    error visibility to structural similarity", 2004.
    """
    a, b = measured(truth, picture, channel, border)
    return Quality(psnr_of_error(float(np.mean((a - b) ** 2))), _ssim(a, b))


def measured(
    truth: Pixels, picture: Pixels, channel: Channel, border: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The compared part of both, in 0..1: (h, w, 3) or, of luma, (h, w), without the border."""
    if truth.shape != picture.shape:
        raise ValueError(f"sizes differ: truth {truth.shape}, picture {picture.shape}")
    if min(truth.shape[:2]) <= 2 * border:
        raise ValueError(f"a border of {border} pixels leaves no pixels of {truth.shape[:2]}")
    inside = (slice(border, truth.shape[0] - border), slice(border, truth.shape[1] - border))
    return _channel(truth[inside], channel), _channel(picture[inside], channel)


def psnr(a: RGB8, b: RGB8) -> float:
    """PSNR in dB between two pictures of one size, over all channels and without a border."""
    return psnr_of_error(float(((a.astype(np.float64) - b) ** 2).mean()) / 255**2)


def psnr_of_error(mean_squared_error: float) -> float:
    """PSNR in dB of a mean squared error of values in 0..1."""
    return -10 * log10(mean_squared_error) if mean_squared_error > 0 else inf


def _channel(pixels: Pixels, channel: Channel) -> NDArray[np.float64]:
    """The channel's values in 0..1: (H, W, 3), or (H, W) for luma."""
    unit = pixels.astype(np.float64) / (255 if pixels.dtype == np.uint8 else 1)
    return unit @ _LUMA + 16 / 255 if channel == "y" else unit


def _ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    if min(a.shape[:2]) < _WINDOW:
        return None
    value = structural_similarity(
        a,
        b,
        data_range=1.0,
        channel_axis=2 if a.ndim == 3 else None,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)
