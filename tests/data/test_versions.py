import os
import subprocess
import sys
from pathlib import Path

import pytest
from samples import Folder

from liif.data import versions
from liif.data.div2k import ARCHIVES
from liif.data.versions import fingerprint


def test_contents_count_not_modification_times(folder: Folder, tmp_path: Path) -> None:
    path, cache = folder("set", a=(4, 4), b=(5, 5)), tmp_path / "cache.json"
    first = fingerprint(path, cache)
    os.utime(path / "a.png", (1, 1))
    assert fingerprint(path, cache) == first
    (path / "a.png").write_bytes((path / "b.png").read_bytes())
    changed = fingerprint(path, cache)
    assert changed != first
    (path / "c.png").write_bytes(b"")
    assert fingerprint(path, cache) not in (first, changed)
    (path / "c.png").unlink()
    assert fingerprint(path, cache) == changed
    (path / "a.png").rename(path / "d.png")
    assert fingerprint(path, cache) != changed


def test_unchanged_files_are_not_read_again(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = folder("set", a=(4, 4)), tmp_path / "cache.json"
    first = fingerprint(path, cache)
    monkeypatch.setattr(versions, "digests", lambda _: pytest.fail("read again"))
    assert fingerprint(path, cache) == first


def test_relative_and_absolute_paths_share_the_cache(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = folder("set", a=(4, 4)), tmp_path / "cache.json"
    first = fingerprint(path, cache)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(versions, "digests", lambda _: pytest.fail("read again"))
    assert fingerprint(path.relative_to(tmp_path), cache) == first


def test_missing_archives_have_their_published_version(tmp_path: Path) -> None:
    name = "DIV2K_valid_HR"
    missing = fingerprint(tmp_path / f"{name}.zip", tmp_path / "cache.json")
    assert missing == ARCHIVES[name].sha256
    assert fingerprint(tmp_path / "other.zip", tmp_path / "cache.json") == "missing"


def test_a_damaged_cache_is_replaced(folder: Folder, tmp_path: Path) -> None:
    path, cache = folder("set", a=(4, 4)), tmp_path / "cache.json"
    first = fingerprint(path, cache)
    cache.write_text("{")
    assert fingerprint(path, cache) == first


def test_several_processes_at_once(folder: Folder, tmp_path: Path) -> None:
    path, cache = folder("set", **{f"p{i}": (8, 8) for i in range(20)}), tmp_path / "cache.json"
    code = (
        "import sys; from pathlib import Path; from liif.data.versions import fingerprint\n"
        "sys.stdin.readline(); print(fingerprint(Path(sys.argv[1]), Path(sys.argv[2])))"
    )
    words = [sys.executable, "-c", code, str(path), str(cache)]
    jobs = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for job in jobs:
        assert job.stdin is not None
        job.stdin.write("go\n")
        job.stdin.flush()
    printed = {job.communicate()[0] for job in jobs}
    assert {job.returncode for job in jobs} == {0}
    assert printed == {f"{fingerprint(path, cache)}\n"}
