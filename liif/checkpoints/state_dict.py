"""What a checkpoint of others holds, checked: plain tensors, and the network they are of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from liif.config import Architecture, EDSREncoder, RDNEncoder
from liif.system.errors import UserError, printable

Tensors = dict[str, Tensor]
"""By the names that the authors published, which are ours too."""


class Foreign(NamedTuple):
    """A checkpoint of others, as it is here."""

    tensors: Tensors
    architecture: Architecture
    provenance: dict[str, Any]
    """`format`, and what the file says of its training."""


def require_tensors(path: Path, tensors: Mapping[Any, Any]) -> None:
    """Refuse what are no plain tensors of real numbers, each with all its values in the file.

    Raises
    ------
    UserError
        The first of them is named.
    """
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


def architecture_of(tensors: Mapping[str, Tensor]) -> Architecture:
    """The architecture that published key names and shapes tell."""

    def count(prefix: str) -> int:
        """How many different numbers follow the prefix."""
        return len({k[len(prefix) :].split(".")[0] for k in tensors if k.startswith(prefix)})

    hidden = tuple(
        tensors[f"imnet.layers.{2 * i}.weight"].shape[0] for i in range(count("imnet.layers.") - 1)
    )
    encoder: EDSREncoder | RDNEncoder
    if "encoder.SFENet1.weight" in tensors:
        layers = count("encoder.RDBs.0.convs.")
        encoder = RDNEncoder(
            blocks=count("encoder.RDBs."),
            layers=layers,
            growth=tensors["encoder.RDBs.0.convs.0.conv.0.weight"].shape[0],
            channels=tensors["encoder.SFENet1.weight"].shape[0],
        )
    else:
        encoder = EDSREncoder(
            blocks=count("encoder.body.") - 1, channels=tensors["encoder.head.0.weight"].shape[0]
        )
    return Architecture(encoder=encoder, hidden=hidden)


def folded(path: Path, read: Foreign, scale: object) -> Foreign:
    """Residual blocks that are added scaled, as the same network without scaling.

    The factor goes into the second convolution of each block, the last thing before the sum. It
    is kept in the provenance.
    """
    if not isinstance(read.architecture.encoder, EDSREncoder) or scale == 1:
        return read
    if not isinstance(scale, int | float) or not isfinite(scale) or isinstance(scale, bool):
        raise UserError(f"{path}: its residual scaling (res_scale={scale}) is no number")
    second = re.compile(r"encoder\.body\.\d+\.body\.2\.(weight|bias)")
    tensors = {
        k: (v.to(torch.float64) * scale).to(torch.float32) if second.fullmatch(k) else v
        for k, v in read.tensors.items()
    }
    return Foreign(tensors, read.architecture, {**read.provenance, "res_scale": scale})


def count_of(architecture: Architecture) -> int:
    """How many tensors a network has, without building it."""
    e = architecture.encoder
    layers = 4 + e.blocks * (e.layers + 1) if isinstance(e, RDNEncoder) else 2 + 2 * e.blocks
    return 2 * (layers + len(architecture.hidden) + 1)
