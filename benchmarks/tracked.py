"""What keeping a record of a training costs it."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

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


def measure_tracking(who: str) -> dict[str, Any]:
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
