"""Measure each step here, and estimate large experiments from it: docs/scaling.md.

    make bench-scaling                       measures, and writes benchmarks/scaling.json
    python benchmarks/scaling.py plan huge   repeats these measurements
    python benchmarks/scaling.py --tables    prints the tables from the last measurements

Each step runs by its command, as in the workflow.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import yaml
from PIL import Image
from rates import decoder_gflop, step_gflop

from liif.checkpoints.format import save_checkpoint
from liif.config import Experiment
from liif.data.pack import pack
from liif.network import device
from liif.network.build import Architecture, build
from liif.recipe import Recipe

ROOT = Path(__file__).parent.parent
OUT = Path(__file__).parent / "scaling.json"
LIIF = [sys.executable, "-m", "liif"]
PICTURES, BUCKETS = 100_000, 200
"""Size of the large DAG."""
FEW = 10_000
"""Pictures that are actually upscaled; of 16×16, so that the time per file dominates."""

TFLOPS = 10.0
"""Assumed sustained speed of a GPU, in TFLOP/s of float32 products."""
LAUNCH = 0.010
"""Seconds of a step that more GPUs do not shorten: kernel launches, the optimizer."""
BANDWIDTH = 10.0
"""GB/s between GPUs, as over PCI Express; assumed not to overlap with computation."""
PRICE = 2.0
"""Price of a GPU hour, in any currency."""

Numbers = dict[str, Any]


def main() -> None:
    if "--tables" in sys.argv:
        print("\n\n".join(f"{name}\n\n{table}" for name, table in tables(read()).items()))
        return
    measured: Numbers = read() if OUT.exists() else {}
    measured["machine"] = {"threads": os.cpu_count(), "torch": torch.__version__}
    parts = {
        "train": lambda: {kind: training(kind) for kind in ("edsr", "rdn")},
        "processes": processes,
        "photographs": photographs,
        "pictures": pictures,
        "plan": plan,
        "huge": huge,
    }
    for name in sys.argv[1:] or parts:
        measured[name] = parts[name]()
        OUT.write_text(json.dumps(measured, indent=1) + "\n")
        print(name, json.dumps(measured[name]), flush=True)


def read() -> Numbers:
    """The last measurements."""
    numbers: Numbers = json.loads(OUT.read_text())
    return numbers


def run(*words: str, cwd: Path | None = None) -> tuple[float, int]:
    """Seconds of a command, and its peak memory (MB) including its children."""
    start = time.perf_counter()
    process = psutil.Popen(
        words,
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "LIIF_TRACKING": "false"},
    )
    most = 0
    while process.poll() is None:
        total = 0
        for each in [process, *process.children(recursive=True)]:
            try:
                total += each.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        most = max(most, total)
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - start, most >> 20


def training(kind: str) -> Numbers:
    """A step of the published recipe on all cores, and the size of a training state."""
    from trained import bundled

    from liif.data.patches import TrainingBatches
    from liif.training.step import train_step

    device.keep_freed_memory()  # as the commands do
    recipe = Recipe.model_validate({"encoder": {"name": kind}})
    with tempfile.TemporaryDirectory() as folder:
        batches = TrainingBatches(bundled(Path(folder)), recipe.train)
        batch = batches[0]
    model = build(recipe.architecture)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    train_step(model, optimizer, batch)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        train_step(model, optimizer, batch)
        times.append(time.perf_counter() - start)
    parameters = sum(p.numel() for p in model.parameters())
    return {"step_seconds": min(times), "parameters": parameters, "state_mb": 12e-6 * parameters}


def processes() -> Numbers:
    """The demo's EDSR trained by one process on all cores, and by two that share them."""
    demo = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    settings = {**demo["models"]["small-edsr"], "train": {**demo["train"], "epochs": 2}}
    result = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("train", "valid"):
            pack(ROOT / "liif/assets/photos" / part, folder / f"{part}.pack")
        for count in (1, 2):
            out = folder / f"{count}" / "m.safetensors"
            words = ["--data", f"{folder}/train.pack", "--valid", f"{folder}/valid.pack"]
            words += ["--out", str(out), "--settings", json.dumps(settings), "--device", "cpu"]
            run(*LIIF, "train", *words, "--processes", str(count))
            last = out.with_suffix(".history.csv").read_text().splitlines()[-1].split(",")
            result[str(count)] = float(last[5])
    return {"patches_per_second": result}


