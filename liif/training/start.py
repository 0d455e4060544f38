"""Initial weights of a training, and the network that it learns from."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from liif.checkpoints.convert import file_of
from liif.checkpoints.load import read_checkpoint
from liif.network.build import Architecture, EncoderSettings, build, initialise_he
from liif.network.model import LIIF
from liif.recipe import Recipe, Training, Weights
from liif.system.errors import UserError
from liif.system.files import file_sha256
from liif.system.redact import redact
from liif.training.step import Teaching


class Given(NamedTuple):
    """A recipe with the contents of the weights it names."""

    recipe: Recipe
    """The recipe with the weights' checksums for names, and every setting of the network."""
    start: dict[str, Tensor]
    """The initial tensors, by name; the other ones are initialised by the recipe."""
    teacher: LIIF | None
    """The network to learn from."""


def read_given(recipe: Recipe) -> Given:
    """Read the weights that a recipe names; those that do not fit its network are refused."""
    start: dict[str, Tensor] = {}
    teacher, found = None, {}
    if recipe.start is not None:
        found["start"], model, theirs = _read("start", recipe.start)
        recipe = recipe.model_copy(update=_unset(recipe, theirs))
        start = _initial(recipe, model, theirs)
    if recipe.teacher is not None:
        found["teacher"], teacher, theirs = _read("teacher", recipe.teacher)
        if wrong := _differences(theirs, recipe.architecture, "mean", "std"):
            raise UserError(
                f"teacher: {_name(recipe.teacher)} has another normalisation: {wrong}; set its "
                "`mean` and `std`, or choose another teacher"
            )
    return Given(recipe.model_copy(update=found), start, teacher)


def networks(given: Given, device: torch.device) -> tuple[LIIF, Teaching | None]:
    """The network to train, and the one that it learns from, on a device."""
    recipe = given.recipe
    torch.manual_seed(recipe.train.seed)
    model = build(recipe.architecture)
    if recipe.train.init == "he":
        initialise_he(model)
    model.load_state_dict(model.state_dict() | given.start)
    model.to(device)
    frozen = recipe.train.encoder_learning_rate == 0
    if frozen:
        model.encoder.requires_grad_(False)
    if given.teacher is None or recipe.teacher is None:
        return model, None
    teacher = given.teacher.to(device).eval().requires_grad_(False)
    same_features = frozen and _equal(model.encoder.state_dict(), teacher.encoder.state_dict())
    return model, Teaching(teacher, recipe.teacher.weight, same_features)


def _equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(map(torch.equal, ours.values(), theirs.values()))


def parameter_groups(model: LIIF, settings: Training) -> list[dict[str, Any]]:
    """Encoder and decoder for the optimizer, each with the factor of its learning rate."""
    rate, own = settings.learning_rate, settings.encoder_learning_rate
    parts = ((model.encoder, rate if own is None else own), (model.imnet, rate))
    return [{"params": part.parameters(), "factor": each / rate} for part, each in parts]


def _read(role: str, weights: Weights) -> tuple[Weights, LIIF, Architecture]:
    """Weights as their checksum alone, their network, and its architecture."""
    if weights.weights is None and weights.url is None:
        raise UserError(
            f"{role}: `sha256` alone does not say where the file is; add `weights` or `url`"
        )
    path = file_of(weights)
    model, architecture, _ = read_checkpoint(path)
    known = {"weights": None, "url": None, "sha256": file_sha256(path)}
    return weights.model_copy(update=known), model, architecture


def _unset(recipe: Recipe, theirs: Architecture) -> dict[str, object]:
    """The start's settings of the network where the recipe sets none."""
    return {name: value for name, value in theirs if name not in recipe.model_fields_set}


def _initial(recipe: Recipe, model: LIIF, theirs: Architecture) -> dict[str, Tensor]:
    """All tensors of an equal network; the encoder's of one with another decoder."""
    ours = recipe.architecture
    if wrong := _differences(theirs, ours, "encoder", "mean", "std"):
        assert recipe.start is not None
        raise UserError(
            f"start: {_name(recipe.start)} is another network: {wrong}; leave out these settings "
            "to use those of the initial weights"
        )
    tensors: dict[str, Tensor] = model.state_dict()
    if theirs == ours:
        return tensors
    return {name: tensor for name, tensor in tensors.items() if name.startswith("encoder.")}


def _differences(theirs: Architecture, ours: Architecture, *names: str) -> str:
    """How two networks differ: `mean 0.4, 0.4, 0.4 instead of 0.5, 0.5, 0.5`."""
    pairs = ((name, getattr(theirs, name), getattr(ours, name)) for name in names)
    return "; ".join(
        f"{name} {_shown(there)} instead of {_shown(here)}"
        for name, there, here in pairs
        if there != here
    )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{each:g}" for each in value)
    assert isinstance(value, EncoderSettings)
    return f"{value.describe()}, {value.channels} channels"


def _name(weights: Weights) -> str:
    return weights.weights or redact(str(weights.url))
