import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from liif.system import locks
from liif.system.errors import UserError
from liif.system.files import atomic_write
from liif.system.locks import hold, lock, lock_path


def test_a_second_holder_is_refused_with_the_first_ones_number(tmp_path: Path) -> None:
    with lock(tmp_path / "lock", "the work"):
        code = (
            "from pathlib import Path; from liif.system.locks import lock\n"
            f"with lock(Path({str(tmp_path / 'lock')!r}), 'the work'): pass"
        )
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"the work is running already (process {os.getpid()})" in other.stderr
    with lock(tmp_path / "lock", "the work"):
        pass


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from liif.system.locks import hold\n"
        f"hold(Path({str(tmp_path / 'lock')!r}), 'x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    with lock(tmp_path / "lock", "x"):
        pass


def test_held_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[IO[str]] = []
    monkeypatch.setattr(locks, "_held", held)
    hold(tmp_path / "lock", "x")
    with pytest.raises(UserError, match="running already"), lock(tmp_path / "lock", "x"):
        pass
    held[0].close()


def test_the_lock_file_goes_with_its_work(tmp_path: Path) -> None:
    path = lock_path(tmp_path / "out.pack")
    with lock(path, "x"):
        assert path.name == ".out.pack.lock"
        assert path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_removed_meanwhile_is_no_lock(tmp_path: Path) -> None:
    """A waiting process must not hold the file that the one before it has deleted."""
    path = tmp_path / "lock"
    with lock(path, "x"):
        old = path.open("a+")
        path.unlink()
        path.touch()
        assert not locks._is_current(old, path)
        old.close()


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    """The second is refused, and neither spoils what the first writes."""
    path = tmp_path / "x.txt"
    code = (
        "import sys; from pathlib import Path; from liif.system.files import write_text\n"
        f"write_text(Path({str(path)!r}), 'the other')"
    )
    with atomic_write(path) as part:
        part.write_text("the first")
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "is being written by another process" in other.stderr
    assert path.read_text() == "the first"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.read_text() == "the other"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]
