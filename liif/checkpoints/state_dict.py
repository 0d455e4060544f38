"""State dicts of other projects: checked, recognised, residual scaling folded in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from liif.network.build import Architecture, EDSREncoder, recognise
from liif.system.errors import UserError, printable

ONLY_FULL_LIIF = (
    "was trained without unfolding, cell decoding or local ensemble; only full LIIF is supported"
)


class Contents(NamedTuple):
    """A checkpoint's contents, the tensors under their published names, which are also liif's."""

    tensors: dict[str, Tensor]
    architecture: Architecture
    provenance: dict[str, Any]
    """`format`, and what the file says about its training."""


def contents(
    path: Path, tensors: dict[str, Tensor], provenance: dict[str, Any], res_scale: object
) -> Contents:
    """Check and recognise a state dict whose residual blocks are scaled by `res_scale`.

    The scaling goes into the second convolution of each EDSR block, the last step before the sum,
    so that the network is the same without it. It is recorded in the provenance. A KeyError,
    IndexError or ValidationError means that the state dict is not that of a LIIF network.
    """
    require_tensors(path, tensors)
    architecture = recognise(tensors)
    if not isinstance(architecture.encoder, EDSREncoder) or res_scale == 1:
        return Contents(tensors, architecture, provenance)
    if type(res_scale) not in (int, float) or not isfinite(scale := cast(float, res_scale)):
        raise UserError(f"{path}: its residual scaling (res_scale={res_scale}) is not a number")
    second = re.compile(r"encoder\.body\.\d+\.body\.2\.(weight|bias)")
    folded = {
        k: (v.to(torch.float64) * scale).to(torch.float32) if second.fullmatch(k) else v
        for k, v in tensors.items()
    }
    return Contents(folded, architecture, {**provenance, "res_scale": res_scale})


def require_tensors(path: Path, tensors: Mapping[Any, Any]) -> None:
    """Refuse anything but plain real tensors whose values are all in the file."""
    for name, t in tensors.items():
        if not isinstance(name, str) or not isinstance(t, Tensor):
            wrong = f"is {type(t).__name__}"
        elif t.layout != torch.strided or t.is_quantized or t.device.type == "meta":
            wrong = "is sparse, quantised or without values"
        elif not t.is_floating_point():
            wrong = f"is of {str(t.dtype).removeprefix('torch.')}"
        elif t.numel() * t.element_size() > t.untyped_storage().nbytes():
            wrong = "has fewer values than its shape says"
        else:
            continue
        raise UserError(
            f"{path}: {printable(name)} {wrong}; weights must be plain tensors of real numbers"
        )
