"""Stopping a workflow, and running two at once."""

import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import training
from killing import files, kill_tree
from PIL import Image
from projects import TINY, Project
from samples import Folder, photograph

from liif.checkpoints.format import load_metadata
from liif.system.signals import Stopped, raise_on_stop, stop_requests

LONG: dict[str, Any] = {
    "models": {"small-edsr": TINY["models"]["small-edsr"]},
    "train": {**TINY["train"], "epochs": 5000},
    "evaluate": {"scales": []},
}


def wait_for_training(project: Project, process: subprocess.Popen[str]) -> None:
    while not list(project.path.glob("results/state/*/*/state.safetensors")):
        assert process.poll() is None
        time.sleep(0.05)


def kill_leftovers() -> None:
    """Kill the long training of a failed test."""
    for process in psutil.Process().children(recursive=True):
        if "snakemake" in " ".join(process.cmdline()):
            kill_tree(process)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "gpus"),
    [("SIGTERM", 1), ("Ctrl-C", 1), ("SIGTERM", 2), ("Ctrl-C", 2), ("SIGKILL", 2)],
)
def test_a_stopped_workflow_saves_and_resumes(
    project: Project,
    way: str,
    gpus: int,
    request: pytest.FixtureRequest,
) -> None:
    """Snakemake alone would wait for the training; one on two processes resumes on one."""
    project.configure(**LONG)
    words = ["results/sr_800", "--resources", f"gpu={gpus}"]
    process = project.start(*words, start_new_session=True)
    request.addfinalizer(kill_leftovers)
    wait_for_training(project, process)
    ranks = [p for p in psutil.Process(process.pid).children(recursive=True) if is_rank(p)]
    assert len(ranks) == (gpus if gpus > 1 else 0)
    if way == "SIGTERM":
        process.terminate()
    elif way == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # a terminal signals the whole group
    else:
        process.kill()  # the next workflow stops the orphaned jobs
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    if way != "SIGKILL":
        output, _ = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "small-edsr: stopped and saved at step" in output
        assert "run the same command to resume" in output
    again = project.start("results/sr_800", start_new_session=True)
    assert again.stdout is not None
    printed = []
    for line in again.stdout:
        printed.append(line)
        if "small-edsr: resuming after step" in line:
            break
    else:
        pytest.fail("it started over: " + "".join(printed))
    again.terminate()
    again.communicate(timeout=60)
    assert not psutil.wait_procs(ranks, timeout=10)[1]


def is_rank(process: psutil.Process) -> bool:
    """Whether a process is a rank of a distributed training."""
    try:
        return "LIIF_RENDEZVOUS" in process.environ()
    except psutil.Error:
        return False


@pytest.mark.slow
def test_two_experiments_at_once(project: Project, folder: Folder) -> None:
    """Each in its own folder gives the results that it would give alone."""
    model = {"models": {"small-edsr": TINY["models"]["small-edsr"]}, "evaluate": {"scales": [2]}}
    first, second = project, Project(project.path.with_name("other"))
    subprocess.run(["cp", "-r", str(first.path), str(second.path)], check=True)
    first.configure(**model)
    second.configure(**model, train={**TINY["train"], "seed": 1})
    both = [p.start("results/sr_800") for p in (first, second)]
    printed = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    weights = [p.file("models/small-edsr.safetensors").read_bytes() for p in (first, second)]
    assert weights[0] != weights[1]
    alone = Project(project.path.with_name("alone"))
    subprocess.run(["cp", "-r", str(second.path), str(alone.path)], check=True)
    subprocess.run(["rm", "-r", str(alone.path / "results"), str(alone.path / ".snakemake")])
    before = files(first.path)
    alone.run()
    assert alone.file("models/small-edsr.safetensors").read_bytes() == weights[1]
    assert alone.file("metrics.csv").read_bytes() == second.file("metrics.csv").read_bytes()
    assert files(first.path) == before


