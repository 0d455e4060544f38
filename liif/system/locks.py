"""Locks that the kernel releases when their holder ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from liif.system.errors import UserError
from liif.system.processes import WORKFLOW, is_dead, start_time, stop
from liif.system.progress import log
from liif.system.signals import postponed

_PATIENCE = 120.0
"""Seconds that an orphaned job gets for its last step and for saving."""
_held: list[ExitStack] = []
"""Locks that are held until the process ends."""


@dataclass(frozen=True)
class _Holder:
    """The process that holds a lock, as it wrote itself into the lock file."""

    pid: int
    host: str = ""
    started: float = 0
    workflow: str = ""

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine, and its number has not passed to another process."""
        return self.host == socket.gethostname() and abs(start_time(self.pid) - self.started) < 2

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        elsewhere = self.host not in ("", socket.gethostname())
        return f"process {self.pid}" + (f" on {self.host}" if elsewhere else "")


def attempt(path: Path, *, create: bool = True, wait: float = 0) -> ExitStack | None:
    """Hold the lock file until the result is closed; None when another process holds it.

    `wait` is how many seconds that process gets to release it. Without `create`, None too when
    there is no such file. Forks of this process, such as data-loader workers, do not hold it.
    """
    from filelock import FileLock, Timeout  # sets up its handling of forks

    if not create and not path.exists():
        return None
    file = FileLock(path, timeout=wait, thread_local=False, fallback_to_soft=False)
    try:
        file.acquire()
    except Timeout:
        return None
    held = ExitStack()
    held.callback(file.release)
    return held


@contextmanager
def claim(path: Path, *, wait: float = 0) -> Iterator[bool]:
    """Whether the lock file could be taken; it is held within the block, then removed."""
    held = None
    try:
        with postponed():
            held = attempt(path, wait=wait)
        yield held is not None
    finally:
        if held is not None:
            release(held, path)


@contextmanager
def lock(path: Path, purpose: str) -> Iterator[None]:
    """Hold the lock file within a block, then remove it; a `UserError` names another holder."""
    held = _take(path, purpose)
    try:
        yield
    finally:
        release(held, path)


def hold(path: Path, purpose: str) -> None:
    """Hold the lock file until the process ends; refused as `lock` is."""
    _held.append(_take(path, purpose))


def lock_path(path: Path) -> Path:
    """The lock file for a job that writes `path`; refused where that names no file or folder."""
    if not path.name:
        raise UserError(f"`{path}`: is no file name; choose another")
    return path.with_name(f".{path.name}.lock")


def is_held(path: Path) -> bool:
    """Whether another process holds the lock file."""
    held = attempt(path, create=False)
    if held is not None:
        held.close()
    return held is None and path.exists()


def release(held: ExitStack, path: Path) -> None:
    """Remove a lock file that `attempt` holds, and let go of it."""
    with suppress(OSError):
        path.unlink()  # while it is held; on Windows filelock removes it afterwards
    held.close()


def _take(path: Path, purpose: str) -> ExitStack:
    while (held := attempt(path)) is None:
        holder = _read(path)
        if holder is None:
            continue  # its holder has just removed it
        held = _take_over(path, holder, purpose)
        if held is None:
            raise UserError(
                f"{path.parent}: {purpose} is running already ({holder}); "
                "wait for it or stop it first"
            )
        break
    this = _Holder(
        os.getpid(), socket.gethostname(), start_time(os.getpid()), os.environ.get(WORKFLOW, "")
    )
    with suppress(OSError):  # a lock on a full disk is one nevertheless
        path.write_text(json.dumps(asdict(this)), encoding="utf-8")
    return held


def _read(path: Path) -> _Holder | None:
    """The holder of a lock; None when the file is gone."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError:
        text = ""
    try:
        return _Holder(**json.loads(text))
    except (ValueError, TypeError):  # just taken, or by liif 0.1.0, which wrote `PID WORKFLOW`
        pid = text.partition(" ")[0]
        return _Holder(int(pid) if pid.isdecimal() else 0)


def _take_over(path: Path, holder: _Holder, purpose: str) -> ExitStack | None:
    """Ask an orphaned job to save and stop: its workflow was killed, so nobody waits for it."""
    if not (holder.is_here and is_dead(holder.workflow)):
        return None
    log(f"{purpose} still runs ({holder}), but its workflow was killed: asking it to stop")
    stop(holder.pid)
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if (held := attempt(path)) is not None:
            return held
        time.sleep(0.1)
    return None
