"""Speed and memory, compared with plain reference implementations.

    make bench

Ratios are of medians of alternating runs, so that a machine that slows down affects both. Prints a
table, and writes the numbers with a description of the machine to benchmarks/latest.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import direct
import numpy as np
import torch
from gpu import gpu_rows
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F
from tracked import measure_tracking

from liif.checkpoints.catalog import BUNDLED
from liif.checkpoints.load import load
from liif.data.pack import Pack, pack
from liif.data.patches import TrainingBatches, training_patch
from liif.network import device, tiling
from liif.network.build import Architecture, RDNEncoder, build
from liif.network.model import LIIF
from liif.recipe import Recipe, Training
from liif.training.step import train_step

RUNS = 3
OUT = Path(__file__).parent / "latest.json"
Row = dict[str, Any]


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(MEASURES[sys.argv[2]](*sys.argv[3:])))
        return
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
        return
    device.keep_freed_memory()  # as the commands do
    rate = matrix_rates()
    rows: list[Row] = []
    for kind in ("edsr", "rdn"):
        rows.append(upscale_row(kind, rate))
    rows.append(training_row(rate))
    with tempfile.TemporaryDirectory() as folder:
        rows += loader_rows(Path(folder))
    rows += [large_row("edsr"), large_row("rdn"), *size_rows(), tracking_row(), *gpu_rows()]
    result = {"machine": machine(), "matrix_product_gflops": rate, "rows": rows}
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    show(result)


class Variant:
    """An implementation in its own process, as its users would run it.

    So the settings of one process, such as keeping freed memory, do not affect the other.
    """

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self) -> float:
        """Run once and return the seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("once", file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def serve(what: str, who: str, kind: str = "edsr") -> None:
    """Run once for each line on standard input, and print the seconds."""
    run = SERVED[what](who, kind)
    for _ in sys.stdin:
        print(timed(run), flush=True)


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def alternate(ours: Callable[[], float], plain: Callable[[], float]) -> tuple[float, float]:
    """Median seconds of each, run in turn after one warm-up of each."""
    times: list[tuple[float, float]] = [(ours(), plain()) for _ in range(RUNS + 1)][1:]
    return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)


def compare(what: str, kind: str = "edsr") -> tuple[float, float]:
    """Median seconds of ours and of the plain reference, each in its own process."""
    ours, plain = Variant(what, "ours", kind), Variant(what, "plain", kind)
    try:
        return alternate(ours, plain)
    finally:
        ours.close()
        plain.close()


def seconds(run: Callable[[], object], repeat: int) -> float:
    """Seconds of one call, the best of five rounds."""
    run()
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeat):
            run()
        rounds.append((time.perf_counter() - start) / repeat)
    return min(rounds)


@torch.inference_mode()
def matrix_rates() -> dict[str, float]:
    """GFLOP/s of the decoder's matrix product, by `torch.mm` and as a 1×1 convolution."""
    x, w = torch.randn(3200, 256), torch.randn(256, 256)
    pixels, kernel = x.view(1, 1, 3200, 256).permute(0, 3, 1, 2), w[:, :, None, None]
    work = 2 * 3200 * 256 * 256 / 1e9
    return {
        "torch.mm": round(work / seconds(lambda: torch.mm(x, w), 50), 1),
        "1×1 convolution": round(work / seconds(lambda: F.conv2d(pixels, kernel), 50), 1),
    }


def model_of(kind: str) -> LIIF:
    if kind == "edsr":
        return load()
    torch.manual_seed(0)
    return build(Architecture(encoder=RDNEncoder())).eval()


def decoder_gflop(pixels: int) -> float:
    """GFLOP of the decoding function in its convolutional form."""
    return 4 * pixels * 2 * (3 * 256 * 256 + 256 * 3) / 1e9


def serve_upscale(who: str, kind: str) -> Callable[[], Any]:
    """100×100 → 800×800, end to end."""
    model = model_of(kind)
    lr = torch.rand(1, 3, 100, 100, generator=torch.Generator().manual_seed(0))
    picture = np.ascontiguousarray(lr[0].permute(1, 2, 0).numpy())
    if who == "ours":
        device.keep_freed_memory()  # as the commands do
        return lambda: model.upscale(picture, size=(800, 800))

    def plain() -> torch.Tensor:
        with torch.inference_mode():
            return direct.image_rgb(model, lr, (800, 800)).clamp(0, 1)

    return plain


