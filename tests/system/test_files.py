import os
import signal
from pathlib import Path
from typing import IO

import pytest

from liif.system import files, locks
from liif.system.errors import UserError
from liif.system.files import atomic_write, write_json
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


def test_equal_values_are_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    full = Path("/dev/full")  # every write to it fails as on a full disk
    with pytest.raises(UserError, match="disk is full"), atomic_write(tmp_path / "x"):
        full.write_text("x" * 100_000)


def test_a_folder_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), atomic_write(tmp_path / "file" / "x"):
        pass


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    """The temporary file's is no longer."""
    for name in ("n" * 251 + ".png", "ü" * 125 + ".webp"):
        with atomic_write(tmp_path / name) as part:
            part.write_text("x")
            assert part.suffix == Path(name).suffix
        assert (tmp_path / name).read_text() == "x"
    with pytest.raises(UserError, match="File name too long"), atomic_write(tmp_path / ("n" * 256)):
        pass


def test_a_signal_while_the_file_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = locks.attempt

    def attempt(path: Path) -> IO[str] | None:
        claim = real(path)
        signal.raise_signal(signal.SIGTERM)  # the file is there, and nobody knows of it yet
        return claim

    monkeypatch.setattr(files, "attempt", attempt)
    with pytest.raises(Stopped), raise_on_stop():
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
