"""One writer: a lock that the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from weakref import WeakSet

from liif.system.errors import UserError
from liif.system.processes import WORKFLOW, ask_to_stop, elsewhere, is_dead, jobs_of
from liif.system.progress import log

_PATIENCE = 120.0
"""Seconds that an orphaned job gets for its last step and for saving."""
_held: list[IO[str]] = []
"""Locks that are held until the process ends."""
_open: WeakSet[IO[str]] = WeakSet()
"""Lock files of this process. A fork of it, as a loader's worker is, may outlive it by seconds."""


def for_this_process(file: IO[str]) -> IO[str]:
    """Keep a lock from being held by forks of this process, too."""
    _open.add(file)
    return file


def _close_in_fork() -> None:
    for file in list(_open):
        with suppress(OSError, ValueError):
            file.close()  # not its number alone, which may be another file's by the time it goes


os.register_at_fork(after_in_child=_close_in_fork)


@contextmanager
def lock(path: Path, purpose: str) -> Iterator[None]:
    """Hold the lock file within a block; it is removed afterwards.

    Raises
    ------
    UserError
        Another process holds it: at once, with that process's number.
    """
    with _taken(path, purpose):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def lock_path(path: Path) -> Path:
    """The lock file for a job that writes `path`; refused where that names no file or folder."""
    if not path.name:
        raise UserError(f"`{path}`: has no name of its own; give another place")
    return path.with_name(f".{path.name}.lock")


def hold(path: Path, purpose: str) -> None:
    """Hold the lock file until the process ends; refused as `lock` is."""
    _held.append(_taken(path, purpose))


def is_held(path: Path) -> bool:
    """Whether another process holds the lock file."""
    file = attempt(path, create=False)
    if file is not None:
        file.close()
    return file is None and path.exists()


def attempt(path: Path, *, create: bool = True) -> IO[str] | None:
    """The lock file, held until it is closed; None when another process holds it.

    Without `create`, None too when there is none.
    """
    while True:
        try:
            file = for_this_process(path.open("a+" if create else "r+"))
        except FileNotFoundError:
            if create:
                raise
            return None
        if not _try(file):
            file.close()
            return None
        if _is_current(file, path):
            return file
        file.close()


def _taken(path: Path, purpose: str) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = for_this_process(path.open("a+"))
        if not _try(file) and not _take_over(file, purpose):
            holder, workflow = _owner(file)
            file.close()
            raise UserError(
                f"{path.parent}: {purpose} is running already (process {holder}"
                f"{elsewhere(workflow)}); wait for it or stop it first"
            )
        if _is_current(file, path):
            break
        file.close()  # its last holder has removed it meanwhile
    file.truncate(0)
    file.write(f"{os.getpid()} {os.environ.get(WORKFLOW, '')}")
    file.flush()
    return file


def _is_current(file: IO[str], path: Path) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _try(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(file: IO[str]) -> tuple[int, str]:
    """The holder's process number, and the workflow that started it."""
    file.seek(0)
    holder, _, workflow = file.read().strip().partition(" ")
    return int(holder) if holder.isdecimal() else 0, workflow


def _take_over(file: IO[str], purpose: str) -> bool:
    """Ask a job to save and stop whose workflow was killed; it would run on for nobody."""
    holder, workflow = _owner(file)
    if not holder or not is_dead(workflow):
        return False
    log(f"{purpose} still runs (process {holder}), but its workflow was killed: asking it to stop")
    ask_to_stop([holder, *jobs_of(holder)])
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if _try(file):
            return True
        time.sleep(0.1)
    return False
