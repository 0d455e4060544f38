"""Losses of training steps: kept on their device, and read together.

Reading a loss makes the host wait for all work that is queued on a GPU, which then idles until the
next step is queued.
"""

from __future__ import annotations

import torch
from torch import Tensor

from liif.training.group import Group

EXPLODED = 1000.0
"""Loss above which a training has failed: RGB lies in −1..1, so a useful loss is below 1."""
UNREAD = 16
"""Number of steps whose losses are read together on a GPU."""


def read_at_once(device: torch.device) -> int:
    """Number of steps whose losses are read together."""
    return 1 if device.type == "cpu" else UNREAD


class Losses:
    """This rank's shares of the losses that were not read yet."""

    def __init__(self, group: Group, device: torch.device) -> None:
        self._group, self._at_once = group, read_at_once(device)
        self._shares: list[Tensor] = []

    def add(self, share: Tensor) -> None:
        """Keep this rank's share of a step's loss."""
        self._shares.append(share)

    @property
    def due(self) -> bool:
        """Whether enough steps were taken to read their losses."""
        return len(self._shares) >= self._at_once

    def read(self, *noticed: bool) -> tuple[list[float], list[bool]]:
        """The losses of the last steps, in order, and whether any rank has noticed something.

        All ranks act on what one has noticed, or they would wait for each other.
        """
        shares = torch.stack(self._shares).tolist()
        self._shares.clear()
        sums = self._group.sum(*shares, *noticed)
        return sums[: len(shares)], [count > 0 for count in sums[len(shares) :]]
