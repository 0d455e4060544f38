import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from liif.system import locks
from liif.system.errors import UserError
from liif.system.files import atomic_write, write_json, write_text
from liif.system.signals import Stopped, raise_on_stop


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208 (hidden files count)


def test_the_disk_is_flushed_through_a_writable_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses any other."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(os.write(file, b"")))
    write_text(tmp_path / "a.txt", "new")
    assert flushed == [0]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_equal_values_are_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    full = Path("/dev/full")  # every write to it fails as on a full disk
    with pytest.raises(UserError, match="disk is full"), atomic_write(tmp_path / "x"):
        full.write_text("x" * 100_000)


def test_a_folder_of_that_name_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), atomic_write(tmp_path / "file" / "x"):
        pass


def test_the_longest_possible_name(tmp_path: Path) -> None:
    """The temporary file's is no longer."""
    for name in ("n" * 251 + ".png", "ü" * 125 + ".webp"):
        with atomic_write(tmp_path / name) as part:
            part.write_text("x")
            assert part.suffix == Path(name).suffix
        assert (tmp_path / name).read_text() == "x"
    with pytest.raises(UserError, match="File name too long"):
        write_text(tmp_path / ("n" * 256), "x")


def test_a_signal_while_the_file_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = locks.attempt

    def attempt(path: Path, *, wait: float) -> ExitStack | None:
        held = real(path, wait=wait)
        signal.raise_signal(signal.SIGTERM)  # the lock file exists, and nobody knows of it yet
        return held

    monkeypatch.setattr(locks, "attempt", attempt)
    with pytest.raises(Stopped), raise_on_stop():
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_file_has_the_usual_permissions(tmp_path: Path, umask: int) -> None:
    """Although some writers make files that only their owner can read."""
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "x") as part:
            part.touch(0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~umask
