"""Running out of memory, told as what can be lowered."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from liif.system.errors import UserError

_SAID = re.compile(
    "out of memory|can't allocate memory|not enough memory|bad_alloc|_ALLOC_FAILED|shared memory"
    "|DataLoader worker .* killed by signal: Killed",
    re.IGNORECASE,
)
"""What PyTorch's errors say of it, of a GPU and of the CPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it is for want of memory that this was raised."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(_SAID.search(str(error)))
    )


@contextmanager
def explain(task: str, remedy: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """Make running out of memory within the block one line of that kind."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise kind(f"{task}: there is not enough memory; {remedy}") from None


def available() -> int:
    """Bytes of main memory that are free for use."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 << 30  # of a machine that does not say
