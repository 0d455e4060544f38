"""One writer: a lock that the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from liif.errors import UserError
from liif.progress import say

WORKFLOW = "LIIF_WORKFLOW"
"""Environment variable in which the workflow says to its jobs which one it is."""
_PATIENCE = 120.0
"""Seconds that an orphaned job gets for its last step and for saving."""
_held: list[IO[str]] = []
"""Locks that are held until the process ends."""


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


def beside(path: Path) -> Path:
    """The lock file for a job that writes `path`."""
    return path.with_name(f".{path.name}.lock")


def hold(path: Path, purpose: str) -> None:
    """Hold the lock file until the process ends; refused as `lock` is."""
    _held.append(_taken(path, purpose))


def attempt(path: Path, *, create: bool = True) -> IO[str] | None:
    """The lock file, held until it is closed; None when another process holds it.

    Without `create`, None too when there is none.
    """
    while True:
        try:
            file = path.open("a+" if create else "r+")
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
        file = path.open("a+")
        if not _try(file) and not _take_over(file, purpose):
            holder, _ = _owner(file)
            file.close()
            raise UserError(
                f"{path.parent}: {purpose} is running already (process {holder}); "
                "wait for it or stop it first"
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


def this_workflow() -> str:
    """What a workflow in this process gives its jobs as their `LIIF_WORKFLOW`."""
    return f"{os.getpid()}@{socket.gethostname()}"


def started_by_dvc() -> str:
    """The `dvc` process that started this one, as workflows are named; empty if none did.

    `dvc repro` that is killed leaves its workflow running: the next one must know whose it is.
    """
    if "DVC_STAGE" not in os.environ:
        return ""
    import psutil

    for parent in psutil.Process().parents():
        with suppress(psutil.Error):
            if any(Path(word).name == "dvc" for word in parent.cmdline()[:3]):
                return f"{parent.pid}@{socket.gethostname()}"
    return ""


def _is_dead(workflow: str) -> bool:
    """Whether a workflow is known to have ended; of one on another machine nothing is known."""
    process, _, host = workflow.partition("@")
    return host == socket.gethostname() and process.isdecimal() and not _alive(int(process))


def _take_over(file: IO[str], purpose: str) -> bool:
    """Ask a job to save and stop whose workflow was killed; it would run on for nobody."""
    holder, workflow = _owner(file)
    if not holder or not _is_dead(workflow):
        return False
    say(f"{purpose} still runs (process {holder}), but its workflow was killed: asking it to stop")
    for process in [holder, *_jobs_of(holder)]:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGTERM)
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if _try(file):
            return True
        time.sleep(0.1)
    return False


def _jobs_of(workflow: int) -> list[int]:
    """The jobs below a workflow, which would wait for them; they save and stop when asked."""
    try:
        import psutil
    except ImportError:  # then there is no workflow either
        return []
    with suppress(psutil.Error):
        below = psutil.Process(workflow).children(recursive=True)
        return [p.pid for p in below if any(Path(w).name == "liif" for w in p.cmdline()[:2])]
    return []


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
