"""Rows of `make bench` about loading patches."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import direct
import numpy as np
import torch
from PIL import Image
from variants import Numbers, Row, compare, once, status_mb, timed

from liif.data.download import PHOTOGRAPHS
from liif.data.pack import Pack, pack
from liif.data.patches import training_patch
from liif.recipe import Training

COUNT = 40
"""Patches of a run."""
DEGRADED = Training.model_validate(
    {
        "scales": [1, 8],
        "degrade": {
            "blur": {"range": [0.1, 2]},
            "noise": {"range": [1, 20]},
            "jpeg": {"range": [25, 95]},
        },
    }
)
"""All degradations in every patch."""


def rows() -> list[Row]:
    """Patches of the published recipe from photographs of 2 megapixels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_photographs(folder)
        results = compare("loaded", ["ours", "plain", "degraded"], name)
        few, many = (once("loaded", "memory", str(folder / f"{n}.pack")) for n in (10, 100))
    ours, plain, degraded = (COUNT / each["seconds"] for each in results.values())
    grown = many["anonymous_mb"] - few["anonymous_mb"]
    return [
        {
            "what": "Loading a patch, 2-megapixel photographs",
            "ours": f"{ours:.0f} /s",
            "plain": f"{plain:.0f} /s",
            "ratio": round(ours / plain, 1),
            "notes": f"one core; anonymous memory from 10 to 100 photographs: {grown:+.0f} MB",
            "patches_per_second": round(ours, 1),
            "anonymous_growth_mb": round(grown, 1),
        },
        {
            "what": "Loading a degraded patch, ×1–×8",
            "ours": f"{degraded:.0f} /s",
            "notes": "one core; every patch with blur (σ up to 2 LR pixels), noise and JPEG",
            "patches_per_second": round(degraded, 1),
        },
    ]


def make_photographs(folder: Path) -> None:
    """A folder `png` of 100 photographs, and packs of 100 and of 10 of them."""
    source, few = folder / "png", folder / "few"
    source.mkdir()
    few.mkdir()
    rng = np.random.default_rng(0)
    base = Image.open(PHOTOGRAPHS / "train" / "wine.webp").convert("RGB").resize((1632, 1224))
    for i in range(10):
        pixels = np.asarray(base, dtype=float) + rng.normal(0, 4, (1224, 1632, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(source / f"{i}.png")
        os.link(source / f"{i}.png", few / f"{i}.png")
    for i in range(10, 100):
        os.link(source / f"{i % 10}.png", source / f"{i}.png")
    pack(source, folder / "100.pack")
    pack(few, folder / "10.pack")


def prepare(who: str, path: str) -> Callable[[], Numbers]:
    """Some patches by our loader or by a plain one, or the memory that 400 of ours take."""
    torch.set_num_threads(1)
    settings, rng = DEGRADED if who == "degraded" else Training(), np.random.default_rng(0)
    numbers = iter(range(10**6))
    if who == "plain":

        def plain() -> None:
            for _ in range(COUNT):
                name = f"{next(numbers) % 100}.png"
                direct.load_patch(Path(path) / "png" / name, settings, rng)

        return lambda: {"seconds": timed(plain)}
    packed = Pack(Path(path) if who == "memory" else Path(path) / "100.pack")

    def ours(count: int = COUNT) -> None:
        for _ in range(count):
            training_patch(packed, settings, 0, next(numbers))

    def memory() -> Numbers:
        ours(400)
        return {"anonymous_mb": status_mb("RssAnon")}

    return memory if who == "memory" else lambda: {"seconds": timed(ours)}