def photographs() -> Numbers:
    """Seconds per megapixel to pack, degrade and evaluate photographs of 2 megapixels, one core."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = Image.open(ROOT / "liif/assets/photos/train/wine.webp").convert("RGB")
        (folder / "hr").mkdir()
        for i in range(10):
            base.resize((1632 + 4 * i, 1224)).save(folder / "hr" / f"{i}.png")
        megapixels = sum(np.prod(Image.open(p).size) for p in (folder / "hr").iterdir()) / 1e6
        # The time for a tiny photograph is the startup time of the process.
        (folder / "tiny").mkdir()
        base.resize((64, 64)).save(folder / "tiny" / "0.png")
        seconds: dict[str, dict[str, float]] = {}
        for part in ("hr", "tiny"):
            hr, lr = f"{folder}/{part}", f"{folder}/{part}-lr"
            evaluate = ["--hr", hr, "--lr", lr, "--scale", "4", "--threads", "1"]
            seconds[part] = {
                "pack": run(*LIIF, "pack", hr, f"{folder}/{part}.pack")[0],
                "degrade": run(*LIIF, "degrade", hr, "--out", lr, "--scale", "4")[0],
                "bicubic and measured": run(
                    *LIIF, "evaluate", *evaluate, "--weights", "bicubic", "--border", "scale"
                )[0],
            }
    return {
        key: (seconds["hr"][key] - seconds["tiny"][key]) / float(megapixels)
        for key in seconds["hr"]
    }


def small_model(path: Path) -> None:
    """Save the demo's EDSR, untrained."""
    demo = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    architecture = Architecture.model_validate(demo["models"]["small-edsr"])
    save_checkpoint(path, build(architecture), architecture)


def pictures() -> Numbers:
    """Seconds per picture that do not depend on its size: files, tags, manifests."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many(folder / "lr", FEW, 16)
        small_model(folder / "small.safetensors")
        upscale = [*LIIF, "upscale", f"{folder}/lr", "--out", f"{folder}/sr", "--scale", "2"]
        upscale += ["--weights", f"{folder}/small.safetensors", "--threads", "1"]
        upscale += ["--overwrite", "--manifest", f"{folder}/m.json"]
        result = {}
        result["made"], memory = run(*upscale)
        result["found made already"], _ = run(*upscale)
        one, _ = run(*upscale, "--bucket", "0/200")
        result = {key: value / FEW for key, value in result.items()}
        (folder / "photos").mkdir()
        for path in (ROOT / "liif/assets/photos").rglob("*.webp"):
            small = Image.open(path).convert("RGB").resize((100, 100))
            for i in range(10):
                small.rotate(i).save(folder / "photos" / f"{path.stem}{i}.png")
        words = ["--scale", "8", "--weights", "bicubic", "--threads", "1"]
        whole = [*LIIF, "upscale", f"{folder}/photos", "--out", f"{folder}/big", *words]
        seconds, _ = run(*whole)
        again, _ = run(*whole)  # all exist already
        result["bicubic to 800×800"] = (seconds - again) / len(list((folder / "big").iterdir()))
    return {**result, "a bucket of 50 of them, all made": one, "memory_mb": memory}


def many(folder: Path, count: int, side: int) -> None:
    """Make `count` pictures, nearly all of them hard links."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "000000.png")
    for i in range(1, count):
        # File systems limit the number of links to a file.
        if i % 30_000 == 0:
            shutil.copy(folder / "000000.png", folder / f"{i:06}.png")
        else:
            os.link(folder / f"{i // 30_000 * 30_000:06}.png", folder / f"{i:06}.png")


