"""A training by several processes is the same training, whoever of them is killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from PIL import Image
from samples import Folder, photograph
from servers import free_port

from liif.checkpoints.format import load_metadata, load_tensors
from liif.data.pack import pack
from liif.training import group as distributed

LIIF = [sys.executable, "-m", "liif"]
TORCHRUN = str(Path(sys.executable).parent / "torchrun")
SETTINGS: dict[str, Any] = {
    "encoder": {"name": "edsr", "blocks": 2, "channels": 16},
    "hidden": [32, 32],
    "train": {
        **{"epochs": 2, "visits": 20, "batch": 4, "patch": 12, "scales": [1, 4]},
        **{"queries": 144, "validation_patches": 7},
    },
}
"""Two photographs: 10 steps an epoch, 20 in all, with the documented rate."""
RDN = {"name": "rdn", "blocks": 2, "layers": 2, "growth": 8, "channels": 16}


class Training:
    """Trainings in a folder, by any number of processes."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def words(self, where: str, *options: str, **changes: Any) -> list[str]:
        settings = self.base / f"{where}.yaml"
        settings.write_text(yaml.safe_dump({**SETTINGS, **changes}))
        data = ["--data", str(self.base / "train.pack"), "--valid", str(self.base / "valid.pack")]
        out = ["--out", str(self.base / where / "m.safetensors"), "--settings", str(settings)]
        return ["train", *data, *out, "--no-track", "--device", "cpu", *options]

    def start(self, words: Sequence[str], launcher: Sequence[str] = LIIF) -> psutil.Popen:
        return psutil.Popen(
            [*launcher, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(self.base)},
        )

    def run(self, where: str, *options: str, code: int = 0, **changes: Any) -> str:
        process = self.start(self.words(where, *options, **changes))
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output
        return str(output)

    def begin(self, where: str, *options: str, **changes: Any) -> psutil.Popen:
        """Start one, and wait until it has saved its state."""
        process = self.start(self.words(where, *options, "--save-minutes", "0", **changes))
        while not list(self.base.glob(f"{where}/m.state/*/state.safetensors")):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        return process

    def weights(self, where: str) -> torch.Tensor:
        tensors = load_tensors(self.base / where / "m.safetensors")[0]
        return torch.cat([tensors[name].flatten() for name in sorted(tensors)])

    def steps(self, where: str) -> int:
        """The step that an unfinished training would go on after."""
        (path,) = self.base.glob(f"{where}/m.state/*/state.safetensors")
        return int(load_metadata(path)["state"]["step"])

    def history(self, where: str) -> list[list[float]]:
        """Step, loss, PSNR and rate of each epoch."""
        lines = (self.base / where / "m.history.csv").read_text().splitlines()[1:]
        return [[float(x) for x in line.split(",")[1:5]] for line in lines]


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    base = tmp_path_factory.mktemp("distributed")
    for name, count in (("train", 2), ("valid", 1)):
        (base / name).mkdir()
        for i in range(count):
            picture = photograph(70 + 9 * i, 64, seed=i + 5 * (name == "valid"))
            Image.fromarray(picture).save(base / name / f"{name}{i}.png")
        pack(base / name, base / f"{name}.pack")
    training = Training(base)
    training.run("alone")
    return training


LONG = {"train": {**SETTINGS["train"], "epochs": 400}}


@pytest.mark.parametrize("processes", ["2", pytest.param("3", marks=pytest.mark.slow)])
def test_several_processes_end_in_the_weights_of_one(training: Training, processes: str) -> None:
    """20 steps with the published rate; of three processes, one has two patches of the four."""
    output = training.run(f"by{processes}", "--processes", processes)
    lines = output.splitlines()
    assert sum("epoch 2/2" in line for line in lines) == 1  # only rank 0 logs
    assert lines[-1].startswith("m: 20 steps in")
    alone, shared = training.weights("alone"), training.weights(f"by{processes}")
    assert float((alone - shared).abs().max()) < 1e-5
    rows = zip(training.history("alone"), training.history(f"by{processes}"), strict=True)
    for ours, theirs in rows:
        assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.slow
