"""Rows of `make bench` about upscaling on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import direct
import numpy as np
import torch
from gpu import precisions
from rates import ENCODERS, decoder_gflop
from variants import Numbers, Row, compare, compared, once, timed

from liif.checkpoints.load import load
from liif.network import device
from liif.network.build import Architecture, build
from liif.network.model import LIIF
from liif.network.precision import Used
from liif.network.products import DTYPES
from liif.network.tiling import FeatureRows

CPU = torch.device("cpu")
BAND = 16
"""Rows that are encoded at a time."""


def rows() -> list[Row]:
    """Squares × 8: small ones in turn with the published form, and large ones, run once."""
    result = []
    for kind in ENCODERS:
        results = compare("upscaled", ["published", *precisions(CPU)], kind, "100")
        result.append(row(kind, 100, results))
    for kind in ENCODERS:
        large = {p: once("upscaled", p, kind, "400") for p in precisions(CPU)}
        result.append(row(kind, 400, cast(dict[str, Numbers], large)))
    return result


def row(kind: str, side: int, results: dict[str, Numbers]) -> Row:
    """A row about a square × 8; the rates are of the decoder."""
    work = decoder_gflop((8 * side) ** 2)
    rates = {
        name: work / (numbers["seconds"] - numbers["encoding_seconds"])
        for name, numbers in results.items()
        if "encoding_seconds" in numbers
    }
    what = f"{kind.upper()}-LIIF, {side}×{side} → {8 * side}×{8 * side}"
    return compared(what, results, rates)


def prepare(who: str, kind: str, side: str) -> Callable[[], Numbers]:
    """A square × 8, end to end, by the published form or by ours in a precision."""
    model = model_of(kind)
    picture = np.random.default_rng(0).random((int(side), int(side), 3), dtype=np.float32)
    size = (8 * int(side), 8 * int(side))
    if who == "published":
        lr = torch.from_numpy(picture).permute(2, 0, 1)[None]

        @torch.inference_mode()
        def published() -> None:
            direct.image_rgb(model, lr, size).clamp(0, 1)

        return lambda: {"seconds": timed(published)}
    device.keep_freed_memory()  # as the commands do
    precision = cast(Used, who)
    plain = partial(model.upscale, picture, precision=precision, back_projection=False)
    return lambda: {
        "encoding_seconds": timed(lambda: encode(model, picture, precision)),
        "seconds": timed(lambda: plain(size=size)),
    }


@torch.inference_mode()
def encode(model: LIIF, picture: np.ndarray, precision: Used) -> None:
    """Encode a picture band by band, as upscaling does."""
    lr = model.normalise(torch.from_numpy(picture).permute(2, 0, 1)[None])
    features = FeatureRows(model.encoder, lr, device.free_memory(CPU) // 2, DTYPES[precision])
    for top in range(0, len(picture), BAND):
        features.rows(top, min(top + BAND, len(picture)))


def size_rows() -> list[Row]:
    """Seconds per million output pixels by input size, EDSR-baseline ×8, in `auto`."""
    model = model_of("edsr")
    seconds: dict[str, float] = {}
    for height, width in ((100, 100), (50, 50), (60, 180), (200, 200), (400, 400), (100, 100)):
        picture = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
        took = timed(partial(model.upscale, picture, scale=8, back_projection=False))
        each = took / (height * width * 64) * 1e6
        seconds[f"{height}×{width}"] = min(each, seconds.get(f"{height}×{width}", each))
    base = seconds["100×100"]
    others = {size: each for size, each in seconds.items() if size != "100×100"}
    shown = ", ".join(f"{size}: {each / base - 1:+.0%}" for size, each in others.items())
    return [
        {
            "what": "EDSR-LIIF ×8, time per million output pixels",
            "ours": f"{base:.2f} s",
            "notes": f"in {precisions(CPU)[-1]}, at 100×100; {shown}",
            "by_size": seconds,
        }
    ]


def model_of(kind: str) -> LIIF:
    """EDSR with the bundled weights; RDN, of which there are none, with random ones."""
    if kind == "edsr":
        return load()
    torch.manual_seed(0)
    return build(Architecture(encoder=ENCODERS[kind]())).eval()
