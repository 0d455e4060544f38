"""Processes that belong together: a workflow and its jobs, the ranks of a training."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

WORKFLOW = "LIIF_WORKFLOW"
"""Environment variable in which the workflow says to its jobs which one it is."""


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


def is_dead(workflow: str) -> bool:
    """Whether a workflow is known to have ended; of one on another machine nothing is known."""
    process, _, host = workflow.partition("@")
    return host == socket.gethostname() and process.isdecimal() and not _alive(int(process))


def elsewhere(workflow: str) -> str:
    """Where a workflow runs, if that is another machine: ` on node7`."""
    host = workflow.partition("@")[2]
    return f" on {host}" if host not in ("", socket.gethostname()) else ""


def jobs_of(workflow: int) -> list[int]:
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


def pass_on_sigterm() -> None:
    """From now on SIGTERM to this workflow asks its jobs to save and stop, too.

    Snakemake itself answers SIGTERM by waiting for the running jobs, which may take a week. Its
    handler is left as it is: what tells of the signal is the descriptor that Python writes every
    signal's number to. In a thread of some other program nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def watch() -> None:
        while numbers := os.read(read, 64):
            if signal.SIGTERM in numbers:
                ask_to_stop(jobs_of(os.getpid()))

    threading.Thread(target=watch, daemon=True).start()


def ask_to_stop(processes: list[int]) -> None:
    """SIGTERM to those processes that there still are."""
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGTERM)


class PeerFailed(Exception):
    """Another rank has ended the training and reported why."""


def is_rank() -> bool:
    """Whether `torchrun` or `liif train --processes` started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def rank() -> int:
    """Rank of this process in its training, from 0."""
    return int(os.environ["RANK"]) if is_rank() else 0


def world_size() -> int:
    """Number of processes of the training on all machines."""
    return int(os.environ["WORLD_SIZE"]) if is_rank() else 1


def local_world_size() -> int:
    """Number of them on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if is_rank() else 1