def upscale_row(kind: str, rate: dict[str, float]) -> Row:
    fast, slow = compare("upscale", kind)
    measured = measure("upscale", kind, "100", "100", "8")
    reached = decoder_gflop(800 * 800) / (fast - measured["encoding_seconds"])
    return {
        "what": f"{kind.upper()}-LIIF, 100×100 → 800×800",
        "ours": f"{fast:.2f} s",
        "plain": f"{slow:.2f} s",
        "ratio": round(slow / fast, 2),
        "notes": f"decoding {reached:.0f} GFLOP/s, {reached / rate['torch.mm']:.0%} of torch.mm, "
        f"{reached / rate['1×1 convolution']:.0%} of the convolution; "
        f"peak {measured['peak_mb']} MB",
        "encoding_seconds": round(measured["encoding_seconds"], 3),
        "decoding_gflops": round(reached, 1),
        "peak_mb": measured["peak_mb"],
    }


def serve_training(who: str, kind: str) -> Callable[[], Any]:
    """A step of the documented recipe."""
    if who == "ours":
        device.keep_freed_memory()
    recipe = Recipe()
    with tempfile.TemporaryDirectory() as folder:
        batches = TrainingBatches(bundled(Path(folder)), recipe.train)
        ready = [batches[i] for i in range(4)]
    torch.manual_seed(0)
    model = build(recipe.architecture)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    step = train_step if who == "ours" else direct.train_step
    numbers = iter(range(10**6))
    return lambda: step(model, optimizer, ready[next(numbers) % 4])


def training_row(rate: dict[str, float]) -> Row:
    fast, slow = compare("training")
    gflop = 3 * training_gflop()
    peak = measure("training")["peak_mb"]
    return {
        "what": "EDSR-baseline-LIIF, a training step",
        "ours": f"{fast:.2f} s",
        "plain": f"{slow:.2f} s",
        "ratio": round(slow / fast, 2),
        "notes": f"{gflop / fast:.0f} GFLOP/s, {gflop / fast / rate['torch.mm']:.0%} of torch.mm; "
        f"peak {peak} MB",
        "gflops": round(gflop / fast, 1),
        "peak_mb": peak,
    }


def training_gflop() -> float:
    """GFLOP of a forward pass: encoder, grid, decoder."""
    lr_pixels = 16 * 48 * 48
    encoder = 2 * lr_pixels * 9 * 64 * (3 + 33 * 64)
    grid = 2 * lr_pixels * 9 * 64 * 256
    return (encoder + grid) / 1e9 + decoder_gflop(16 * 2304)


def bundled(folder: Path) -> Pack:
    """Pack the bundled training photographs."""
    from liif.data.download import PHOTOGRAPHS

    return pack(PHOTOGRAPHS / "train", folder / "train.pack")


def loader_rows(folder: Path) -> list[Row]:
    """Patches of the documented recipe from photographs of 2 megapixels."""
    source = folder / "png"
    source.mkdir()
    rng = np.random.default_rng(0)
    base = Image.open(next((BUNDLED.parents[1] / "photos/train").glob("wine.webp")))
    for i in range(10):
        grain = rng.normal(0, 4, (1224, 1632, 3))
        pixels = np.asarray(base.convert("RGB").resize((1632, 1224)), dtype=float) + grain
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(source / f"{i}.png")
    for i in range(10, 100):
        os.link(source / f"{i % 10}.png", source / f"{i}.png")
    packed, settings = pack(source, folder / "100.pack"), Training()
    few = folder / "few"
    few.mkdir()
    for i in range(10):
        os.link(source / f"{i}.png", few / f"{i}.png")
    pack(few, folder / "10.pack")
    torch.set_num_threads(1)
    count, numbers = 40, iter(range(10**6))

    def ours() -> None:
        for _ in range(count):
            training_patch(packed, settings, 0, next(numbers))

    def plain() -> None:
        for _ in range(count):
            direct.load_patch(source / f"{next(numbers) % 100}.png", settings, rng)

    fast, slow = alternate(lambda: timed(ours), lambda: timed(plain))
    torch.set_num_threads(os.cpu_count() or 1)
    grown = (
        measure("loading", str(folder / "100.pack"))["anonymous_mb"]
        - measure("loading", str(folder / "10.pack"))["anonymous_mb"]
    )
    return [
        {
            "what": "Loading a patch, 2-megapixel photographs",
            "ours": f"{count / fast:.0f} /s",
            "plain": f"{count / slow:.0f} /s",
            "ratio": round(slow / fast, 1),
            "notes": f"one core; anonymous memory from 10 to 100 photographs: {grown:+.0f} MB",
            "patches_per_second": round(count / fast, 1),
            "anonymous_growth_mb": round(grown, 1),
        }
    ]


def large_row(kind: str) -> Row:
    """400×400 → 3200×3200 in its own process."""
    measured = measure("upscale", kind, "400", "400", "8")
    return {
        "what": f"{kind.upper()}-LIIF, 400×400 → 3200×3200",
        "ours": f"{measured['seconds']:.1f} s",
        "notes": f"peak {measured['peak_mb']} MB; encoding {measured['encoding_seconds']:.1f} s",
        **measured,
    }


