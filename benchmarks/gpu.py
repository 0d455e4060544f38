"""Rows of `make bench` about a GPU, where there is one: upscaling, training steps, the loader.

No GPU was at hand when this was written: the code was run on a CPU alone, by its tests.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from liif.checkpoints.load import load
from liif.data.download import PHOTOGRAPHS
from liif.data.pack import pack
from liif.data.patches import Batch, LoadedBatches, TrainingBatches
from liif.network import device as devices
from liif.network.build import Architecture, EDSREncoder, RDNEncoder, build
from liif.network.model import LIIF
from liif.network.precision import Used, choose
from liif.recipe import Training
from liif.training.step import train_step
from liif.training.trainer import OPTIMIZERS

ENCODERS = {"EDSR-baseline": EDSREncoder(), "RDN": RDNEncoder()}
Row = dict[str, Any]


def gpu_rows() -> list[Row]:
    """Rows about the first free GPU; none without a GPU."""
    if not torch.cuda.is_available():
        return []
    device = devices.choose()
    devices.time_convolutions(device)
    rows = [rates_row(device)]
    for name in ENCODERS:
        rows += [upscaling_row(name, device, lr_side) for lr_side in (100, 400)]
        rows.append(training_row(name, device))
    return rows


def wait(device: torch.device) -> None:
    """Wait until the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], object], device: torch.device, repeat: int = 1) -> float:
    """Seconds of one call: the median of five rounds of `repeat` calls, after one to warm up."""
    rounds = []
    for _ in range(6):
        wait(device)
        start = time.perf_counter()
        for _ in range(repeat):
            run()
        wait(device)
        rounds.append((time.perf_counter() - start) / repeat)
    return statistics.median(rounds[1:])


@torch.inference_mode()
def rates_row(device: torch.device, rows: int = 32768, repeat: int = 50) -> Row:
    """TFLOP/s of the decoder's product and of an encoder's convolution, in each precision."""
    rates = {}
    for name, kind in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        x, w = (torch.randn(n, 256, device=device, dtype=kind) for n in (rows, 256))
        pixels = torch.randn(1, 64, 128, rows // 128, device=device, dtype=kind)
        pixels = pixels.to(memory_format=torch.channels_last)
        kernel = torch.randn(64, 64, 3, 3, device=device, dtype=kind)
        kernel = kernel.to(memory_format=torch.channels_last)
        products: dict[str, tuple[int, Callable[[], object]]] = {
            "matrix product": (2 * rows * 256**2, partial(torch.mm, x, w)),
            "3×3 convolution": (2 * rows * 9 * 64**2, partial(F.conv2d, pixels, kernel, padding=1)),
        }
        for what, (work, run) in products.items():
            rates[f"{what}, {name}"] = round(work / seconds(run, device, repeat) / 1e12, 2)
    return {
        "what": f"{name_of(device)}, products",
        "ours": "",
        "notes": "TFLOP/s: " + "; ".join(f"{what} {rate}" for what, rate in rates.items()),
        "tflops": rates,
    }


def upscaling_row(encoder: str, device: torch.device, lr_side: int) -> Row:
    """A square picture × 8, end to end, in float32 and in what `auto` is here."""
    model = model_of(encoder, device).eval()
    picture = np.random.default_rng(0).integers(0, 256, (lr_side, lr_side, 3), np.uint8)
    times: dict[Used, float] = {}
    peaks: dict[Used, int] = {}
    for precision in precisions(device):
        reset_peak(device)
        upscale = partial(
            model.upscale, picture, scale=8, precision=precision, back_projection=False
        )
        times[precision] = seconds(upscale, device)
        peaks[precision] = peak_mb(device)
    what = f"{encoder}-LIIF, {lr_side}×{lr_side} → {8 * lr_side}×{8 * lr_side}"
    return row(what, device, times, {"seconds": times, "peak_mb": peaks})


def training_row(encoder: str, device: torch.device, settings: Training | None = None) -> Row:
    """A step of the published recipe, and patches per second of steps fed by the loader."""
    times: dict[Used, float] = {}
    peaks: dict[Used, int] = {}
    rates: dict[Used, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        photographs = pack(PHOTOGRAPHS / "train", Path(folder) / "train.pack")
        batches = TrainingBatches(photographs, settings or Training())
        for precision in precisions(device):
            reset_peak(device)
            times[precision], rates[precision] = step_rates(encoder, device, batches, precision)
            peaks[precision] = peak_mb(device)
        with closing(load_batches(batches, device)) as loaded:
            time_of_one = seconds(lambda: next(loaded), device, 30)
    loading = round(batches.settings.batch / time_of_one)
    shown = ", ".join(f"{rate} in {precision}" for precision, rate in rates.items())
    workers = devices.loader_workers(device)
    notes = f"patches/s with the loader: {shown}; the loader alone: {loading}, {workers} workers"
    more = {"seconds": times, "peak_mb": peaks, "patches_per_second": rates, "loader": loading}
    return row(f"{encoder}-LIIF, a training step", device, times, {"notes": notes, **more})


def step_rates(
    encoder: str, device: torch.device, batches: TrainingBatches, precision: Used
) -> tuple[float, int]:
    """Seconds of a step on a batch that is there, and patches per second with loaded ones."""
    model, settings = model_of(encoder, device), batches.settings
    optimizer = OPTIMIZERS["adam"](
        model.parameters(), lr=1e-4, fused=True if device.type == "cuda" else None
    )

    def step(batch: Batch) -> None:
        train_step(model, optimizer, batch, settings.loss, precision)

    here = batches[0].to(device)
    alone = seconds(lambda: step(here), device, 10)
    with closing(load_batches(batches, device)) as loaded:
        fed = seconds(lambda: step(next(loaded).to(device)), device, 10)
    return alone, round(settings.batch / fed)


def load_batches(batches: TrainingBatches, device: torch.device) -> LoadedBatches:
    """Batches from the beginning, as a training loads them."""
    return batches.from_step(0, devices.loader_workers(device), pinned=device.type == "cuda")


def row(what: str, device: torch.device, times: dict[Used, float], more: Row) -> Row:
    """A row of the table with the fastest time, and float32's in the notes."""
    shown = ", ".join(f"{precision} {time * 1e3:.1f} ms" for precision, time in times.items())
    notes = "; ".join([shown, f"peak {max(more['peak_mb'].values())} MB", more.get("notes", "")])
    return {
        **more,
        "what": f"{what} on {name_of(device)}",
        "ours": f"{min(times.values()) * 1e3:.1f} ms",
        "notes": notes.removesuffix("; "),
    }


def precisions(device: torch.device) -> list[Used]:
    """Float32, and what `auto` chooses if that is another."""
    auto = choose("auto", device)
    return ["float32"] if auto == "float32" else ["float32", auto]


def model_of(encoder: str, device: torch.device) -> LIIF:
    """EDSR with the bundled weights; RDN, of which there are none, with random ones."""
    if encoder == "EDSR-baseline":
        return load(device=device)
    torch.manual_seed(0)
    return build(Architecture(encoder=ENCODERS[encoder])).to(device)


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mb(device: torch.device) -> int:
    """Megabytes of the device's memory that tensors have taken at most; 0 on a CPU."""
    return round(torch.cuda.max_memory_allocated(device) / 1e6) if device.type == "cuda" else 0


def name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