def plan() -> Numbers:
    """A dry run of the workflow over 100,000 pictures."""
    from liif.data.download import PHOTOGRAPHS

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many(folder / "data" / "test", PICTURES, 16)
        shutil.copytree(PHOTOGRAPHS / "valid", folder / "data" / "valid")
        config: Numbers = {
            "data": {"train": "data/valid", "valid": "data/valid", "test": {"lr": "data/test"}},
            "models": {"released": {"weights": "bundled", "scales": []}},
            "buckets": BUCKETS,
            "evaluate": {"scales": [2]},
        }
        (folder / "many.yaml").write_text(yaml.safe_dump(config))
        words = [str(Path(sys.executable).parent / "snakemake"), "--snakefile", f"{ROOT}/Snakefile"]
        words += ["results/sr_800", "--directory", name, "--cores", "2", "--dry-run"]
        words += ["--quiet", "all", "--configfile", f"{folder}/many.yaml"]
        first, _ = run(*words)  # computes and caches the data version
        seconds, memory = run(*words)
    return {"seconds": seconds, "first_seconds": first, "memory_mb": memory}


def huge() -> Numbers:
    """Upscale a picture of 10,000×10,000 pixels by 2 with the demo's small network."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small_model(folder / "small.safetensors")
        row = np.random.default_rng(0).integers(0, 256, (500, 10_000, 3), dtype=np.uint8)
        Image.fromarray(np.tile(row, (20, 1, 1))).save(folder / "big.png", compress_level=1)
        words = [f"{folder}/big.png", "-o", f"{folder}/bigger.tif", "--scale", "2"]
        words += ["--weights", f"{folder}/small.safetensors", "--max-memory", "2"]
        seconds, memory = run(*LIIF, "upscale", *words)
    return {"seconds": seconds, "memory_mb": memory}


def tflop(kind: str) -> float:
    """TFLOP of a training step of the published recipe, forward and backward."""
    return step_gflop(kind) / 1e3


def upscaling_tflop(kind: str, lr_megapixels: float, megapixels: float) -> float:
    """TFLOP of upscaling."""
    weights = {"edsr": 9 * 64 * (3 + 33 * 64), "rdn": 22.0e6}[kind] + 9 * 64 * 256
    return 2 * lr_megapixels * weights / 1e6 + decoder_gflop(1_000_000) * megapixels / 1e3


def step(kind: str, gpus: int, parameters: int) -> float:
    """Seconds of a step on `gpus` GPUs."""
    compute = tflop(kind) / TFLOPS / gpus
    exchange = 2 * (gpus - 1) / gpus * 4 * parameters / (BANDWIDTH * 1e9)
    return LAUNCH + compute + exchange


def tables(measured: Numbers) -> dict[str, str]:
    """The tables of docs/scaling.md, by the names of their markers there."""
    return {
        "measured": _measured(measured),
        "training": _training(measured),
        "evaluation": _evaluation(measured),
        "pictures": _pictures(measured),
        "huge": _huge(measured),
    }


def _measured(m: Numbers) -> str:
    files, photos, plan_ = m["pictures"], m["photographs"], m["plan"]
    patches = m["processes"]["patches_per_second"]
    rows = [
        ("pack", f"{1e3 * photos['pack']:.0f} ms per megapixel, one core"),
        ("degrade", f"{1e3 * photos['degrade']:.0f} ms per megapixel, one core"),
        *(
            (
                f"train, {name}",
                f"{m['train'][kind]['step_seconds']:.2f} s per step; its state takes "
                f"{m['train'][kind]['state_mb']:.0f} MB",
            )
            for kind, name in (("edsr", "EDSR-baseline"), ("rdn", "RDN"))
        ),
        (
            "train with two processes",
            f"{patches['2']:.0f} patches/s; with one on the same cores {patches['1']:.0f} "
            "(the demo's EDSR)",
        ),
        (
            "evaluate, without the network",
            f"{photos['bicubic and measured']:.2f} s per megapixel (bicubic, PSNR, SSIM), one core",
        ),
        (
            "upscale, without the network",
            f"{1e3 * files['bicubic to 800×800']:.0f} ms per picture of 800×800 (bicubic, PNG), "
            f"{1e3 * files['made']:.0f} ms per tiny one, {1e3 * files['found made already']:.1f} "
            "ms per existing one; one core",
        ),
        (
            f"plan of {PICTURES:,} pictures",
            f"{plan_['seconds']:.1f} s and {plan_['memory_mb']} MB in {BUCKETS} buckets; the first "
            f"time, when their contents are hashed, {plan_['first_seconds']:.0f} s",
        ),
        (
            "10,000×10,000 pixels, ×2, small network",
            f"{m['huge']['seconds']:.0f} s, {m['huge']['memory_mb'] / 1e3:.1f} GB",
        ),
    ]
    return _table(("step", "here"), rows)


def _training(m: Numbers) -> str:
    rows = []
    for kind, name in (("edsr", "EDSR-baseline-LIIF"), ("rdn", "RDN-LIIF")):
        one = step(kind, 1, m["train"][kind]["parameters"])
        for gpus in (1, 4, 8):
            seconds = step(kind, gpus, m["train"][kind]["parameters"])
            hours = seconds * 1e6 / 3600
            rows.append(
                (
                    name if gpus == 1 else "",
                    f"{gpus}",
                    f"{1e3 * seconds:.0f} ms",
                    _duration(hours),
                    f"{one / seconds / gpus:.0%}",
                    f"{PRICE * hours * gpus:,.0f}",
                )
            )
    return _table(("model", "GPUs", "step", "a million steps", "efficiency", "cost"), rows)


def _evaluation(m: Numbers) -> str:
    """100 validation photographs of DIV2K (2.75 megapixels each) at every documented scale."""
    scales = Experiment().evaluate.scales
    rows = []
    for kind, name in (("edsr", "EDSR-baseline-LIIF"), ("rdn", "RDN-LIIF")):
        network = sum(upscaling_tflop(kind, 2.75 / s**2, 2.75) / TFLOPS for s in scales)
        measuring = 2.75 * m["photographs"]["bicubic and measured"] * len(scales)
        minutes = [100 * seconds / 60 for seconds in (network, measuring, network + measuring)]
        cells = (f"{minutes[0]:.0f} min", f"{minutes[1]:.0f} min")
        rows.append((name, *cells, *(f"{minutes[2] / n:.0f} min" for n in (1, 4, 8))))
    return _table(("model", "network", "reading, PSNR, SSIM", "1 GPU", "4", "8"), rows)


def _pictures(m: Numbers) -> str:
    rows = []
    for kind, name in (("edsr", "EDSR-baseline-LIIF"), ("rdn", "RDN-LIIF")):
        # A picture is computed while the one before it is written.
        network = upscaling_tflop(kind, 0.01, 0.64) / TFLOPS
        each = max(network, m["pictures"]["bicubic to 800×800"])
        for gpus in (1, 4, 8):
            seconds = each * PICTURES / gpus
            hours = seconds / 3600
            rows.append(
                (
                    name if gpus == 1 else "",
                    f"{gpus}",
                    _duration(hours),
                    f"{PRICE * hours * gpus:.0f}",
                )
            )
    return _table(("model", "GPUs", f"{PICTURES:,} pictures, 100×100 → 800×800", "cost"), rows)


def _huge(m: Numbers) -> str:
    rows = []
    for kind, name in (("edsr", "EDSR-baseline-LIIF"), ("rdn", "RDN-LIIF")):
        for scale in (2, 8):
            out = 100.0 * scale**2
            hours = upscaling_tflop(kind, 100, out) / TFLOPS / 3600
            rows.append(
                (
                    name if scale == 2 else "",
                    f"×{scale}",
                    f"{out / 1e3:g} gigapixels, {3 * out / 1e3:.1f} GB",
                    _duration(hours),
                )
            )
    return _table(("model", "scale", "output (TIFF, before compression)", "one GPU"), rows)


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


if __name__ == "__main__":
    main()
