"""The model as one rank trains it: a backward pass sums gradients over all ranks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from liif.network.model import LIIF, Encoded
from liif.training.group import ALONE, Group


class _Part(nn.Module):
    """A part of the model with its call, in the form that `DistributedDataParallel` wraps."""

    def __init__(self, part: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.part = part
        self.forward = call


class Replica:
    """A model of which every rank has a copy, trained on a batch that the ranks share.

    Encoder and decoder are reduced apart: the encoder's gradients travel while the others are
    computed, and the decoder may take one patch after the other before its own are summed.

    Parameters
    ----------
    batch
        Patches in a step, of all ranks; by default those that this rank has.
    """

    def __init__(self, model: LIIF, group: Group = ALONE, batch: int | None = None) -> None:
        self.model, self.group, self._batch = model, group, batch
        self._encode: Callable[..., Any] = model.encode
        self._decode: Callable[..., Any] = model.decode
        self._no_sync: Callable[[], AbstractContextManager[None]] = nullcontext
        if group.size > 1:
            ids = [group.device] if group.device.type == "cuda" else None
            encoder, decoder = (
                DistributedDataParallel(part, ids, process_group=group.gradients)
                for part in (_Part(model.encoder, model.encode), _Part(model.imnet, model.decode))
            )
            self._encode, self._decode, self._no_sync = encoder, decoder, decoder.no_sync

    def encode(self, lr: Tensor) -> Encoded:
        """See `LIIF.encode`; once in a step."""
        return Encoded(*self._encode(lr))

    def decode(self, encoded: Encoded, queries: Tensor, cells: Tensor) -> Tensor:
        """See `LIIF.decode`."""
        rgb: Tensor = self._decode(encoded, queries, cells)
        return rgb

    def accumulate(self, last: bool) -> AbstractContextManager[None]:
        """Around decoding and its backward pass: gradients stay on this rank until the last."""
        return nullcontext() if last else self._no_sync()

    def values(self, rgb: Tensor) -> int:
        """Number of values that a step's loss is the mean of, over all ranks."""
        return rgb.numel() if self._batch is None else rgb[0].numel() * self._batch

    def backward(self, loss: Tensor) -> None:
        """The backward pass of this rank's part of the loss."""
        # DistributedDataParallel averages over the ranks, and the sum is wanted.
        (loss * self.group.size if self.group.size > 1 else loss).backward()
