"""Published results, for comparison with measured ones.

Y. Chen, S. Liu, X. Wang, "Learning Continuous Image Representation with Local Implicit Image
Function", CVPR 2021, tables 1 and 2: PSNR in dB.
"""

from __future__ import annotations

from liif.config import Channel
from liif.network.build import Architecture, EDSREncoder, RDNEncoder

EDSR_LIIF = "EDSR-baseline-LIIF"
RDN_LIIF = "RDN-LIIF"
BICUBIC = "bicubic"

Scores = dict[str, dict[float, float]]
"""Network → scale → PSNR."""


def _by_scale(scales: tuple[int, ...], **rows: tuple[float, ...]) -> Scores:
    names = {"bicubic": BICUBIC, "edsr": EDSR_LIIF, "rdn": RDN_LIIF}
    return {names[row]: dict(zip(scales, values, strict=True)) for row, values in rows.items()}


DIV2K_VALID = "DIV2K_valid_HR"
"""Name of DIV2K's validation archive; its results are on RGB, without scale + 6 pixels."""

_DIV2K = _by_scale(
    (2, 3, 4, 6, 12, 18, 24, 30),
    bicubic=(31.01, 28.22, 26.66, 24.82, 22.27, 21.00, 20.19, 19.59),
    edsr=(34.67, 30.96, 29.00, 26.75, 23.71, 22.17, 21.18, 20.48),
    rdn=(34.99, 31.26, 29.27, 26.99, 23.89, 22.34, 21.31, 20.59),
)
_BENCHMARK_SCALES = (2, 3, 4, 6, 8)
_BENCHMARKS = {
    "set5": _by_scale(_BENCHMARK_SCALES, rdn=(38.17, 34.68, 32.50, 29.15, 27.14)),
    "set14": _by_scale(_BENCHMARK_SCALES, rdn=(33.97, 30.53, 28.80, 26.64, 25.15)),
    "b100": _by_scale(_BENCHMARK_SCALES, rdn=(32.32, 29.26, 27.74, 25.98, 24.91)),
    "urban100": _by_scale(_BENCHMARK_SCALES, rdn=(32.87, 28.82, 26.68, 24.20, 22.79)),
}
"""On luma, without `scale` pixels at each side."""


def network(architecture: Architecture) -> str | None:
    """Name of the published network with this architecture, if there is one."""
    published = {EDSR_LIIF: EDSREncoder(), RDN_LIIF: RDNEncoder()}
    for name, encoder in published.items():
        plain = Architecture(encoder=encoder, mean=architecture.mean, std=architecture.std)
        if architecture == plain:
            return name
    return None


def scores(set_name: str, channel: Channel) -> Scores:
    """Published results on a set; the validation set is DIV2K's."""
    if channel == "rgb":
        return _DIV2K if set_name == "valid" else {}
    return _BENCHMARKS.get(set_name.lower(), {})
