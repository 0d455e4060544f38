"""Devices, threads and memory of computations."""

from __future__ import annotations

import ctypes
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch

from liif.system import memory
from liif.system.errors import UserError

_KINDS = ("cpu", "cuda", "mps", "xpu")
"""Devices that networks run on."""
_held: list[ExitStack] = []
"""Locks of GPUs that this process has taken; the kernel releases them when it ends."""


def choose(name: str = "auto", *, share: bool = True) -> torch.device:
    """The device of that name; `auto` takes a free GPU where there is one, else the CPU.

    A GPU is free when no other liif job on this machine has taken it. If all are taken, the one
    with the most free memory is shared, unless `share` is false. CUDA_VISIBLE_DEVICES restricts
    the choice. The process is set up for the GPU; only for processes of liif's commands.
    """
    device = named(name) if name != "auto" else _free_gpu(share) or torch.device("cpu")
    if device.type == "cuda":
        if device.index is not None:
            torch.cuda.set_device(device)  # pinned memory is the current GPU's
        use_exact_float32()
    return device


def use_exact_float32() -> None:
    """Compute float32 products on a GPU in float32; PyTorch's default for convolutions is TF32.

    TF32 keeps 10 of the 23 bits of each factor's mantissa. The fast precision is bf16.
    """
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.fp32_precision = "ieee"


def time_convolutions(device: torch.device) -> None:
    """Have cuDNN measure its algorithms for each shape; pays off for shapes that recur."""
    torch.backends.cudnn.benchmark = device.type == "cuda"


def _free_gpu(share: bool) -> torch.device | None:
    """A GPU that no other job has taken, or the one to share; None if there is no GPU."""
    if not torch.cuda.is_available():
        return None
    gpus = range(torch.cuda.device_count())
    for index in gpus:
        if _take(index):
            return torch.device("cuda", index)
    if not share:
        raise UserError(
            f"each process of a training needs a GPU of its own, and none of {len(gpus)} is free "
            "any more; use fewer processes, or wait for the other jobs"
        )

    def free(index: int) -> int:
        try:
            return int(torch.cuda.mem_get_info(index)[0])
        except RuntimeError:  # reserved by another process
            return -1

    # Only now, since asking a GPU for its memory takes some of it.
    return torch.device("cuda", max(gpus, key=free))


def named(name: str | torch.device) -> torch.device:
    """The device of that name, if networks run on it here."""
    try:
        device = torch.device(name)
        if device.type not in _KINDS:  # PyTorch has others, on which nothing is computed
            raise NotImplementedError
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        raise UserError(f"device `{name}` is not available here; try auto, cpu or cuda") from None
    return device


def free_memory(device: torch.device) -> int:
    """Bytes of memory that are free on a device for this process."""
    if device.type == "cuda":
        # What PyTorch keeps of freed tensors is free for the next ones.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return memory.available()


def _take(index: int) -> bool:
    """Whether the GPU's lock could be taken."""
    from liif.system import locks

    uuid = torch.cuda.get_device_properties(index).uuid
    user = os.getuid() if hasattr(os, "getuid") else ""
    held = locks.attempt(Path(tempfile.gettempdir()) / f"liif-gpu-{uuid}-{user}.lock")
    if held is not None:
        _held.append(held)
    return held is not None


def use_threads(threads: int | None, processes: int = 1) -> None:
    """Compute with that many CPU threads, shared by processes; None keeps PyTorch's choice."""
    if processes > 1:
        threads = max(1, (threads or cores()) // processes)
    if threads is not None:
        torch.set_num_threads(threads)


def cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next tensor; only for processes of liif's commands.

    glibc returns large blocks to the kernel at every free; page faults to get them again took a
    third of a training step on a CPU, and as much of encoding large pictures.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # on other systems
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # of malloc.h
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 64 << 20)
    mallopt(mmap_max, 0)


def loader_workers(device: torch.device) -> int:
    """Data-loader workers: none on a CPU, where they would compete with training.

    One makes 1600 patches of the published recipe per second; more of them hide a slow disk.
    """
    return 0 if device.type == "cpu" else min(8, torch.get_num_threads())
