"""One optimizer step, on one device or shared by the ranks of a group."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from liif.data.patches import Batch
from liif.network.model import LIIF, Encoded
from liif.training.group import ALONE, Group


class Teaching(NamedTuple):
    """A network whose output is learned, too."""

    model: LIIF
    weight: float
    """Weight of the L1 distance to its output; the distance to the HR pixels has weight 1."""
    same_features: bool = False
    """Whether its encoder is, and remains, that of the model that learns."""


class _Part(nn.Module):
    """A part of the model with its call, in the form that `DistributedDataParallel` wraps."""

    def __init__(self, part: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.part = part
        self.forward = call


class Replica:
    """A model of which every rank has a copy, trained on batches of `batch` patches in all.

    Encoder and decoder are reduced apart: the encoder's gradients travel while the others are
    computed, and the decoder may take one patch after the other before its own are summed.
    """

    def __init__(self, model: LIIF, batch: int, group: Group = ALONE) -> None:
        self.model, self.batch, self.ranks = model, batch, group.size
        self.encode: Callable[[Tensor], Encoded] = model.encode
        self.decode: Callable[[Encoded, Tensor, Tensor], Tensor] = model.decode
        self.no_sync: Callable[[], AbstractContextManager[None]] = nullcontext
        if group.size > 1:
            ids = [group.device] if group.device.type == "cuda" else None
            shared = partial(DistributedDataParallel, device_ids=ids, process_group=group.gradients)
            decoder = shared(_Part(model.imnet, model.decode))
            self.decode, self.no_sync = decoder, decoder.no_sync
            if is_trained(model.encoder):
                self.encode = shared(_Part(model.encoder, model.encode))


def is_trained(part: nn.Module) -> bool:
    """Whether a part of the model is not kept as it is."""
    return any(parameter.requires_grad for parameter in part.parameters())


def train_step(
    model: LIIF | Replica,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    kind: Literal["l1", "l2"] = "l1",
    precision: Literal["float32", "bf16"] = "float32",
    teaching: Teaching | None = None,
) -> Float[Tensor, ""]:
    """Take one step on the L1 (or L2) loss of normalised RGB; returns the loss before it.

    The loss stays on its device: reading it would make the host wait for a GPU.

    With bf16, the products of both passes are in bfloat16; weights, sums and loss stay in float32.

    On a CPU the patches are decoded one after the other, each with its own backward pass down to
    the encoder's features: their tensors are small enough to be reused from the heap. Returning
    them to the kernel would take half of the time.

    A teacher's output at the same queries adds the L1 distance to it, weighted.

    For a replica, batch and loss are this rank's share: the step's loss is the sum over all ranks.
    """
    replica = model if isinstance(model, Replica) else Replica(model, len(batch.lr))
    optimizer.zero_grad(set_to_none=True)
    low = torch.autocast(batch.lr.device.type, torch.bfloat16, enabled=precision == "bf16")
    with low:
        encoded = replica.encode(batch.lr)
    learned = _outputs(teaching, encoded, batch, low) if teaching else None
    encoder_learns = is_trained(replica.model.encoder)
    std, values = replica.model.std, batch.rgb[0].numel() * replica.batch
    patches = 1 if batch.lr.device.type == "cpu" else len(batch.lr)
    total = torch.zeros((), device=batch.lr.device)
    gradients = []
    for i in range(0, len(batch.lr), patches):
        part = slice(i, i + patches)
        features = encoded.features[part].detach().requires_grad_(encoder_learns)
        last = part.stop >= len(batch.lr)
        with nullcontext() if last else replica.no_sync():
            with low:
                rgb = replica.decode(
                    Encoded(features, encoded.lr[part]), batch.queries[part], batch.cells[part]
                )
            error = (rgb - batch.rgb[part]) / std
            loss = (error.abs() if kind == "l1" else error**2).sum() / values
            if teaching and learned is not None:
                distance = (rgb - learned[part]).abs() / std
                loss = loss + teaching.weight * distance.sum() / values
            # DistributedDataParallel averages over the ranks, and the sum is wanted.
            (loss * replica.ranks).backward()
        total += loss.detach()
        if features.grad is not None:
            gradients.append(features.grad)
    if encoder_learns:
        encoded.features.backward(torch.cat(gradients))
    optimizer.step()
    return total


@torch.no_grad()
def _outputs(
    teaching: Teaching, ours: Encoded, batch: Batch, low: AbstractContextManager[None]
) -> Float[Tensor, "b q 3"]:
    """The teacher's RGB at the queries."""
    with low:
        encoded = ours if teaching.same_features else teaching.model.encode(batch.lr)
        patches = zip(*encoded, batch.queries, batch.cells, strict=True)
        if batch.lr.device.type != "cpu":
            return teaching.model.decode(encoded, batch.queries, batch.cells)
        rgb = [
            teaching.model.decode(Encoded(features[None], lr[None]), queries[None], cell[None])
            for features, lr, queries, cell in patches
        ]
    return torch.cat(rgb)
