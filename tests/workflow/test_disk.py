"""Full and read-only disks: reported in one line, nothing lost, resumed once there is space."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from commands import (
    degrading,
    downloading,
    evaluating,
    packing,
    prepare_project,
    training,
    upscaling,
    workflow,
)
from killing import Command
from mounts import enlarge, read_only, small_disk


def run(command: Command, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(command.words(folder)),
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stdout
    return done.stdout.strip().splitlines()[-1]


def command_of(name: str, inputs: Path, request: pytest.FixtureRequest) -> Command:
    if name == "download":
        return downloading(inputs, request.getfixturevalue("address"))
    kinds = {
        "train": training,
        "pack": packing,
        "degrade": degrading,
        "evaluate": evaluating,
        "upscale": upscaling,
    }
    return kinds[name](inputs)


def whole(command: Command, folder: Path) -> dict[str, str]:
    """The results of an uninterrupted run."""
    folder.mkdir()
    done = run(command, folder)
    assert done.returncode == 0, done.stdout
    return command.found(folder)


@pytest.mark.parametrize(
    ("name", "kilobytes"),
    [
        pytest.param("train", 130, marks=pytest.mark.slow),
        ("pack", 1000),
        ("degrade", 500),
        pytest.param("upscale", 200, marks=pytest.mark.slow),
        ("download", 400),
    ],
)
def test_a_full_disk(
    name: str,
    kilobytes: int,
    inputs: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    command = command_of(name, inputs, request)
    expected = whole(command, tmp_path / "uninterrupted")
    disk = tmp_path / "disk"
    with small_disk(disk, kilobytes):
        done = run(command, disk)
        line = last_line(done)
        assert done.returncode == 1
        assert line.startswith("liif: ")
        assert "the disk is full; make room and run it again" in line
        # Files with their final names are complete; a download keeps its part under another name.
        there = {p for pattern in command.results for p in disk.glob(pattern)}
        kept = command.found(disk) if there else {}
        assert kept.items() <= expected.items()
        assert not list(disk.rglob(".*.part*"))
        enlarge(disk)
        again = run(command, disk)
        assert again.returncode == 0, again.stdout
        if name == "train":
            assert "resuming after step" in again.stdout
        assert command.found(disk) == expected


def refused(done: subprocess.CompletedProcess[str], words: Sequence[str]) -> None:
    line = last_line(done)
    assert done.returncode == 1
    assert all(word in line for word in words), line
    assert len(done.stdout.strip().splitlines()) == 1, done.stdout


@pytest.mark.parametrize("name", ["train", "pack", "degrade", "evaluate", "upscale", "download"])
def test_a_read_only_folder(
    name: str,
    inputs: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Reported at the start, before any work."""
    command = command_of(name, inputs, request)
    folder = tmp_path / "here"
    with read_only(folder):
        refused(run(command, folder), ["liif: ", "cannot be written", "Read-only file system"])
    assert list(folder.iterdir()) == []


def test_a_read_only_results_folder(inputs: Path, tmp_path: Path) -> None:
    """Reported by the workflow before any job."""
    folder = tmp_path / "project"
    prepare_project(inputs, folder)
    with read_only(folder / "results"):
        done = run(workflow(inputs), folder)
    assert done.returncode == 1
    assert "results: cannot be written: Read-only file system" in done.stdout
    assert "Traceback" not in done.stdout
    assert "rule " not in done.stdout


def test_a_folder_of_another_user() -> None:
    """As on a shared server."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    code = (
        "import os, pwd, sys\nfrom pathlib import Path\nfrom liif.system.errors import UserError\n"
        "from liif.system.files import require_writable\nos.setuid(pwd.getpwnam('nobody').pw_uid)\n"
        "try: require_writable(Path(sys.argv[1]))\n"
        "except UserError as error: print(error)"
    )
    with TemporaryDirectory() as theirs:
        for mode, place in ((0o755, "results/x"), (0o700, "results/x"), (0o755, "x")):
            Path(theirs).chmod(mode)
            words = [sys.executable, "-c", code, f"{theirs}/{place}"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert f"{theirs}/{place}: cannot be written" in done.stdout, done.stderr
            assert "Permission denied; choose another place" in done.stdout
