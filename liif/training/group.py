"""One training by several processes, each with its share of every batch on a device of its own.

The first process, rank 0, leads: it alone holds the lock, writes files, keeps records and talks.
All have the same weights at every step, since each step's gradients are summed over all of them.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
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
"""Environment variables: a folder where processes of one machine meet, and who started them."""
_PATIENCE = timedelta(hours=2)
"""How long one process waits for another, which may be packing photographs."""
_GRADIENTS = timedelta(minutes=10)
"""How long GPUs wait for each other's gradients: all begin a step together."""
_LOST = re.compile(
    r"Connection (closed|reset) |Broken pipe|gloo/transport|remote process exited|was aborted"
    "|Timed out waiting",
    re.IGNORECASE,
)
"""What is said of a process that does not answer any more."""
_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h

_CPU = torch.device("cpu")

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The processes of a training; by default this one alone.

    What they say to each other goes through the CPU (gloo), where a process that has ended is
    noticed at once; only gradients go from GPU to GPU (NCCL).
    """

    rank: int = 0
    """The number of this process."""
    size: int = 1
    """How many there are."""
    device: torch.device = _CPU
    """Where this process computes."""
    gradients: distributed.ProcessGroup | None = None
    """What gradients are summed by; None for what all else goes through."""

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def sums(self, *values: float) -> list[float]:
        """The sum of each value over all processes, the same in each of them."""
        if self.size == 1:
            return list(values)
        return self.total(torch.tensor(values, dtype=torch.float64)).tolist()

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor on the CPU over all processes, in place."""
        if self.size > 1:
            with self.heard():
                distributed.all_reduce(values)
        return values

    def first(self, work: Callable[[], T]) -> T:
        """What the first process gets from its work; all others wait for that.

        Raises
        ------
        PeerFailed
            In the others, when the work fails.
        """
        if self.size == 1:
            return work()
        said: list[Any] = [None, None]
        if not self.leads:
            self._broadcast(said)
            if said[0] != "done":
                raise PeerFailed
            result: T = said[1]
            return result
        try:
            result = work()
        except BaseException:
            with suppress(PeerFailed):  # or the reason would be lost
                self._broadcast(["failed", None])
            raise
        self._broadcast(["done", result])
        return result

    @contextmanager
    def led(self, context: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Within a block that the first process enters, such as one that holds a lock."""
        with ExitStack() as stack:
            self.first(lambda: stack.enter_context(context()))
            yield

    def agreed(self, value: object, what: str) -> None:
        """Refuse a process that has something else than the first one."""
        if value != self.first(lambda: value):
            raise UserError(f"{what} here and in the first process are not the same")

    def known_to_all(self, error: Exception) -> Exception:
        """What to raise for an error that every process has found: the first tells it."""
        return error if self.leads else PeerFailed()

    @torch.no_grad()
    def give(self, tensors: dict[str, Tensor]) -> None:
        """Give the first process's tensors to all others, in place."""
        if self.size > 1:
            with self.heard():
                for name in sorted(tensors):
                    there = tensors[name].cpu().contiguous()
                    distributed.broadcast(there, src=0)
                    tensors[name].copy_(there)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Within the block a process that is gone is `PeerFailed`, which says what happened."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _LOST.search(str(error)):
                raise
            raise PeerFailed(str(error).splitlines()[0][:200]) from None

    def on(self, device: torch.device) -> Group:
        """The same processes, each computing on its device: all of one kind."""
        if self.size == 1:
            return replace(self, device=device)
        self.agreed(device.type, "the kind of device")
        self.sums(1)  # or they would wait long for one that found no device
        gradients = None
        if device.type == "cuda":
            torch.cuda.set_device(device)
            gradients = distributed.new_group(backend="nccl", timeout=_GRADIENTS)
        return replace(self, device=device, gradients=gradients)

    def _broadcast(self, said: list[Any]) -> None:
        with self.heard():
            distributed.broadcast_object_list(said, src=0, device=_CPU)


ALONE = Group()


@contextmanager
def joined() -> Iterator[Group]:
    """The group that this process belongs to, while it does; its processes meet here.

    Those that `liif train --processes` started meet in a folder, others at the address that
    `torchrun` gave them.
    """
    if not is_rank():
        yield ALONE
        return
    group = Group(rank(), world_size())
    folder = os.environ.get(RENDEZVOUS)
    store = None
    if folder is not None:
        _end_with_launcher()
        store = distributed.FileStore(  # type: ignore[attr-defined]
            str(Path(folder) / "ranks"), group.size
        )
    try:
        with group.heard():
            distributed.init_process_group(
                "gloo", store=store, rank=group.rank, world_size=group.size, timeout=_PATIENCE
            )
            yield group
        # Only at a good end: after a failure others may never come to take their part in it.
        distributed.destroy_process_group()
    except Interrupted:
        # All stop, and none leaves before the first has delivered its records: who sees one
        # leave ends the others.
        with suppress(PeerFailed):
            group.first(lambda: None)
        end = time.monotonic() + 0.5
        # The end of a launcher that was killed takes a moment, thread by thread.
        while folder is not None and not _launcher_is_gone() and time.monotonic() < end:
            time.sleep(0.02)
        raise
    finally:
        if folder is not None and _launcher_is_gone():  # which would take it away
            shutil.rmtree(folder, ignore_errors=True)


def _end_with_launcher() -> None:
    """Be asked to stop when the launcher dies, however it dies: nobody waits for us then."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return  # another system than Linux
    if _launcher_is_gone():
        raise PeerFailed


def _launcher_is_gone() -> bool:
    return os.getppid() != int(os.environ[LAUNCHER])


def require_shares(processes: int, batch: int, device: str) -> None:
    """Refuse more processes than there are patches in a step, or GPUs here.

    Raises
    ------
    UserError
        Too many of them, or one device for all.
    """
    if processes == 1:
        return
    if processes > batch:
        raise UserError(
            f"{processes} processes cannot share the {batch} patches of a step; take fewer"
        )
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"{processes} processes cannot compute on `{device}` alone; give --device auto, and "
            "choose GPUs by CUDA_VISIBLE_DEVICES"
        )
    gpus = torch.cuda.device_count() if device != "cpu" else 0
    if device == "cuda" and not gpus:
        raise UserError("device `cuda` is not available here; try auto or cpu")
    here = local_world_size() if is_rank() else processes
    if 0 < gpus < here:
        raise UserError(f"{here} processes need a GPU each, and there are {gpus} here; take fewer")
