"""How much memory is free, and errors that name what to lower when it runs out."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import psutil

from liif.system.errors import UserError

_OUT_OF_MEMORY = re.compile(
    "out of memory|can't allocate memory|not enough memory|bad_alloc|_ALLOC_FAILED|shared memory"
    "|DataLoader worker .* killed by signal: Killed",
    re.IGNORECASE,
)
"""Parts of PyTorch's messages about lack of memory, on GPUs and on the CPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a lack of memory caused this error."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))
    )


@contextmanager
def explain(task: str, remedy: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """Turn a lack of memory within the block into an error of one line."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise kind(f"{task}: not enough memory; {remedy}") from None


def available(root: Path = Path("/")) -> int:
    """Bytes of main memory that this process may still take.

    The least of what the machine, the cgroups (containers, Slurm jobs) and the resource limits of
    the process leave. `root` is where the cgroups' files are.
    """
    free = psutil.virtual_memory().available
    return min([free, *_left_in_cgroups(root), *_left_by_limits()])


def used() -> int:
    """Bytes of main memory that this process takes."""
    return int(psutil.Process().memory_info().rss)


def _left_in_cgroups(root: Path) -> Iterator[int]:
    """Memory that each cgroup of this process leaves, from its own up to the root."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            base, limit, used = "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base = "sys/fs/cgroup/memory"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        for folder in (root / base / level for level in (group, *group.parents)):
            try:
                left = int((folder / limit).read_text()) - int((folder / used).read_text())
            except (OSError, ValueError):  # not visible in this container, or unlimited ("max")
                continue
            yield max(0, left + _file_cache(folder))


def _file_cache(group: Path) -> int:
    """Bytes of a cgroup that cache files, which the kernel takes back when memory runs short."""
    try:
        found = re.search(r"^inactive_file (\d+)$", (group / "memory.stat").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _left_by_limits() -> Iterator[int]:
    """Memory that `ulimit -v` and `ulimit -d` leave."""
    try:
        import resource
    except ImportError:  # Windows
        return
    used = psutil.Process().memory_info()
    for kind, field in ((resource.RLIMIT_AS, "vms"), (resource.RLIMIT_DATA, "data")):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - getattr(used, field, used.rss))  # macOS counts no data
