"""Training state: all that is needed to resume with the very next step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liif.checkpoints.format import load_metadata, load_tensors, save_tensors
from liif.config_file import flatten
from liif.network.precision import Used
from liif.system.errors import UserError
from liif.system.progress import log

_FORMAT = 1
_NAME = "state.safetensors"
Parameters = Mapping[str, Tensor]
Origin = Mapping[str, Any]
"""What a training's key is made of, in readable form: its recipe and `photographs`."""


@dataclass
class State:
    """The progress of a training, except for the tensors."""

    key: str
    """The hash of its settings and data."""
    precision: Used | None = None
    """Chosen when the training started; None before 0.2.0, which means the recipe's."""
    validation: str = ""
    """Fingerprint of the photographs that best and history are about; empty before 0.2.0."""
    step: int = 0
    """Number of steps taken."""
    loss_sum: float = 0.0
    """Sum of the losses of the current epoch's steps."""
    seconds: float = 0.0
    """Duration so far, over all runs."""
    best: float = -math.inf
    """The best validation PSNR."""
    history: list[dict[str, float]] = field(default_factory=list)
    """A row for each epoch."""


def save(
    folder: Path,
    state: State,
    origin: Origin,
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Save the state atomically."""
    metadata = {"format": _FORMAT, "origin": origin, "state": asdict(state)}
    save_tensors(folder / _NAME, tensors_of(parameters, optimizer), metadata)


def tensors_of(
    parameters: Parameters, optimizer: torch.optim.Optimizer, step: int | None = None
) -> dict[str, Tensor]:
    """The weights and the optimizer's moments, by their names in a state.

    With a step, missing moments are created as those of an optimizer that has taken that many.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        moments = optimizer.state[parameter]
        if not moments and step is not None:
            # A fused optimizer counts its steps on the device.
            where = parameter.device if optimizer.defaults["fused"] else None
            moments["step"] = torch.tensor(float(step), device=where)
            moments["exp_avg"] = torch.zeros_like(parameter)
            moments["exp_avg_sq"] = torch.zeros_like(parameter)
        tensors[f"model.{name}"] = parameter
        tensors[f"first.{name}"] = moments["exp_avg"]
        tensors[f"second.{name}"] = moments["exp_avg_sq"]
    return tensors


@torch.no_grad()
def resume(
    folder: Path,
    key: str,
    origin: Origin,
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
) -> State | None:
    """The saved state, if any, with its tensors put in place.

    A state that is damaged, of another format or of another training is refused.
    """
    path = folder / _NAME
    if not path.exists():
        return None
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != _FORMAT:
        raise UserError(
            f"{path}: is a training's state of format {metadata.get('format')}, this liif reads "
            f"format {_FORMAT}; use the version that wrote it, or delete {folder} to start over"
        )
    try:
        state = State(**metadata["state"])
        if state.key != key:
            raise UserError(
                f"{path}: is the state of another training, which differs in "
                f"{_differences(origin, metadata['origin'])}; delete {folder} to start over"
            )
        moments = tensors_of(parameters, optimizer, state.step)
        for name, tensor in moments.items():
            tensor.copy_(tensors[name])
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UserError(f"{path}: is damaged ({error!r}); delete {folder} to start over") from None
    return state


def report_others(states: Path, folder: Path, name: str, origin: Origin) -> None:
    """Log which unfinished trainings with other settings lie beside this one's folder."""
    for path in sorted(states.glob(f"*/{_NAME}")):
        if path.parent == folder:
            continue
        try:
            metadata = load_metadata(path)
            differences = _differences(origin, metadata["origin"])
            step = metadata["state"]["step"]
        except (UserError, KeyError, TypeError):
            continue
        log(
            f"{name}: an unfinished training is kept in {path.parent} (step {step}); this one "
            f"differs in {differences}"
        )


def _differences(ours: Origin, theirs: Origin) -> str:
    """How another training's origin differs: `train.batch (16, there 8)`."""
    ours, theirs = flatten(ours), flatten(theirs)
    return ", ".join(
        f"{name} ({ours.get(name, 'none')}, there {theirs.get(name, 'none')})"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    )