def test_rdn_bf16_and_data_loader_workers(training: Training) -> None:
    train = {**SETTINGS["train"], "epochs": 1}
    changes: dict[str, Any] = {"encoder": RDN, "skip": "bicubic", "train": train}
    training.run("rdn", **changes)
    training.run("rdn2", "--processes", "2", "--workers", "1", **changes)
    assert float((training.weights("rdn") - training.weights("rdn2")).abs().max()) < 1e-5
    low: dict[str, Any] = {"train": {**train, "precision": "bf16"}}
    training.run("bf16", **low)
    training.run("bf16-2", "--processes", "2", **low)
    losses = [training.history(where)[0][1] for where in ("bf16", "bf16-2")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.slow
def test_degraded_patches_are_the_same_by_two_processes(training: Training) -> None:
    degrade = {
        "blur": {"range": [0.2, 1]},
        "noise": {"range": [1, 20], "probability": 0.5},
        "jpeg": {"range": [30, 90], "probability": 0.5},
    }
    train = {**SETTINGS["train"], "epochs": 1, "degrade": degrade}
    changes: dict[str, Any] = {"train": train}
    training.run("degraded", **changes)
    training.run("degraded2", "--processes", "2", "--workers", "1", **changes)
    alone, shared = training.weights("degraded"), training.weights("degraded2")
    assert float((alone - shared).abs().max()) < 1e-5
    assert training.history("degraded2")[0] == pytest.approx(training.history("degraded")[0], 1e-5)


ONLY_RANK_0_IS_FAST = """
import os
from liif.network import precision
precision.has_fast_bf16 = lambda _: os.environ.get("RANK") == "0"
"""
"""Python runs it at its start in every process."""


@pytest.mark.slow
def test_all_ranks_have_the_precision_of_rank_0(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = {**SETTINGS["train"], "epochs": 1}
    training.run("low", "--processes", "2", train={**train, "precision": "bf16"})
    (tmp_path / "sitecustomize.py").write_text(ONLY_RANK_0_IS_FAST)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    training.run("auto", "--processes", "2", train={**train, "precision": "auto"})
    assert torch.equal(training.weights("auto"), training.weights("low"))
    sidecar = json.loads((training.base / "auto" / "m.run.json").read_text())
    assert sidecar["precision"] == "bf16"


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("2", "1"), ("1", "2"), ("3", "2")])
def test_a_killed_training_resumes_with_another_number_of_processes(
    training: Training, first: str, second: str
) -> None:
    where = f"from{first}to{second}"
    for _ in range(10):
        process = training.begin(where, "--processes", first)
        for each in [*process.children(recursive=True), process]:
            each.kill()
        process.communicate()
        if not (training.base / where / "m.safetensors").exists():
            break
        shutil.rmtree(training.base / where)  # it was faster
    assert 0 < (done := training.steps(where)) < 20
    output = training.run(where, "--processes", second)
    assert f"resuming after step {done} of 20" in output
    alone, resumed = training.weights("alone"), training.weights(where)
    assert float((alone - resumed).abs().max()) < 1e-5


@pytest.mark.slow
@pytest.mark.usefixtures("default_sighup")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_the_work_of_all(training: Training, number: signal.Signals) -> None:
    """To the one that started them, or to any of them; loaders of batches live until then."""
    where = f"asked{number.name}"
    process = training.begin(where, "--processes", "2", "--workers", "1", **LONG)
    if number == signal.SIGTERM:
        (asked,) = (p for p in process.children() if p.environ()["RANK"] == "1")
        asked.send_signal(number)
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert re.findall(r"stopped and saved at step (\d+) of", output) == [str(training.steps(where))]
    logged = output.count("stopping after the steps under way")
    assert logged == (number != signal.SIGTERM)  # only rank 0 logs
    assert "signal" not in output  # the launcher's own words


@pytest.mark.slow
def test_processes_stop_and_save_when_their_launcher_is_killed(training: Training) -> None:
    before = set(training.base.iterdir())
    process = training.begin("orphans", "--processes", "2", **LONG)
    children = process.children()
    process.kill()
    output, _ = process.communicate(timeout=60)  # until the last has closed it
    assert f"stopped and saved at step {training.steps('orphans')} of" in output
    assert not psutil.wait_procs(children, 10)[1]
    assert {p.name for p in set(training.base.iterdir()) - before} == {"orphans", "orphans.yaml"}


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_others(training: Training, rank: int) -> None:
    where = f"killed{rank}"
    process = training.begin(where, "--processes", "2", **LONG)
    ranks = {child.environ()["RANK"]: child for child in process.children()}
    ranks[str(rank)].kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"liif: process {rank + 1} of 2 was killed by SIGKILL (out of memory?)" in output
    assert "Traceback" not in output
    assert training.steps(where) > 0


@pytest.mark.slow
def test_it_listens_on_the_loopback_alone_and_leaves_nothing(training: Training) -> None:
    before = set(training.base.iterdir())
    process = training.begin("quiet", "--processes", "2", **LONG)
    family = [process, *process.children(recursive=True)]
    listening = [c for p in family for c in p.net_connections() if c.status == "LISTEN"]
    assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::1"}
    process.terminate()
    process.communicate(timeout=60)
    assert {p.name for p in set(training.base.iterdir()) - before} == {"quiet", "quiet.yaml"}


