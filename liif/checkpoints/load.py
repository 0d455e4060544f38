"""Loading networks from checkpoints of any format: liif's own, the authors', mmagic's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liif.checkpoints import authors
from liif.checkpoints.catalog import locate
from liif.checkpoints.format import is_safetensors, load_checkpoint
from liif.checkpoints.state_dict import require_tensors
from liif.network.build import Architecture, build
from liif.network.device import named
from liif.network.model import LIIF
from liif.system import arguments
from liif.system.errors import UserError, printable


def load(path: str | Path = "bundled", *, device: str | torch.device = "cpu") -> LIIF:
    """Load a model that is ready to use.

    Parameters
    ----------
    path
        `bundled` (the released EDSR-baseline weights), a name of `liif weights list`, or a file in
        liif's, the authors' or mmagic's format. No code in the file is executed.
    device
        Where to put the model: `cpu`, `cuda`, `cuda:1`, `mps`, `xpu`.

    Raises
    ------
    UserError
        The file is missing, unreadable or of an unknown layout.
    TypeError, ValueError
        `path` is not a path, or the device is not available.
    """
    if not isinstance(path, str | Path):
        raise TypeError(f"`path` must be a name or a path, not {arguments.shown(path)}")
    try:
        where = named(device)
    except UserError:
        raise ValueError(
            f"`device` (={device}) is not available here; use cpu, cuda, mps or xpu"
        ) from None
    model, _, provenance = read_checkpoint(path)
    if trained_on_degraded(provenance):
        model.back_projection_factor = 8
    return model.to(where).eval()


def read_checkpoint(path: str | Path = "bundled") -> tuple[LIIF, Architecture, dict[str, Any]]:
    """A model with its architecture and provenance, from any format that `load` takes."""
    path = locate(path)
    load_contents = load_checkpoint if is_safetensors(path) else authors.load_checkpoint
    tensors, architecture, provenance = load_contents(path)
    require_tensors(path, tensors)
    _require_match(path, architecture, tensors)
    model = build(architecture)
    model.load_state_dict(tensors)
    return model, architecture, provenance


def trained_on_degraded(provenance: Mapping[str, Any]) -> bool:
    """Whether the model was trained on degraded pictures."""
    try:
        return any(provenance["recipe"]["train"]["degrade"].values())
    except (KeyError, TypeError, AttributeError):  # not trained by this liif, or on clean ones
        return False


def _require_match(path: Path, architecture: Architecture, tensors: Mapping[str, Tensor]) -> None:
    """Refuse keys or shapes that differ from the architecture's, and values that are not finite.

    Checked before memory is allocated for the network, whose sizes are only the file's claim.
    """
    count = architecture.tensor_count
    if count > 10 * len(tensors) + 1000:
        raise UserError(
            f"{path}: does not match its architecture, which has {count} tensors; it contains "
            f"{len(tensors)}"
        )
    try:
        with torch.device("meta"):
            expected = build(architecture).state_dict()
    except (RuntimeError, ValueError, TypeError, OverflowError):
        raise UserError(f"{path}: its architecture is too large to build") from None
    wrong = [f"{k} is missing" for k in expected if k not in tensors]
    wrong += [f"{printable(k)} is unknown" for k in tensors if k not in expected]
    wrong += [
        f"{k} is {tuple(tensors[k].shape)} and should be {tuple(expected[k].shape)}"
        for k in expected
        if k in tensors and tensors[k].shape != expected[k].shape
    ]
    if wrong:
        many = f"{len(wrong)} tensor{'s do' if len(wrong) > 1 else ' does'}"
        raise UserError(f"{path}: {many} not match its architecture: {'; '.join(wrong)}")
    broken = [k for k, t in tensors.items() if not bool(torch.isfinite(t.to(torch.float32)).all())]
    if broken:
        raise UserError(f"{path}: has values that are not finite, in {', '.join(broken[:4])}")
