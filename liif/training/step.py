"""One optimizer step."""

from __future__ import annotations

from typing import Literal

import torch

from liif.data.patches import Batch
from liif.network.model import LIIF, Encoded
from liif.training.replica import Replica


def train_step(
    model: LIIF | Replica,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    kind: Literal["l1", "l2"] = "l1",
    precision: Literal["float32", "bf16"] = "float32",
) -> float:
    """Take one step on the L1 (or L2) loss of normalised RGB; returns the loss before it.

    With bf16, the products of both passes are in bfloat16; weights, sums and loss stay in float32.

    On a CPU the patches are decoded one after the other, each with its own backward pass down to
    the encoder's features: their tensors are small enough to be reused from the heap. Returning
    them to the kernel would take half of the time.

    For a replica, batch and loss are this rank's share: the step's loss is the sum over all ranks.
    """
    replica = model if isinstance(model, Replica) else Replica(model)
    optimizer.zero_grad(set_to_none=True)
    low = torch.autocast(batch.lr.device.type, torch.bfloat16, enabled=precision == "bf16")
    with low:
        encoded = replica.encode(batch.lr)
    std, values = replica.model.std, replica.values(batch.rgb)
    patches = 1 if batch.lr.device.type == "cpu" else len(batch.lr)
    total = torch.zeros((), device=batch.lr.device)
    gradients = []
    for i in range(0, len(batch.lr), patches):
        part = slice(i, i + patches)
        features = encoded.features[part].detach().requires_grad_()
        with replica.accumulate(last=part.stop >= len(batch.lr)):
            with low:
                rgb = replica.decode(
                    Encoded(features, encoded.lr[part]), batch.queries[part], batch.cells[part]
                )
            error = (rgb - batch.rgb[part]) / std
            loss = (error.abs() if kind == "l1" else error**2).sum() / values
            replica.backward(loss)
        assert features.grad is not None
        gradients.append(features.grad)
        total += loss.detach()
    encoded.features.backward(torch.cat(gradients))
    optimizer.step()
    return float(total)
