import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from liif.system import locks
from liif.system.errors import UserError
from liif.system.files import atomic_write
from liif.system.locks import hold, lock, lock_path


def test_a_second_holder_is_refused_naming_the_first(tmp_path: Path) -> None:
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
    held: list[ExitStack] = []
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


def test_a_removed_lock_file_is_no_lock(tmp_path: Path) -> None:
    """A process that opened the file before its holder removed it must not hold that file."""
    path = tmp_path / "lock"
    code = (
        "import os; from pathlib import Path; from filelock._unix import UnixFileLock as L\n"
        f"path = Path({str(path)!r}); real = L._open_lock_file\n"
        "def remove(self):\n"
        "    opened = real(self); L._open_lock_file = real; path.unlink(); return opened\n"
        "L._open_lock_file = remove\n"
        "from liif.system.locks import attempt\n"
        "print(attempt(path)); held = attempt(path); print(path.exists(), held is not None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "True", "True"]


def test_a_holder_on_another_machine_is_named(tmp_path: Path) -> None:
    """Its process number means nothing here: whatever has it here is left alone."""
    path = tmp_path / "lock"
    with subprocess.Popen(["sleep", "60"]) as bystander:
        holder = {"pid": bystander.pid, "host": "node7", "started": 1.0, "workflow": "1@node7"}
        with lock(path, "the work"):
            path.write_text(json.dumps(holder))
            with pytest.raises(UserError) as caught, lock(path, "the work"):
                pass
        assert bystander.poll() is None
        bystander.kill()
    text = f"the work is running already (process {bystander.pid} on node7); wait for it or stop it"
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changed", [{"started": 1.0}, {"host": "node7"}, {"workflow": ""}])
def test_only_an_orphan_of_this_machine_is_asked_to_stop(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    """The number of a holder on another machine, or of one that ended, may be anyone's here."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    with subprocess.Popen(["sleep", "60"]) as bystander:
        host = socket.gethostname()
        holder = {
            "pid": bystander.pid,
            "host": host,
            "started": psutil.Process(bystander.pid).create_time(),
            "workflow": f"{dead.pid}@{host}",
        }
        path = tmp_path / "lock"
        with lock(path, "the work"):
            path.write_text(json.dumps({**holder, **changed}))
            with pytest.raises(UserError, match="running already"), lock(path, "the work"):
                pass
            assert bystander.poll() is None
            path.write_text(json.dumps(holder))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(locks, "_PATIENCE", 0.2)
                with pytest.raises(UserError, match="running already"), lock(path, "the work"):
                    pass
        assert bystander.wait(10) == -signal.SIGTERM


def test_a_lock_of_liif_0_1_0_is_respected(tmp_path: Path) -> None:
    with lock(tmp_path / "lock", "the work"):
        (tmp_path / "lock").write_text("4711 1@node7")
        with (
            pytest.raises(UserError, match=r"running already \(process 4711\)"),
            lock(tmp_path / "lock", "the work"),
        ):
            pass


def test_forks_do_not_hold_the_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from liif.system.locks import hold\n"
        f"hold(Path({str(tmp_path / 'lock')!r}), 'x')\n"
        "if os.fork() == 0:\n"
        "    print(flush=True)\n"
        "time.sleep(60)"
    )
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the fork runs
        process.kill()
        process.wait()
        try:
            with lock(tmp_path / "lock", "x"):
                pass
        finally:
            os.killpg(process.pid, signal.SIGKILL)


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
