"""Weights that a training starts from or learns from."""

from __future__ import annotations

from typing import TypeVar

import torch

from liif.checkpoints.catalog import locate
from liif.checkpoints.load import read_checkpoint
from liif.network.build import Architecture
from liif.network.model import LIIF
from liif.recipe import Recipe, Weights
from liif.system.errors import UserError
from liif.system.files import file_sha256
from liif.training.step import Teaching

W = TypeVar("W", bound=Weights)


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with the checksums of the weights it names, which count in its key."""
    found = {n: _resolved(w) for n in ("start", "teacher") if (w := getattr(recipe, n)) is not None}
    return recipe.model_copy(update=found)


def _resolved(weights: W) -> W:
    path = locate(str(weights.weights))
    sha256 = file_sha256(path)
    if weights.sha256 not in (None, sha256):
        raise UserError(f"{path}: has another checksum ({sha256}) than {weights.sha256}")
    return weights.model_copy(update={"sha256": sha256})


def initialise(model: LIIF, recipe: Recipe) -> None:
    """Copy the weights to start from into a model.

    An equal network is copied whole; of one with another decoder the encoder alone.
    """
    if recipe.start is None:
        return
    source, theirs, _ = read_checkpoint(str(recipe.start.weights))
    ours = recipe.architecture
    if wrong := _differences(ours, theirs, "encoder", "mean", "std"):
        raise UserError(f"start: {recipe.start.weights} is of another network: {wrong}")
    if _differences(ours, theirs, "hidden", "skip"):
        model.encoder.load_state_dict(source.encoder.state_dict())
    else:
        model.load_state_dict(source.state_dict())


def teaching(recipe: Recipe, device: torch.device) -> Teaching | None:
    """The network to learn from."""
    if recipe.teacher is None:
        return None
    model, theirs, _ = read_checkpoint(str(recipe.teacher.weights))
    if wrong := _differences(recipe.architecture, theirs, "mean", "std"):
        raise UserError(f"teacher: {recipe.teacher.weights} sees other values: {wrong}")
    return Teaching(model.to(device).eval().requires_grad_(False), recipe.teacher.weight)


def _differences(ours: Architecture, theirs: Architecture, *names: str) -> str:
    """How two networks differ in some settings: `mean ((0.5, 0.5, 0.5), here (0.4, 0.4, 0.4))`."""
    pairs = ((name, getattr(theirs, name), getattr(ours, name)) for name in names)
    return ", ".join(
        f"{name} ({there}, here {here})" for name, there, here in pairs if there != here
    )
