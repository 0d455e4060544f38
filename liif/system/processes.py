"""Processes that belong together: a workflow and its jobs, the ranks of a training."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import psutil

WORKFLOW = "LIIF_WORKFLOW"
"""Environment variable by which a workflow passes its identity, `PID@HOST`, to its jobs."""


def this_workflow() -> str:
    """The identity of a workflow that runs in this process."""
    return f"{os.getpid()}@{socket.gethostname()}"


def started_by_dvc() -> str:
    """The identity of the `dvc` process that started this one; empty if none did.

    A killed `dvc repro` leaves its workflow running; the next one must know whose it is.
    """
    if "DVC_STAGE" not in os.environ:
        return ""
    for parent in psutil.Process().parents():
        with suppress(psutil.Error):
            if any(Path(word).name == "dvc" for word in parent.cmdline()[:3]):
                return f"{parent.pid}@{socket.gethostname()}"
    return ""


def is_dead(workflow: str) -> bool:
    """Whether a workflow has certainly ended; nothing is known of other machines."""
    pid, _, host = workflow.partition("@")
    return host == socket.gethostname() and pid.isdecimal() and not psutil.pid_exists(int(pid))


def start_time(pid: int) -> float:
    """Start time of a process of this machine, in seconds since the epoch; 0 if it has ended."""
    with suppress(psutil.Error, ValueError, OverflowError):
        return psutil.Process(pid).create_time()
    return 0


def stop(pid: int) -> None:
    """Ask a process to save and stop, and the jobs below it, which it would wait for."""
    jobs = _jobs_below(pid)
    with suppress(psutil.Error):
        jobs.insert(0, psutil.Process(pid))
    _terminate(jobs)


def pass_on_sigterm() -> None:
    """From now on SIGTERM to this workflow asks its jobs to save and stop, too.

    Snakemake itself answers SIGTERM by waiting for the running jobs, which may take a week. Its
    handler stays in place; a descriptor to which Python writes the number of every signal reports
    it. Does nothing outside the main thread, as when another program runs the workflow.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def watch() -> None:
        while numbers := os.read(read, 64):
            if signal.SIGTERM in numbers:
                _terminate(_jobs_below(os.getpid()))

    threading.Thread(target=watch, daemon=True).start()


def _jobs_below(pid: int) -> list[psutil.Process]:
    """The `liif` commands among a process's descendants."""
    jobs: list[psutil.Process] = []
    with suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):  # it has just ended, or its parent has not waited for it
                if any(Path(word).name == "liif" for word in process.cmdline()[:2]):
                    jobs.append(process)
    return jobs


def _terminate(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()


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
