"""One optimizer step, and the validation after an epoch."""

from __future__ import annotations

from typing import Literal

import torch

from liif.config import Recipe
from liif.data.pack import Pack
from liif.data.patches import Batch, validation_batches
from liif.images.metrics import psnr_of_error
from liif.network.model import LIIF, Encoded
from liif.training.group import ALONE, Group
from liif.training.replica import Replica


def train_step(
    model: LIIF | Replica,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    kind: Literal["l1", "l2"] = "l1",
    precision: Literal["float32", "bf16"] = "float32",
) -> float:
    """One step of the L1 (or L2) loss on normalised RGB; returns the loss before it.

    With bf16 the products of both passes are taken in bfloat16, while weights, sums and loss
    stay in float32.

    On a CPU the patches are decoded one after the other, each with its own backward pass down
    to the encoder's features: their tensors stay small enough to be reused from the heap instead of
    being given back to the kernel, which otherwise takes half of the time.

    Of a replica the batch is this process's part, and so is the loss: their sum is the step's.
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
        with replica.unsummed(last=part.stop >= len(batch.lr)):
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


@torch.inference_mode()
def validate(
    model: LIIF, validation: Pack, recipe: Recipe, device: torch.device, group: Group = ALONE
) -> float:
    """Mean PSNR in dB over the fixed validation patches, which the processes share out."""
    values = torch.zeros(recipe.train.validation_patches, dtype=torch.float64)
    share = (group.rank, group.size)
    for numbers, batch in validation_batches(validation, recipe.train, share):
        lr, queries, cells, truth = batch.to(device)
        encoded = model.encode(lr)
        for i, number in enumerate(numbers):
            one = slice(i, i + 1)
            part = Encoded(encoded.features[one], encoded.lr[one])
            rgb = model.decode(part, queries[one], cells[one]).clamp(0, 1)
            values[number] = psnr_of_error(float(((rgb - truth[one]) ** 2).double().mean()))
    return sum(map(float, group.total(values))) / len(values)
