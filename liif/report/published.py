"""Published PSNR in dB, for comparison with measured ones.

Y. Chen, S. Liu, X. Wang, "Learning Continuous Image Representation with Local Implicit Image
Function", CVPR 2021, tables 1 and 2.
"""

from __future__ import annotations

from liif.checkpoints.catalog import EDSR_LIIF, RDN_LIIF
from liif.config import Channel
from liif.inference.upscaler import BICUBIC

Scores = dict[str, dict[float, float]]
"""Network → scale → PSNR."""
DIV2K_VALID = "DIV2K_valid_HR"
"""Name of DIV2K's validation archive."""


def _by_scale(scales: tuple[int, ...], rows: dict[str, tuple[float, ...]]) -> Scores:
    return {row: dict(zip(scales, values, strict=True)) for row, values in rows.items()}


_DIV2K = _by_scale(
    (2, 3, 4, 6, 12, 18, 24, 30),
    {
        BICUBIC: (31.01, 28.22, 26.66, 24.82, 22.27, 21.00, 20.19, 19.59),
        EDSR_LIIF: (34.67, 30.96, 29.00, 26.75, 23.71, 22.17, 21.18, 20.48),
        RDN_LIIF: (34.99, 31.26, 29.27, 26.99, 23.89, 22.34, 21.31, 20.59),
    },
)
"""PSNR on DIV2K: RGB, excluding a border of scale + 6 pixels."""
_BENCHMARKS = {
    "set5": (38.17, 34.68, 32.50, 29.15, 27.14),
    "set14": (33.97, 30.53, 28.80, 26.64, 25.15),
    "b100": (32.32, 29.26, 27.74, 25.98, 24.91),
    "urban100": (32.87, 28.82, 26.68, 24.20, 22.79),
}
"""PSNR of RDN-LIIF on the benchmarks: luma, excluding a border of `scale` pixels."""


def scores(set_name: str, channel: Channel) -> Scores:
    """Published results on a set; the validation set is DIV2K's."""
    if channel == "rgb":
        return _DIV2K if set_name == "valid" else {}
    values = _BENCHMARKS.get(set_name.lower())
    return _by_scale((2, 3, 4, 6, 8), {RDN_LIIF: values}) if values else {}