def work(number: int, cleaned: list[bool]) -> None:
    """Be interrupted by a signal, and clean up."""
    try:
        signal.raise_signal(number)
    except Exception:
        pytest.fail("a stop must not be caught as a failure")
    finally:
        signal.raise_signal(number)  # a second signal does not interrupt the cleanup
        cleaned.append(True)


@pytest.mark.usefixtures("default_sighup")
def test_signals_unwind_and_restore_the_handlers() -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        cleaned: list[bool] = []
        with pytest.raises(Stopped) as stop, raise_on_stop():
            work(number, cleaned)
        assert stop.value.signal_number == number
        assert cleaned
    assert before == [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def ask_twice(number: int) -> None:
    for _ in range(2):
        signal.raise_signal(number)


def test_a_second_signal_stops_at_once_and_ignored_ones_stay_ignored() -> None:
    with pytest.raises(Stopped), raise_on_stop(), stop_requests() as asked:
        ask_twice(signal.SIGINT)
    assert asked == [signal.SIGINT]
    # From a cluster and from the workflow: saving continues.
    with raise_on_stop(), stop_requests() as asked:
        ask_twice(signal.SIGTERM)
    assert asked == [signal.SIGTERM] * 2
    code = (
        "import signal\nfrom liif.system.signals import stop_requests, raise_on_stop\n"
        "with raise_on_stop(), stop_requests() as asked:\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "print(asked)"
    )
    words = ["nohup", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_stopped_job_leaves_no_partial_file(tmp_path: Path) -> None:
    code = (
        "import signal, sys\nfrom PIL import ImageFile\nfrom liif import cli\n"
        "ImageFile.ImageFile.load = lambda _: signal.raise_signal(signal.SIGTERM)\n"
        "sys.argv = ['liif', 'pack', sys.argv[1], sys.argv[2]]\ncli.main()"
    )
    Image.fromarray(photograph(60, 60)).save(tmp_path / "a.png")
    words = [sys.executable, "-c", code, str(tmp_path / "a.png"), str(tmp_path / "x" / "out.pack")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    last = "liif: stopped; nothing half-written is left; run the same command to resume"
    assert done.stderr.splitlines()[-1] == last
    assert list((tmp_path / "x").iterdir()) == []


@pytest.mark.usefixtures("default_sighup")
def test_a_closed_terminal(inputs: Path, tmp_path: Path) -> None:
    """It sends SIGHUP and can no longer be written to; the training still saves."""
    words = list(training(inputs).words(tmp_path))
    words = [w.replace('"epochs": 40', '"epochs": 100000') for w in words]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execv(words[0], words)
    job = psutil.Process(process)
    try:
        while not list(tmp_path.glob("m.state/*/state.safetensors")):
            time.sleep(0.02)
        before = saved_step(tmp_path)
        os.close(terminal)
        assert job.wait(120) == 128 + signal.SIGHUP
    finally:
        with suppress(psutil.NoSuchProcess):  # it has exited
            job.kill()
    assert saved_step(tmp_path) >= before


def saved_step(folder: Path) -> int:
    (state,) = folder.glob("m.state/*/state.safetensors")
    return int(load_metadata(state)["state"]["step"])


def test_workers_that_outlive_their_training_hold_no_lock(inputs: Path, tmp_path: Path) -> None:
    words = [*training(inputs).words(tmp_path), "--workers", "2"]
    long = [w.replace('"epochs": 40', '"epochs": 100000') for w in words]
    with subprocess.Popen(long, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("m.state/*/state.safetensors")):
            time.sleep(0.02)
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 2
        for worker in workers:
            worker.suspend()  # so that they outlive it
        process.kill()
    try:
        assert all(worker.is_running() for worker in workers)
        again = subprocess.Popen(long, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        assert again.stderr is not None
        assert "resuming after step" in again.stderr.readline()
        again.terminate()
        again.communicate(timeout=60)
        assert again.returncode == 128 + signal.SIGTERM
    finally:
        for worker in workers:
            worker.kill()
