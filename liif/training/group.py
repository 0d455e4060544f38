"""The ranks of one training: each computes its share of every batch on a device of its own.

Rank 0 alone holds the lock, writes files, keeps records and prints. All ranks have the same weights
at every step, since each step's gradients are summed over all of them.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from liif.system.errors import UserError
from liif.system.processes import PeerFailed, is_rank, local_world_size, rank, world_size
from liif.system.signals import Interrupted

RENDEZVOUS, LAUNCHER = "LIIF_RENDEZVOUS", "LIIF_LAUNCHER"
"""Environment variables of `launch`: the folder where the ranks meet, and the launcher's PID."""
_RANK_TIMEOUT = timedelta(hours=2)
"""How long one rank waits for another, which may be packing photographs."""
_GRADIENT_TIMEOUT = timedelta(minutes=10)
"""How long GPUs wait for each other's gradients: all begin a step together."""
_LOST = re.compile(
    r"Connection (closed|reset) |Broken pipe|gloo/transport|remote process exited|was aborted"
    "|Timed out waiting",
    re.IGNORECASE,
)
"""PyTorch's errors about a rank that no longer answers."""
_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h
_CPU = torch.device("cpu")

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The ranks of a training; by default this process alone.

    Objects and sums go through the CPU (gloo), which notices at once when a process ends; only
    gradients go from GPU to GPU (NCCL).
    """

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU
    """Device of this rank."""
    gradients: distributed.ProcessGroup | None = None
    """Process group that sums gradients; None for the default group."""

    @property
    def is_rank0(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def sum(self, *values: float) -> list[float]:
        """Sum each value over all ranks."""
        return self.all_reduce(torch.tensor(values, dtype=torch.float64)).tolist()

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum a CPU tensor over all ranks, in place."""
        if self.size > 1:
            with self.detect_lost_ranks():
                distributed.all_reduce(values)
        return values

    def on_rank0(self, work: Callable[[], T]) -> T:
        """Run on rank 0 and return its result on every rank; `PeerFailed` elsewhere if it fails."""
        outcome: list[Any] = ["failed", None]
        try:
            if self.is_rank0:
                outcome = ["done", work()]
        except BaseException:
            with suppress(PeerFailed):  # or the reason would be lost
                self._broadcast(outcome)
            raise
        self._broadcast(outcome)
        if outcome[0] == "failed":
            raise PeerFailed
        result: T = outcome[1]
        return result

    def require_equal(self, value: object, what: str) -> None:
        """Refuse a value that differs from rank 0's."""
        if value != self.on_rank0(lambda: value):
            raise UserError(f"{what} differ from those of the first process")

    @torch.no_grad()
    def broadcast(self, tensors: dict[str, Tensor]) -> None:
        """Copy rank 0's tensors to all other ranks, in place."""
        if self.size > 1:
            with self.detect_lost_ranks():
                for name in sorted(tensors):
                    on_cpu = tensors[name].cpu().contiguous()
                    distributed.broadcast(on_cpu, src=0)
                    tensors[name].copy_(on_cpu)

    @contextmanager
    def detect_lost_ranks(self) -> Iterator[None]:
        """Turn errors about a rank that has ended into `PeerFailed`."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _LOST.search(str(error)):
                raise
            raise PeerFailed(str(error).splitlines()[0][:200]) from None

    def on(self, device: torch.device) -> Group:
        """The same ranks, each computing on its device; all of one kind."""
        if self.size == 1:
            return replace(self, device=device)
        self.require_equal(device.type, "the kind of device")
        self.sum(1)  # or the others would wait long for a rank that found no device
        gradients = None
        if device.type == "cuda":
            torch.cuda.set_device(device)
            gradients = distributed.new_group(backend="nccl", timeout=_GRADIENT_TIMEOUT)
        return replace(self, device=device, gradients=gradients)

    def _broadcast(self, message: list[Any]) -> None:
        if self.size > 1:
            with self.detect_lost_ranks():
                distributed.broadcast_object_list(message, src=0, device=_CPU)


ALONE = Group()


@contextmanager
def joined() -> Iterator[Group]:
    """The group of this process, which meets its other ranks here.

    Ranks of `liif train --processes` meet in a folder, others at the address from `torchrun`.
    """
    if not is_rank():
        yield ALONE
        return
    group = Group(rank(), world_size())
    folder = os.environ.get(RENDEZVOUS)
    store = None
    if folder is not None:
        _stop_with_launcher()
        store = distributed.FileStore(  # type: ignore[attr-defined]
            str(Path(folder) / "ranks"), group.size
        )
    try:
        with group.detect_lost_ranks():
            distributed.init_process_group(
                "gloo", store=store, rank=group.rank, world_size=group.size, timeout=_RANK_TIMEOUT
            )
            yield group
        # Only after success: after a failure other ranks may never take their part in it.
        distributed.destroy_process_group()
    except Interrupted:
        # Stay until rank 0 has delivered its records: a rank that leaves ends the others.
        with suppress(PeerFailed):
            group.on_rank0(lambda: None)
        deadline = time.monotonic() + 0.5  # a killed launcher ends thread by thread
        while folder is not None and not _launcher_is_gone() and time.monotonic() < deadline:
            time.sleep(0.02)
        raise
    finally:
        if folder is not None and _launcher_is_gone():  # otherwise the launcher removes it
            shutil.rmtree(folder, ignore_errors=True)


def _stop_with_launcher() -> None:
    """Have Linux send SIGTERM when the launcher dies, however it dies."""
    with suppress(OSError, AttributeError, TypeError):  # on other systems
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if _launcher_is_gone():
            raise PeerFailed


def _launcher_is_gone() -> bool:
    return os.getppid() != int(os.environ[LAUNCHER])


def require_shares(processes: int, batch: int, device: str) -> None:
    """Refuse more processes than a step has patches or this machine has GPUs."""
    if processes == 1:
        return
    if processes > batch:
        raise UserError(
            f"{processes} processes cannot share the {batch} patches of a step; use fewer"
        )
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"{processes} processes cannot compute on `{device}` alone; use --device auto, and "
            "choose GPUs by CUDA_VISIBLE_DEVICES"
        )
    gpus = torch.cuda.device_count() if device != "cpu" else 0
    if device == "cuda" and not gpus:
        raise UserError("device `cuda` is not available here; try auto or cpu")
    here = local_world_size() if is_rank() else processes
    if 0 < gpus < here:
        raise UserError(
            f"{here} processes need a GPU each, but there are only {gpus} here; use fewer"
        )
