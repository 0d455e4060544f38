"""The state of a training: all that is needed to go on with the very next step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liif.checkpoints.format import load_metadata, load_tensors, save_tensors
from liif.config import Recipe, flatten
from liif.system.errors import UserError
from liif.system.progress import log

_FORMAT = 1
_NAME = "state.safetensors"
Parameters = Mapping[str, Tensor]


@dataclass
class State:
    """What a training must know to go on, besides the tensors."""

    key: str
    """The hash of its settings and data."""
    step: int = 0
    """Steps that are done."""
    loss_sum: float = 0.0
    """Of the steps of the running epoch."""
    seconds: float = 0.0
    """Of training so far, over all its runs."""
    best: float = -math.inf
    """The best validation PSNR."""
    history: list[dict[str, float]] = field(default_factory=list)
    """A row for each epoch."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a training is one of; its key is the hash of it."""

    recipe: Recipe
    data: str
    """The fingerprint of the photographs."""

    def differences(self, other: Mapping[str, Any]) -> str:
        """What is otherwise in another's saved origin: `train.batch (16, there 8)`."""
        ours, theirs = flatten(self.saved()), flatten(other)
        return ", ".join(
            f"{name} ({ours.get(name, 'none')}, there {theirs.get(name, 'none')})"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        )

    def saved(self) -> dict[str, Any]:
        """As it is kept in a state's metadata."""
        return {**self.recipe.model_dump(mode="json"), "photographs": self.data[:16]}


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every value is a number."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def save(
    folder: Path,
    state: State,
    origin: Origin,
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Keep the state, whole or not at all: the one before it stays until then."""
    tensors = tensors_of(parameters, optimizer)
    metadata = {"format": _FORMAT, "origin": origin.saved(), "state": asdict(state)}
    save_tensors(folder / _NAME, tensors, metadata)


def tensors_of(
    parameters: Parameters, optimizer: torch.optim.Optimizer, step: int | None = None
) -> dict[str, Tensor]:
    """The weights and the optimizer's moments, by their names in a state.

    With a step, an optimizer that has taken none is made ready for those of a training that has.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        moments = optimizer.state[parameter]
        if not moments and step is not None:
            moments["step"] = torch.tensor(float(step))
            moments["exp_avg"] = torch.zeros_like(parameter)
            moments["exp_avg_sq"] = torch.zeros_like(parameter)
        tensors[f"model.{name}"] = parameter
        tensors[f"first.{name}"] = moments["exp_avg"]
        tensors[f"second.{name}"] = moments["exp_avg_sq"]
    return tensors


def resume(
    folder: Path,
    key: str,
    origin: Origin,
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
) -> State | None:
    """The state that was kept, with its tensors put in place; None where there is none.

    Raises
    ------
    UserError
        It is damaged, was written by another version of liif, or is that of another training.
    """
    path = folder / _NAME
    if not path.exists():
        return None
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != _FORMAT:
        raise UserError(
            f"{path}: is a training's state of format {metadata.get('format')}, this liif reads "
            f"format {_FORMAT}; use the version that wrote it, or delete {folder} to start anew"
        )
    try:
        state = State(**metadata["state"])
        if state.key != key:
            raise UserError(
                f"{path}: is the state of another training, which differs in "
                f"{origin.differences(metadata['origin'])}; delete {folder} to start anew"
            )
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[f"model.{name}"])
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(state.step)),
                    "exp_avg": tensors[f"first.{name}"].to(parameter.device),
                    "exp_avg_sq": tensors[f"second.{name}"].to(parameter.device),
                }
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UserError(f"{path}: is damaged ({error!r}); delete {folder} to start anew") from None
    return state


def tell_of_others(state: Path, folder: Path, name: str, origin: Origin) -> None:
    """Say what unfinished trainings with other settings lie beside this one's folder."""
    for path in sorted(state.glob(f"*/{_NAME}")):
        if path.parent == folder:
            continue
        try:
            metadata = load_metadata(path)
            differences = origin.differences(metadata["origin"])
            step = metadata["state"]["step"]
        except (UserError, KeyError, TypeError):
            continue
        log(
            f"{name}: an unfinished training is kept in {path.parent} (step {step}); this one is "
            f"another, by {differences}"
        )
