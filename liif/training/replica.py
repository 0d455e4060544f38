"""The model as one rank trains it: gradients summed over all ranks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from liif.network.model import LIIF, Encoded
from liif.training.group import ALONE, Group


class _Part(nn.Module):
    """A part of the model and what is called of it, as `DistributedDataParallel` wants it."""

    def __init__(self, part: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.part = part
        self.call = call

    def forward(self, *args: Any) -> Any:
        return self.call(*args)


class Replica:
    """The model as one process of a group trains it: after a backward pass its gradients are the
    sum of all processes'.

    Encoder and decoder are reduced apart, so that the encoder's gradients travel while the rest of
    them are computed, and the decoder may take one patch after the other before its own do.

    Parameters
    ----------
    batch
        Patches in a step, of all processes.
    """

    def __init__(self, model: LIIF, group: Group = ALONE, batch: int | None = None) -> None:
        self.model, self.group, self._batch = model, group, batch
        self._encode: Callable[..., Any] = model.encode
        self._decode: Callable[..., Any] = model.decode
        self._unsummed: Callable[[], AbstractContextManager[None]] = nullcontext
        if group.size > 1:
            ids = [group.device] if group.device.type == "cuda" else None
            encoder, decoder = (
                DistributedDataParallel(part, ids, process_group=group.gradients)
                for part in (_Part(model.encoder, model.encode), _Part(model.imnet, model.decode))
            )
            self._encode, self._decode, self._unsummed = encoder, decoder, decoder.no_sync

    def encode(self, lr: Tensor) -> Encoded:
        """See `LIIF.encode`; once in a step."""
        return Encoded(*self._encode(lr))

    def decode(self, encoded: Encoded, queries: Tensor, cells: Tensor) -> Tensor:
        """See `LIIF.decode`."""
        rgb: Tensor = self._decode(encoded, queries, cells)
        return rgb

    def unsummed(self, last: bool) -> AbstractContextManager[None]:
        """Around decoding and its backward pass: gradients only add up here until the last."""
        return nullcontext() if last else self._unsummed()

    def values(self, rgb: Tensor) -> int:
        """How many values a step's loss is the mean of, in all processes."""
        return rgb.numel() if self._batch is None else rgb[0].numel() * self._batch

    def backward(self, loss: Tensor) -> None:
        """The backward pass of this process's part of the loss."""
        # What all processes have is averaged, and it is the sum that is wanted.
        (loss * self.group.size if self.group.size > 1 else loss).backward()
