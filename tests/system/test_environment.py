import subprocess
from pathlib import Path

import pytest

from liif import __version__
from liif.system import environment


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "liif"
    code.mkdir()
    (code / "environment.py").write_text("1")
    (code / "system").mkdir()
    monkeypatch.setattr(environment, "__file__", str(code / "system" / "environment.py"))
    unknown = {"mlflow.source.git.commit": "unknown", "git.dirty": "unknown"}
    assert environment.commit() == unknown
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert environment.commit() == {"mlflow.source.git.commit": head, "git.dirty": "false"}
    (code / "environment.py").write_text("2")
    assert environment.commit()["git.dirty"] == "true"
    # Installed below another project, that one's commit says nothing of this code.
    deeper = code / "site-packages" / "liif"
    deeper.mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(deeper / "system" / "environment.py"))
    assert environment.commit() == unknown


def test_versions_of_what_computes() -> None:
    versions = environment.versions()
    assert versions["version.liif"] == __version__
    assert versions["version.torch"].startswith("2.")
