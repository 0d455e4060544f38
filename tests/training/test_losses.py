from dataclasses import dataclass

import pytest
import torch

from liif.training import losses
from liif.training.group import Group
from liif.training.losses import Losses

CPU = torch.device("cpu")


@dataclass(frozen=True)
class TwoRanks(Group):
    """This rank and another with the same losses, which has noticed only the first of two."""

    def sum(self, *values: float) -> list[float]:
        return [2 * value for value in values[:-2]] + [values[-2] + 1, values[-1]]


@pytest.mark.parametrize("count", [1, 5])
def test_losses_are_summed_in_order_with_what_any_rank_has_noticed(count: int) -> None:
    unread = Losses(TwoRanks(), CPU)
    for step in range(count):
        unread.add(torch.tensor(0.5 + step))
    assert unread.read(False, False) == ([1.0 + 2 * step for step in range(count)], [True, False])
    unread.add(torch.tensor(0.25))  # the others are read
    assert unread.read(False, True) == ([0.5], [True, True])


def test_a_loss_keeps_its_bits() -> None:
    """The history of a training on a CPU is the same to the last digit."""
    loss = torch.rand((), generator=torch.Generator().manual_seed(0))
    unread = Losses(Group(), CPU)
    unread.add(loss)
    assert unread.read() == ([float(loss)], [])


def test_losses_are_due_by_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "UNREAD", 3)
    for name, expected in (("cpu", 1), ("cuda:1", 3)):
        unread, due = Losses(Group(), torch.device(name)), []
        while not unread.due:
            unread.add(torch.tensor(0.1))
            due.append(unread.due)
        assert due == [False] * (expected - 1) + [True]
