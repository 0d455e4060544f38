"""The machine's rates of products, and how many products the networks need."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F

from liif.network import decoder
from liif.network.build import EDSREncoder, RDNEncoder
from liif.network.precision import Used
from liif.network.products import DTYPES, Product, is_fused

Rates = dict[Used, dict[str, float]]
ENCODERS = {"edsr": EDSREncoder, "rdn": RDNEncoder}
ROWS = (32768, 4 * decoder._TILE_CPU, 2 * decoder._TILE_CPU)
"""Of the products: many, and those of the decoder's tiles in float32 and in bf16."""
ROUNDS = 5


@torch.inference_mode()
def product_rates(round_seconds: float = 0.2) -> Rates:
    """GFLOP/s of (n×256)·(256×256) in each precision, by each way and number of rows.

    In bf16 also where the processor has no instructions for it: that is why `auto` is float32.
    """
    rates: Rates = {}
    for precision, dtype in DTYPES.items():
        rates[precision] = {}
        for n in ROWS:
            for way, run in _ways(n, dtype).items():
                rate = 2 * n * 256**2 / _best_seconds(run, round_seconds) / 1e9
                rates[precision][f"{way}, {n} rows"] = round(rate, 1)
    return rates


def _ways(n: int, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    x, w = torch.randn(n, 256).to(dtype), torch.randn(256, 256).to(dtype)
    pixels, kernel = x.view(1, 1, n, 256).permute(0, 3, 1, 2), w[:, :, None, None]
    ways: dict[str, Callable[[], object]] = {
        "torch.mm": partial(torch.mm, x, w),
        "1×1 convolution": partial(F.conv2d, pixels, kernel),
    }
    if is_fused(x.device, dtype):
        linear = Product(w, torch.zeros(256), dtype, rows=n, relu=False)
        ways["oneDNN's linear"] = partial(linear, x)
    return ways


def _best_seconds(run: Callable[[], object], round_seconds: float) -> float:
    """Seconds of one call, the best of some rounds."""

    def seconds(repeat: int) -> float:
        start = time.perf_counter()
        for _ in range(repeat):
            run()
        return (time.perf_counter() - start) / repeat

    seconds(1)  # warm up
    repeat = max(1, int(round_seconds / seconds(1)))
    return min(seconds(repeat) for _ in range(ROUNDS))


def best(rates: Rates, precision: Used) -> float:
    """The machine's product rate in a precision, in GFLOP/s."""
    return max(rates[precision].values())


def decoder_gflop(pixels: int) -> float:
    """GFLOP of the decoding function in its convolutional form."""
    return 4 * pixels * 2 * (3 * 256 * 256 + 256 * 3) / 1e9


def step_gflop(kind: str) -> float:
    """GFLOP of a step of the published recipe: encoder, grid and decoder, both passes."""
    with torch.device("meta"):
        encoder = ENCODERS[kind]().build()
    weights: int = sum(p.numel() for p in encoder.parameters() if p.ndim == 4)
    grid = 9 * 64 * 256
    return 3 * (2 * 16 * 48 * 48 * (weights + grid) / 1e9 + decoder_gflop(16 * 2304))
