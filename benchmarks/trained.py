"""Rows of `make bench` about a training step on the CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import direct
import torch
from gpu import precisions
from rates import ENCODERS, step_gflop
from variants import Numbers, Row, compare, compared, timed

from liif.data.download import PHOTOGRAPHS
from liif.data.pack import Pack, pack
from liif.data.patches import TrainingBatches
from liif.network import device
from liif.network.build import build
from liif.network.precision import Used
from liif.recipe import Recipe
from liif.training.step import train_step

BATCHES = 4


def rows() -> list[Row]:
    """A step of the published recipe by the published form and by ours."""
    ours = precisions(torch.device("cpu"))
    edsr = compare("trained", ["published", *ours], "edsr")
    # The published form takes long, and all three at once would need much memory.
    rdn = compare("trained", ["published"], "rdn", runs=1)
    rdn |= compare("trained", ours, "rdn")
    return [row("edsr", edsr), {**row("rdn", rdn), "runs": {"published": 1}}]


def row(kind: str, results: dict[str, Numbers]) -> Row:
    """A row about a step; the rates are of all its products."""
    ours = {name: numbers for name, numbers in results.items() if name != "published"}
    rates = {name: step_gflop(kind) / numbers["seconds"] for name, numbers in ours.items()}
    return compared(f"{kind.upper()}-LIIF, a training step", results, rates)


def prepare(who: str, kind: str) -> Callable[[], Numbers]:
    """A step of the published recipe, by the published form or by ours in a precision."""
    if who != "published":
        device.keep_freed_memory()  # as the commands do
    recipe = Recipe(encoder=ENCODERS[kind]())
    with tempfile.TemporaryDirectory() as folder:
        batches = TrainingBatches(bundled(Path(folder)), recipe.train)
        ready = [batches[i] for i in range(BATCHES)]
    torch.manual_seed(0)
    model = build(recipe.architecture)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    numbers = iter(range(10**6))

    def step() -> None:
        batch = ready[next(numbers) % BATCHES]
        if who == "published":
            direct.train_step(model, optimizer, batch)
        else:
            train_step(model, optimizer, batch, precision=cast(Used, who))

    return lambda: {"seconds": timed(step)}


def bundled(folder: Path) -> Pack:
    """Pack the bundled training photographs."""
    return pack(PHOTOGRAPHS / "train", folder / "train.pack")
