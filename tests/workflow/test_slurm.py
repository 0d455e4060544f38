"""The demo's workflow on a real Slurm, with interrupted trainings."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cluster import Cluster, missing

from liif.system.files import file_sha256

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]  # it mostly waits for Slurm
ROOT = Path(__file__).parents[2]
SNAKEMAKE = str(Path(sys.executable).parent / "snakemake")
SHORT = ["--configfile", "config/demo.yaml", "--config", "train={epochs: 3}"]
"""The demo with 264 of its 880 steps."""
HERE = [
    # A machine without a GPU, with 4 slots on any number of cores; the profile has the values of
    # a cluster.
    *("--cores", "4", "--set-resources", "train:gpu=0", "upscale:gpu=0", "evaluate_valid:gpu=0"),
    *("--set-threads", "train=1", "upscale=1", "evaluate_valid=1"),
    *("--default-resources", "mem_mb=600", "runtime=20", "slurm_extra='--open-mode=append'"),
    # No accounting, and no file system latency.
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "8"),
    *("--latency-wait", "10", "--slurm-keep-successful-logs"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if lacks := missing():
        if os.environ.get("LIIF_REQUIRE_SLURM"):
            pytest.fail(f"Slurm is required here, and {lacks} missing")
        pytest.skip(f"{lacks} missing: apt-get install slurm-wlm munge")
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def project(folder: Path) -> Path:
    shutil.copytree(ROOT / "liif" / "assets" / "photos", folder / "data")
    return folder


def results(folder: Path) -> dict[str, str]:
    """Weights, pictures and tables with their sha256."""
    found = [
        *folder.glob("results/models/*.safetensors"),
        *folder.glob("results/sr_800/*/*.png"),
        *folder.glob("results/hr/test/x8/*.png"),
        folder / "results" / "metrics.csv",
        folder / "results" / "metrics.json",
    ]
    return {str(path.relative_to(folder)): file_sha256(path) for path in found}


def test_the_demo_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    there, log = project(tmp_path / "there"), tmp_path / "there.log"
    state = there / "results" / "state"
    run = [SNAKEMAKE, "--directory", str(there), "--workflow-profile", "profiles/slurm"]
    with log.open("w") as file:
        workflow = psutil.Popen(
            [*run, *HERE, "results/sr_800", *SHORT, "buckets=1"],
            cwd=ROOT,
            env=cluster.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        left, number = {"small-rdn", "small-edsr"}, ""
        while left:  # each as soon as it has saved its state
            assert workflow.poll() is None, log.read_text()
            time.sleep(0.1)
            for model in [m for m in left if list(state.glob(f"{m}/*/state.safetensors"))]:
                if model == "small-rdn":
                    # Requeued by Slurm, as after a node failure or a preemption.
                    (number,) = jobs_of(there, model)
                    cluster.run("scontrol", "requeue", number)
                else:
                    # Killed from outside: Slurm sees it fail, and Snakemake resubmits it.
                    training(state / model).kill()
                left.remove(model)
        here = local_results(tmp_path)  # meanwhile
        code = workflow.wait(1200)
    finally:
        if workflow.poll() is None:
            workflow.send_signal(2)
            workflow.wait(60)
    output = log.read_text()
    assert code == 0, output

    assert results(there) == here
    assert len(here) == 7 + 5 * 6 + 6 + 2
    (start,) = re.findall(r"small-rdn: resuming after step (\d+) of 264", output)
    assert 88 <= int(start) < 264
    assert jobs_of(there, "small-rdn") == [number]  # the same Slurm job, restarted
    again = jobs_of(there, "small-edsr")
    assert len(again) == 2
    (step,) = re.findall(r"small-edsr: resuming after step (88|176) of 264", output)
    for model in ("small-edsr", "small-rdn"):
        assert "resuming after step" in (there / f"results/logs/train/{model}.log").read_text()
    # Packs, trainings (one twice), upscaling, evaluations; small jobs are grouped.
    snakemake = "".join(log.read_text() for log in there.glob(".snakemake/log/*"))
    submitted = re.findall(
        r"submitted with SLURM jobid (\d+) .*/(rule|group)_(\w+?)[_/]", snakemake
    )
    assert len([1 for _, kind, _ in submitted if kind == "rule"]) == 2 + 3 + 6 + 11
    assert [name for _, kind, name in submitted if kind == "group"].count("degrade") == 1
    print(
        f"{len(submitted)} jobs; job {number} requeued, resumed after step {start} of 264; "
        f"job {again[0]} killed, resubmitted as {again[1]}, resumed after step {step} of 264"
    )


def jobs_of(folder: Path, model: str) -> list[str]:
    """IDs of the Slurm jobs that trained a model, from their logs."""
    logs = (folder / "results" / "logs" / "slurm" / "rule_train" / model).glob("*.log")
    return sorted((log.stem for log in logs), key=int)


def training(state: Path) -> psutil.Process:
    """The process that holds the lock of a training."""
    (lock,) = state.glob("*.lock")
    return psutil.Process(json.loads(lock.read_text())["pid"])


def local_results(tmp_path: Path) -> dict[str, str]:
    """The results of a run on this machine without Slurm."""
    here = project(tmp_path / "here")
    command = [SNAKEMAKE, "--directory", str(here), "--workflow-profile", "profiles/demo"]
    command += ["--cores", "2", "results/sr_800", *SHORT]
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout
    return results(here)
