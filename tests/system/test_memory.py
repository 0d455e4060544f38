"""Running out of memory, in processes with a real limit."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from samples import photograph

from liif.images.png import write_png
from liif.system import memory
from liif.system.errors import PictureError, UserError


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_errors_of_exhausted_memory(error: Exception) -> None:
    with (
        pytest.raises(PictureError, match="x: not enough memory; lower y"),
        memory.explain("x", "lower y", PictureError),
    ):
        raise error


def test_other_errors_are_unchanged() -> None:
    for error in (RuntimeError("shapes do not fit"), UserError("a mistake")):
        with pytest.raises(type(error), match=str(error)), memory.explain("x", "lower y"):
            raise error


def write(folder: Path, **values: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{value}\n")


def test_available_memory_is_the_least_that_cgroups_leave(tmp_path: Path) -> None:
    free = memory.available(tmp_path)
    assert free > 100_000_000
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/slurm/job_7/step_0\n")
    root = tmp_path / "sys" / "fs" / "cgroup"
    write(root / "slurm" / "job_7" / "step_0", memory_max="max", memory_current=4_000_000)
    assert memory.available(tmp_path) > 100_000_000
    write(root / "slurm" / "job_7", memory_max=70_000_000, memory_current=10_000_000)
    assert memory.available(tmp_path) == 60_000_000
    write(root / "slurm", memory_max=50_000_000, memory_current=20_000_000)
    assert memory.available(tmp_path) == 30_000_000
    # The kernel drops cached files before it kills a process.
    write(root / "slurm", memory_stat="anon 1\ninactive_file 5000000\nactive_file 1")
    assert memory.available(tmp_path) == 35_000_000
    write(root, memory_max=1_000, memory_current=2_000)  # as in a container of its own namespace
    assert memory.available(tmp_path) == 0


def test_available_memory_in_a_cgroup_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    lines = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/x:y\n"
    (tmp_path / "proc" / "self" / "cgroup").write_text(lines)
    root = tmp_path / "sys" / "fs" / "cgroup" / "memory"  # a container sees its group as the root
    write(root, memory_limit_in_bytes=2**63 - 4096, memory_usage_in_bytes=7)
    assert memory.available(tmp_path) > 100_000_000
    write(root, memory_limit_in_bytes=9_000_000, memory_usage_in_bytes=7_000_000)
    assert memory.available(tmp_path) == 2_000_000


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_available_memory_below_a_limit_of_the_process(kind: str) -> None:
    code = (
        "import psutil, resource; from liif.system import memory\n"
        f"limit = psutil.Process().memory_info().vms + 50_000_000\n"
        f"resource.setrlimit(resource.{kind}, (limit, limit)); print(memory.available())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 400_000_000


def test_available_memory_where_the_system_counts_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS, whose psutil reports two numbers."""
    used = SimpleNamespace(rss=1 << 20, vms=1 << 30)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: used))
    assert memory.available() > 0


LITTLE = (
    "import resource, sys\n"
    "import torch, liif.training.train, liif.network.model\n"
    "import liif.images.channels, liif.inference.upscale\n"
    "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
    "limit = used + {megabytes} * 1_000_000\n"
    "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
    "sys.argv = ['liif', *{words!r}]\n"
    "from liif import cli\n"
    "cli.main()\n"
)
"""A command with so little memory left for it."""


def with_little_memory(megabytes: int, words: list[str]) -> subprocess.CompletedProcess[str]:
    code = LITTLE.format(megabytes=megabytes, words=words)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two pictures, one of them large."""
    path = tmp_path / "photographs"
    path.mkdir()
    write_png(path / "large.png", photograph(1500, 1500))
    write_png(path / "small.png", photograph(6, 6))
    return path


def test_training_names_the_setting_to_lower(photographs: Path, tmp_path: Path) -> None:
    settings = {"train": {"patch": 20, "queries": 400, "scales": [1, 1], "batch": 4096}}
    (photographs / "small.png").unlink()
    words = [
        *["train", "--data", str(photographs), "--valid", str(photographs), "--no-track"],
        *["--out", str(tmp_path / "m.safetensors"), "--settings", json.dumps(settings)],
        *["--threads", "1", "--device", "cpu"],
    ]
    done = with_little_memory(400, words)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("liif: m: training: not enough memory; lower `batch` (=4096)")


def test_upscaling_continues_with_the_others(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["upscale", str(photographs), "-o", str(out), "--threads", "1", "--scale", "2"]
    done = with_little_memory(350, [*words, "--max-memory", "2"])
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert "large.png: not enough memory; lower --max-memory" in line
    assert [p.name for p in out.iterdir()] == ["small.png"]


def test_any_command_reports_it(photographs: Path, tmp_path: Path) -> None:
    words = ["degrade", str(photographs), "-o", str(tmp_path / "lr"), "--scale", "2"]
    done = with_little_memory(5, words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "liif: not enough memory" in done.stderr
