from pathlib import Path

import pytest

from liif.system.project import PROJECT, project


def test_the_projects_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert project() == tmp_path
    monkeypatch.delenv(PROJECT)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert project() == below
    (tmp_path / "a" / "Snakefile").touch()
    assert project() == tmp_path / "a"
    (below / "mlflow.db").touch()
    assert project() == below
