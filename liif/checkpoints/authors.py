"""Checkpoints of other projects, read without executing code from them; here the authors'."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from liif.checkpoints import mmagic, unpickle
from liif.checkpoints.state_dict import ONLY_FULL_LIIF, Contents, contents
from liif.system.errors import UserError, printable

_UNUSED = ("encoder.sub_mean.", "encoder.add_mean.")
"""Mean shifts that the authors' encoders carry but never apply."""


def load_checkpoint(path: Path) -> Contents:
    """Read the authors' `.pth` or any of mmagic's layouts, whatever the file's name."""
    content = unpickle.load(path)
    try:
        if not isinstance(content, Mapping):
            raise TypeError(type(content))
        if isinstance(content.get("model"), Mapping) and "sd" in content["model"]:
            return _authors(path, content)
        state = {str(k): v for k, v in content["state_dict"].items() if torch.is_tensor(v)}
        return mmagic.contents_of(path, state, content.get("meta"))
    except (KeyError, TypeError, AttributeError, IndexError, ValidationError):
        state = content.get("state_dict", content) if isinstance(content, Mapping) else content
        keys = list(map(str, state)) if isinstance(state, Mapping) else [type(state).__name__]
        shown = ", ".join(map(printable, keys[:4])) + (" …" if len(keys) > 4 else "")
        raise UserError(
            f"{path}: is a checkpoint, but not in a layout of LIIF's authors or of mmagic; "
            f"it contains {shown}"
        ) from None


def _authors(path: Path, content: Mapping[str, Any]) -> Contents:
    """{'model': {'name', 'args', 'sd'}, 'optimizer', 'epoch'}."""
    state, args = content["model"]["sd"], _mapping(content["model"].get("args"))
    name = content["model"].get("name", "liif")
    if name != "liif":
        raise UserError(
            f"{path}: is of the authors' model {printable(name)}; only their `liif` is LIIF"
        )
    if not all(args.get(f, True) for f in ("feat_unfold", "cell_decode", "local_ensemble")):
        raise UserError(f"{path}: {ONLY_FULL_LIIF}")
    tensors = {k: v for k, v in _mapping(state).items() if not str(k).startswith(_UNUSED)}
    encoder = _mapping(args.get("encoder_spec"))
    # The defaults of their code for EDSR of full size, and for all others.
    default = 0.1 if encoder.get("name") == "edsr" else 1
    scale = _mapping(encoder.get("args")).get("res_scale", default)
    epoch = _whole_number(content.get("epoch"))
    provenance = {"format": "authors"} | ({} if epoch is None else {"epoch": epoch})
    return contents(path, tensors, provenance, scale)


def _mapping(value: object) -> Mapping[str, Any]:
    """A dictionary of a checkpoint; None counts as an empty one."""
    if not isinstance(value, Mapping | None):
        raise TypeError(type(value))
    return value or {}


def _whole_number(value: object) -> int | None:
    """A whole number, also from a tensor with one element; None for anything else."""
    if isinstance(value, Tensor) and value.numel() == 1 and value.device.type == "cpu":
        value = value.item()
    if isinstance(value, float) and isfinite(value) and value == int(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
