"""A results folder as the workflow leaves it, of pictures generated for the purpose."""

import json
from pathlib import Path

import numpy as np
from samples import SMALL, photograph

from liif.checkpoints.format import save_checkpoint
from liif.checkpoints.outputs import Outputs, history_csv
from liif.images import metrics
from liif.images.imresize import imresize
from liif.images.pixels import RGB8
from liif.images.png import write_png
from liif.inference import evaluate
from liif.network.build import build
from liif.system.files import write_json, write_text

MODELS = ("good", "better")
SCALE = 8


def make_results(folder: Path, names: list[str], side: int = 160) -> Path:
    """Pictures, metrics, histories, weights and times of two models and bicubic.

    The models are means of bicubic and the truth, nearer to it with every other picture, so that
    each picture has another gain.
    """
    pictures = {version: {} for version in ("bicubic", *MODELS)}  # type: ignore[var-annotated]
    for i, name in enumerate(names):
        hr = photograph(side, side, seed=i)
        lr = imresize(hr, 1 / SCALE)
        made = {"bicubic": imresize(lr, (side, side))}
        for k, model in enumerate(MODELS):
            share = 0.15 * (k + 1) + 0.3 * ((i * 7) % len(names)) / len(names)
            made[model] = _mean(made["bicubic"], hr, share)
        write_png(folder / "hr" / "test" / f"x{SCALE}" / f"{name}.png", hr)
        write_png(folder / "lr" / "test" / f"x{SCALE}" / f"{name}.png", lr)
        for version, picture in made.items():
            write_png(folder / "upscaled" / version / f"{name}.png", picture)
            quality = metrics.quality(hr, picture, channel="rgb", border=SCALE + 6)
            pictures[version][name] = {"psnr": quality.psnr, "ssim": quality.ssim}
    write_metrics(folder, pictures)
    for model, kind in zip(MODELS, SMALL, strict=True):
        outputs = Outputs(weights=folder / "models" / f"{model}.safetensors")
        save_checkpoint(outputs.weights, build(SMALL[kind]), SMALL[kind])
    write_text(outputs.history, history_csv(_history()))
    write_json(outputs.sidecar, {"steps": 30, "seconds": 61.0, "device": "cpu"})
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for step, row in {
        "train/better": "61.5\t0:01:01\t574.5\t1\t1\t1\t0\t0\t150\t92.2\n",
        "upscale/better/0": "10.0\t0:00:10\t100.0\t1\t1\t1\t0\t0\t100\t10.0\n",
        "upscale/better/1": "20.0\t0:00:20\t200.0\t1\t1\t1\t0\t0\t100\t20.0\n",
        "upscale/removed/0": "99.0\t0:01:39\t900.0\t1\t1\t1\t0\t0\t100\t99.0\n",
        "table": "0.1\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n",
    }.items():
        write_text(folder / "benchmarks" / f"{step}.tsv", head + row)
    return folder


def write_metrics(folder: Path, pictures: dict[str, dict[str, dict[str, float | None]]]) -> None:
    """The metrics of the test pictures, and some of validation."""
    results = []
    for model, found in pictures.items():
        part = folder / "work" / f"{model}.json"
        head = {"model": model, "channel": "rgb", "psnr": None, "ssim": None}
        write_json(
            part, {**head, "set": "test", "scale": SCALE, "border": SCALE + 6, "pictures": found}
        )
        results += evaluate.merge([part])
        for scale in (2, 4):
            valid = {"v": {"psnr": 30.0 + scale + len(model) / 10, "ssim": 0.9}}
            of_valid = {"set": "valid", "scale": scale, "border": scale + 6, "pictures": valid}
            write_json(part, {**head, **of_valid})
            results += evaluate.merge([part])
    evaluate.write_tables(results, folder / "metrics", folder / "metrics.csv")


def psnrs(folder: Path, model: str) -> dict[str, float]:
    """PSNR of each test picture, as the files have it."""
    results = json.loads((folder / "metrics" / f"{model}.json").read_text())["results"]
    (pictures,) = [r["pictures"] for r in results if r["set"] == "test"]
    return {name: quality["psnr"] for name, quality in pictures.items()}


def gains(folder: Path, model: str) -> dict[str, float]:
    """PSNR above bicubic's, of each test picture, as the files have it."""
    base = psnrs(folder, "bicubic")
    return {name: psnr - base[name] for name, psnr in psnrs(folder, model).items()}


def _mean(a: RGB8, b: RGB8, share: float) -> RGB8:
    mixed: RGB8 = np.round(a * (1 - share) + b * share).astype(np.uint8)
    return mixed


def _history() -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "loss": 0.1 / epoch,
            "valid_psnr": 20.0 + epoch,
            "learning_rate": 1e-4,
            "patches_per_second": 50.0,
            "timestamp": 1.0 * epoch,
        }
        for epoch in (1, 2, 3)
    ]