def size_rows() -> list[Row]:
    """Seconds per million output pixels by input size, EDSR-baseline ×8."""
    model = model_of("edsr")
    rows: dict[str, float] = {}
    for height, width in ((100, 100), (50, 50), (60, 180), (200, 200), (400, 400), (100, 100)):
        picture = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
        start = time.perf_counter()
        model.upscale(picture, scale=8)
        per_pixel = (time.perf_counter() - start) / (height * width * 64) * 1e6
        rows[f"{height}×{width}"] = min(per_pixel, rows.get(f"{height}×{width}", per_pixel))
    base = rows.pop("100×100")
    shown = ", ".join(f"{size}: {value / base - 1:+.0%}" for size, value in rows.items())
    return [
        {
            "what": "EDSR-LIIF ×8, time per million output pixels",
            "ours": f"{base:.2f} s",
            "notes": f"at 100×100; {shown}",
            "by_size": rows,
        }
    ]


def tracking_row() -> Row:
    """A training tracked in MLflow, compared with the same without tracking."""
    pairs = [(measure("tracking", "ours"), measure("tracking", "plain")) for _ in range(RUNS)]
    ours, plain = (statistics.median(pair[i]["epoch_seconds"] for pair in pairs) for i in range(2))
    delivery, end = (
        statistics.median(pair[0][key] for pair in pairs)
        for key in ("delivery_seconds", "end_seconds")
    )
    return {
        "what": "Demo's EDSR-LIIF, an epoch tracked in MLflow",
        "ours": f"{ours:.2f} s",
        "plain": f"{plain:.2f} s",
        "ratio": round(plain / ours, 3),
        "notes": f"tracking takes {delivery:.1f} s of CPU time in all (with the import of MLflow "
        f"and the creation of its database), {end:.1f} s of it after the training",
        "delivery_seconds": round(delivery, 2),
        "end_seconds": round(end, 2),
    }


def measure(what: str, *words: str) -> Row:
    """Run a measurement in its own process."""
    command = [sys.executable, __file__, "--measure", what, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: Row = json.loads(done.stdout.splitlines()[-1])
    return result


def status_mb(key: str) -> float:
    """A value of the process's status; unlike rusage, its peak excludes the parent process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no {key} in /proc/self/status")


def peak_mb() -> int:
    return round(status_mb("VmHWM"))


def measure_upscale(kind: str, height: str, width: str, scale: str) -> Row:
    device.keep_freed_memory()  # as the commands do
    model = model_of(kind)
    picture = np.random.default_rng(0).integers(0, 256, (int(height), int(width), 3), np.uint8)
    lr = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        lr = model.normalise(lr)
        memory = device.free_memory(lr.device) // 2
        small = lr[:, :, :50, :50]
        tiling.encode(model.encoder, small, slice(0, small.shape[2]), memory)  # warm up
        start = time.perf_counter()
        tiling.encode(model.encoder, lr, slice(0, lr.shape[2]), memory)
    middle = time.perf_counter()
    model.upscale(picture, scale=float(scale))
    end = time.perf_counter()
    return {
        "seconds": end - middle,
        "encoding_seconds": middle - start,
        "peak_mb": peak_mb(),
    }


def measure_training() -> Row:
    device.keep_freed_memory()
    recipe = Recipe()
    with tempfile.TemporaryDirectory() as folder:
        batches = TrainingBatches(bundled(Path(folder)), recipe.train)
    model = build(recipe.architecture)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for i in range(4):
        train_step(model, optimizer, batches[i])
    return {"peak_mb": peak_mb()}


def measure_loading(path: str) -> Row:
    packed, settings = Pack(Path(path)), Training()
    for i in range(400):
        training_patch(packed, settings, 0, i)
    return {"anonymous_mb": status_mb("RssAnon")}


SERVED: dict[str, Callable[[str, str], Callable[[], Any]]] = {
    "upscale": serve_upscale,
    "training": serve_training,
}
MEASURES: dict[str, Callable[..., Row]] = {
    "upscale": measure_upscale,
    "training": measure_training,
    "loading": measure_loading,
    "tracking": measure_tracking,
}


def machine() -> dict[str, Any]:
    """Describe the machine."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": cpu,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    about = result["machine"]
    table = Table(title=f"{about['cpu']} ({about['capability']}), {about['threads']} threads")
    for column in ("", "ours", "plain", "ratio", "notes"):
        table.add_column(column)
    for row in result["rows"]:
        ratio = f"{row['ratio']}×" if "ratio" in row else ""
        table.add_row(row["what"], row["ours"], row.get("plain", ""), ratio, row["notes"])
    Console(width=150).print(table)
    print("matrix product, GFLOP/s:", result["matrix_product_gflops"])


if __name__ == "__main__":
    main()
