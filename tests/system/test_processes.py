import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from liif.system import processes

PARENT = """
import subprocess, sys, time
jobs = [subprocess.Popen([sys.argv[1], "60"]) for _ in range(3)]
jobs[1].kill()  # and never waited for: a zombie
print(*(job.pid for job in jobs), flush=True)
time.sleep(60)
"""


@contextmanager
def workflow(tmp_path: Path) -> Iterator[tuple[int, list[psutil.Process]]]:
    """A process with three jobs called `liif`, the second one a zombie."""
    liif = tmp_path / "liif"
    shutil.copy(shutil.which("sleep") or "", liif)
    words = [sys.executable, "-c", PARENT, str(liif)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        jobs = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        while jobs[1].status() != psutil.STATUS_ZOMBIE or not jobs[2].cmdline():
            time.sleep(0.01)
        try:
            yield parent.pid, jobs
        finally:
            for job in jobs:
                job.kill()
            parent.kill()


def stopped(job: psutil.Process) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if job.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_a_zombie_does_not_keep_other_jobs_from_stopping(tmp_path: Path) -> None:
    with workflow(tmp_path) as (pid, jobs):
        processes._terminate(processes._jobs_below(pid))
        assert stopped(jobs[0])
        assert stopped(jobs[2])


@pytest.mark.parametrize("error", [psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied])
def test_a_job_that_exits_meanwhile_does_not_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[psutil.Error]
) -> None:
    real = psutil.Process.cmdline
    with workflow(tmp_path) as (pid, jobs):

        def cmdline(process: psutil.Process) -> list[str]:
            if process.pid == jobs[0].pid:
                raise error(process.pid)
            return real(process)

        monkeypatch.setattr(psutil.Process, "cmdline", cmdline)
        processes.stop(pid)
        assert stopped(jobs[2])


def test_sigterm_to_a_workflow_stops_its_jobs(tmp_path: Path) -> None:
    """Whatever the workflow itself does on SIGTERM."""
    code = (
        "import signal; from liif.system.processes import pass_on_sigterm\n"
        "signal.signal(signal.SIGTERM, lambda *_: None); pass_on_sigterm()"
    )
    liif = tmp_path / "liif"
    shutil.copy(shutil.which("sleep") or "", liif)
    words = [sys.executable, "-c", code + PARENT, str(liif)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        first, _, last = (psutil.Process(int(n)) for n in parent.stdout.readline().split())
        while not last.cmdline():
            time.sleep(0.01)
        try:
            os.kill(parent.pid, signal.SIGTERM)
            assert stopped(first)
            assert stopped(last)
        finally:
            parent.kill()


def test_facts_of_other_processes() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    this = processes.this_workflow()
    assert not processes.is_dead(this)
    assert processes.is_dead(this.replace(str(os.getpid()), str(dead.pid), 1))
    assert not any(map(processes.is_dead, ("", "1@node7", "x@y")))
    assert processes.start_time(dead.pid) == 0
    assert abs(processes.start_time(os.getpid()) - psutil.Process().create_time()) < 1
