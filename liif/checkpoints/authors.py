"""Checkpoints of others: the authors' and mmagic's, read without running code from them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from liif.checkpoints import mmagic
from liif.checkpoints import unpickle as unpickling
from liif.checkpoints.state_dict import Foreign, architecture_of, folded, require_tensors
from liif.system.errors import UserError, printable

_UNUSED = ("encoder.sub_mean.", "encoder.add_mean.")
"""Mean shifts that the authors' encoders carry but never apply."""


def read(path: Path) -> Foreign:
    """Read the authors' `.pth`, or any of mmagic's layouts, whatever the file's name.

    Raises
    ------
    UserError
        The file is damaged, names code that no checkpoint needs, has another layout, or is of a
        network that is none of LIIF's.
    """
    content = unpickling.load(path)
    try:
        if not isinstance(content, Mapping):
            raise TypeError(type(content))
        if isinstance(content.get("model"), Mapping) and "sd" in content["model"]:
            return _authors(path, content)
        state = {str(k): v for k, v in content["state_dict"].items() if torch.is_tensor(v)}
        return mmagic.read(path, state, content.get("meta"))
    except (KeyError, TypeError, AttributeError, IndexError, ValidationError):
        keys = list(content) if isinstance(content, Mapping) else [type(content).__name__]
        state = content.get("state_dict", content) if isinstance(content, Mapping) else {}
        if isinstance(state, Mapping):
            keys = [str(key) for key in state] or keys
        shown = ", ".join(map(printable, keys[:4])) + (" …" if len(keys) > 4 else "")
        raise UserError(
            f"{path}: is a checkpoint, but not in the layout of LIIF's authors or of mmagic; "
            f"it holds {shown}"
        ) from None


def _mapping(value: object) -> Mapping[str, Any]:
    """A dictionary of a checkpoint; nothing counts as an empty one, anything else as damage."""
    if not isinstance(value, Mapping | None):
        raise TypeError(type(value))
    return value or {}


def _authors(path: Path, content: Mapping[str, Any]) -> Foreign:
    """{'model': {'name', 'args', 'sd'}, 'optimizer', 'epoch'}."""
    state, args = content["model"]["sd"], _mapping(content["model"].get("args"))
    name = content["model"].get("name", "liif")
    if name != "liif":
        raise UserError(
            f"{path}: is of the authors' model {printable(name)}; only their `liif` is LIIF"
        )
    tensors = {k: v for k, v in _mapping(state).items() if not k.startswith(_UNUSED)}
    require_tensors(path, tensors)
    flags = ("feat_unfold", "cell_decode", "local_ensemble")
    if not all(bool(args.get(flag, True)) for flag in flags):
        raise UserError(
            f"{path}: was trained without unfolding, cell decoding or local ensemble; "
            "only full LIIF is supported"
        )
    provenance: dict[str, Any] = {"format": "authors"}
    if (epoch := _whole(content.get("epoch"))) is not None:
        provenance["epoch"] = epoch
    architecture = architecture_of(tensors)
    encoder = _mapping(args.get("encoder_spec"))
    # What their code takes for EDSR of full size, and for the baseline, when nothing is said.
    usual = 0.1 if encoder.get("name") == "edsr" else 1
    scale = _mapping(encoder.get("args")).get("res_scale", usual)
    return folded(path, Foreign(tensors, architecture, provenance), scale)


def _whole(value: object) -> int | None:
    """A whole number, also of a tensor of one; None of anything else."""
    if isinstance(value, Tensor) and value.numel() == 1 and value.device.type == "cpu":
        value = value.item()
    if isinstance(value, float) and isfinite(value) and value == int(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