@pytest.mark.slow
def test_mistakes_are_one_line_from_one_process(training: Training, folder: Folder) -> None:
    train = {**SETTINGS["train"], "learning_rate": 1e6}
    output = training.run("exploded", "--processes", "2", code=1, train=train)
    assert len(re.findall(r"liif: m: the loss is \S+ at step", output)) == 1
    assert "Traceback" not in output
    assert "process" not in output
    small = str(folder("small", a=(9, 9)))
    output = training.run("small", "--processes", "2", "--data", small, code=1)
    assert output.count("photograph a (9×9) is smaller than") == 1
    for options, message in (
        (("--processes", "5"), "5 processes cannot share the 4 patches of a step"),
        (("--processes", "2", "--device", "cpu:0"), "2 processes cannot compute on `cpu:0`"),
        (("--processes", "2", "--settings", "{x: 1}"), "unknown key `x`"),
    ):
        (line,) = training.run("wrong", *options, code=1).splitlines()
        assert message in line


@pytest.mark.slow
def test_a_second_training_is_refused(training: Training) -> None:
    process = training.begin("twice", "--processes", "2", **LONG)
    output = training.run("twice", "--processes", "2", code=1, **LONG)
    assert output.count("the training of m is running already") == 1
    process.terminate()
    process.communicate(timeout=60)


@pytest.mark.slow
def test_photographs_are_packed_once(training: Training) -> None:
    words = ["--data", str(training.base / "train"), "--valid", str(training.base / "valid")]
    output = training.run("folder", "--processes", "2", *words)
    assert output.count("packing") == 2
    assert float((training.weights("alone") - training.weights("folder")).abs().max()) < 1e-5


@pytest.mark.slow
def test_torchrun_by_hand_and_finished_trainings(training: Training) -> None:
    """As on several machines: the ranks meet at the address that torchrun gives them."""
    command = [TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "liif"]
    for expected in (
        "m: 20 steps in",
        "already trained with these settings and data; no step is needed",
    ):
        process = training.start(training.words("torchrun"), command)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        assert output.count(expected) == 1
    assert float((training.weights("alone") - training.weights("torchrun")).abs().max()) < 1e-5


@pytest.mark.slow
def test_two_machines_that_share_no_folder(training: Training) -> None:
    """Each has the photographs under a name of its own; only the first leaves anything."""
    port, processes = str(free_port()), []
    for node, name in enumerate(("a", "another")):
        machine = training.base / name
        machine.mkdir()
        for part in ("train", "valid"):
            shutil.copy(training.base / f"{part}.pack", machine / f"{name}-{part}.pack")
        there = [
            "--data",
            f"{machine}/{name}-train.pack",
            "--valid",
            f"{machine}/{name}-valid.pack",
        ]
        command = [TORCHRUN, "--nnodes", "2", "--node-rank", str(node), "--nproc-per-node", "1"]
        command += ["--master-addr", "127.0.0.1", "--master-port", port, "-m", "liif"]
        words = [*training.words(name), *there, "--save-minutes", "0"]
        processes.append(training.start(words, command))
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert float((training.weights("alone") - training.weights("a")).abs().max()) < 1e-5
    left = {path.name for path in (training.base / "another").iterdir()}
    assert left == {"another-train.pack", "another-valid.pack"}


@pytest.mark.slow
def test_machines_with_other_photographs_are_refused(training: Training) -> None:
    """Files of the same name on two machines may differ."""
    command = [TORCHRUN, "--standalone", "--nproc-per-node", "2", "--no-python", "sh", "-c"]
    words = " ".join(training.words("other", "--data"))
    first = training.base / "train.pack"
    script = f"[ $RANK = 0 ] && d={first} || d={training.base / 'valid.pack'}; exec"
    process = training.start([f"{script} {' '.join(LIIF)} {words} $d"], command)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "liif (process 2 of 2): the settings or the photographs (" in output
    assert "differ from those of the first process" in output
    assert not (training.base / "other" / "m.safetensors").exists()


def test_a_single_process_exchanges_nothing() -> None:
    group = distributed.ALONE
    assert group.sum(1.5, True) == [1.5, True]
    assert group.on_rank0(lambda: "mine") == "mine"
    assert group.is_rank0
    with distributed.joined() as joined:
        assert joined is group
    assert not torch.distributed.is_initialized()
