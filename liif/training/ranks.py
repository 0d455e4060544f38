"""Which process of a training this is, by what `torchrun` says in the environment."""

from __future__ import annotations

import os


class Elsewhere(Exception):
    """Another process of the training has ended it, and says why."""


def is_rank() -> bool:
    """Whether `torchrun`, or `liif train --processes`, started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def rank() -> int:
    """The number of this process among those of its training, from 0."""
    return int(os.environ["RANK"]) if is_rank() else 0


def size() -> int:
    """How many processes the training has, on all machines."""
    return int(os.environ["WORLD_SIZE"]) if is_rank() else 1


def size_here() -> int:
    """How many of them are on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if is_rank() else 1
