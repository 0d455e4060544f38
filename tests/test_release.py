"""Files for a release: they agree on the version, and name what exists."""

import re
import tarfile
from pathlib import Path
from subprocess import run
from sys import executable

import pytest
import yaml

from liif import __version__

ROOT = Path(__file__).parent.parent


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def targets(text: str) -> set[str]:
    """Make's targets in lines that call it."""
    return set(re.findall(r"^[^#\n]*?\bmake ([a-z][a-z-]*)", text, re.MULTILINE))


def test_version_and_date_of_the_release_agree() -> None:
    versions = re.findall(r"^## (\S+) – (\d{4}-\d\d-\d\d)$", text_of("CHANGELOG.md"), re.MULTILINE)
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert versions[0] == (__version__, str(citation["date-released"]))
    assert citation["version"] == __version__
    assert 'version = {attr = "liif.__version__"}' in text_of("pyproject.toml")


def test_make_targets_that_contributing_names_exist() -> None:
    known = set(re.findall(r"^([a-z][a-z-]*):", text_of("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", text_of("CONTRIBUTING.md"), re.MULTILINE))
    assert len(named) > 5
    assert named | targets(text_of(".ci/run")) <= known


@pytest.mark.slow
def test_the_source_archive_holds_the_package_alone(tmp_path: Path) -> None:
    """No results, data or records of this folder, and what a wheel needs."""
    build = [executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path)]
    run([*build, str(ROOT)], check=True, capture_output=True)
    (archive,) = tmp_path.iterdir()
    assert archive.name == f"liif-{__version__}.tar.gz"
    assert archive.stat().st_size < 30e6
    with tarfile.open(archive) as tar:
        names = [name.partition("/")[2] for name in tar.getnames()]
    assert {name.partition("/")[0] for name in names if name} == {
        *("CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md"),
        *("liif", "liif.egg-info", "pyproject.toml", "setup.cfg"),
    }
    run([executable, "-m", "twine", "check", "--strict", str(archive)], check=True)
