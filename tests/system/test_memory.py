"""Running out of memory, for real where the kernel gives a process only so much."""

import json
import subprocess
import sys
from pathlib import Path

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
def test_what_wants_of_memory_look_like(error: Exception) -> None:
    with (
        pytest.raises(PictureError, match="x: there is not enough memory; lower y"),
        memory.explain("x", "lower y", PictureError),
    ):
        raise error


def test_other_errors_stay_themselves() -> None:
    for error in (RuntimeError("shapes do not fit"), UserError("a mistake")):
        with pytest.raises(type(error), match=str(error)), memory.explain("x", "lower y"):
            raise error


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
    write_png(path / "large.png", photograph(400, 400))
    write_png(path / "small.png", photograph(6, 6))
    return path


def test_training_says_what_to_lower(photographs: Path, tmp_path: Path) -> None:
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
    assert line.startswith("liif: m: training: there is not enough memory; lower `batch` (=4096)")


def test_enlarging_goes_on_with_the_others(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["upscale", str(photographs), "-o", str(out), "--threads", "1", "--scale", "30"]
    done = with_little_memory(350, [*words, "--max-memory", "2"])
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert "large.png: there is not enough memory; lower --max-memory" in line
    assert [p.name for p in out.iterdir()] == ["small.png"]


def test_any_command_says_it(photographs: Path, tmp_path: Path) -> None:
    words = ["degrade", str(photographs), "-o", str(tmp_path / "lr"), "--scale", "2"]
    done = with_little_memory(5, words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "liif: there is not enough memory" in done.stderr
