import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from liif import locks
from liif.errors import UserError
from liif.locks import hold, lock


def test_a_second_holder_is_refused_with_the_first_ones_number(tmp_path: Path) -> None:
    with lock(tmp_path, "the work"):
        code = (
            "from pathlib import Path; from liif.locks import lock\n"
            f"with lock(Path({str(tmp_path)!r}), 'the work'): pass"
        )
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"the work is running already (process {os.getpid()})" in other.stderr
    with lock(tmp_path, "the work"):
        pass


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from liif.locks import hold\n"
        f"hold(Path({str(tmp_path)!r}), 'x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    with lock(tmp_path, "x"):
        pass


def test_held_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[IO[str]] = []
    monkeypatch.setattr(locks, "_held", held)
    hold(tmp_path, "x")
    with pytest.raises(UserError, match="running already"), lock(tmp_path, "x"):
        pass
    held[0].close()
