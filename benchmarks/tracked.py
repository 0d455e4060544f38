"""What keeping a record of a training costs it."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from variants import RUNS, Numbers, Row, once

from liif.config import experiment
from liif.config_file import read_yaml
from liif.data.download import PHOTOGRAPHS
from liif.data.pack import pack
from liif.recipe import Recipe
from liif.tracking.tracker import NoTracker, Tracker
from liif.training import train
from liif.training.trainer import Limits

DEMO = Path(__file__).parent.parent / "config" / "demo.yaml"
EPOCHS = 6


def rows() -> list[Row]:
    """A training tracked in MLflow, compared with the same without tracking."""
    pairs = [(once("tracked", "ours"), once("tracked", "plain")) for _ in range(RUNS)]
    ours, plain = (statistics.median(pair[i]["epoch_seconds"] for pair in pairs) for i in range(2))
    delivery, end = (
        statistics.median(pair[0][key] for pair in pairs)
        for key in ("delivery_seconds", "end_seconds")
    )
    return [
        {
            "what": "Demo's EDSR-LIIF, an epoch tracked in MLflow",
            "ours": f"{ours:.2f} s",
            "plain": f"{plain:.2f} s",
            "ratio": round(plain / ours, 3),
            "notes": f"tracking takes {delivery:.1f} s of CPU time in all (with the import of "
            f"MLflow and the creation of its database), {end:.1f} s of it after the training",
            "delivery_seconds": round(delivery, 2),
            "end_seconds": round(end, 2),
        }
    ]


def prepare(who: str) -> Callable[[], Numbers]:
    """A training, tracked or not."""
    return lambda: measure(who)


def measure(who: str) -> Numbers:
    """The demo's small EDSR, an epoch of 5 s; with short epochs a record costs most."""
    settings = experiment(read_yaml(str(DEMO))).recipe("small-edsr").model_dump()
    settings["train"]["epochs"] = EPOCHS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packs = [pack(PHOTOGRAPHS / p, folder / f"{p}.pack") for p in ("train", "valid")]
        tracker = Tracker(folder) if who == "ours" else NoTracker()
        outputs = train.train(
            "small-edsr",
            Recipe.model_validate(settings),
            data=packs[0].path,
            valid=packs[1].path,
            out=folder / "m.safetensors",
            state=folder / "state",
            store=folder / "store",
            limits=Limits(device=torch.device("cpu")),
            tracker=tracker,
        )
        start = time.perf_counter()
        tracker.close()
        times = [row["timestamp"] for row in outputs.read_history()]
        epochs = [b - a for a, b in itertools.pairwise(times)]
        return {
            "epoch_seconds": statistics.median(epochs),
            "end_seconds": time.perf_counter() - start,
            "delivery_seconds": tracker.cpu_seconds if isinstance(tracker, Tracker) else 0.0,
        }
