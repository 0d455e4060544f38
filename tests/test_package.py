import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import liif


def test_public_names() -> None:
    assert callable(liif.imresize)
    assert callable(liif.load)
    assert set(dir(liif)) == set(liif.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = liif.nothing


@pytest.mark.parametrize(
    "first", ["liif.inference.upscale", "liif.training.train", "liif.cli", "liif.images.imresize"]
)
def test_names_do_not_depend_on_what_was_imported_before(first: str) -> None:
    code = f"import {first}, liif; assert callable(liif.imresize) and callable(liif.load)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_declared_versions_are_those_that_were_tested() -> None:
    """The parts need recent versions, so each floor is the tested release."""
    root = Path(__file__).parent.parent
    lines = (root / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = [re.sub(r"\[\w+\]", "", text).lower() for group in groups for text in group]
    floors = dict(text.split(">=") for text in wanted if ">=" in text)
    assert "torch" in floors
    tested = {name: ".".join(pinned[name].split(".")[:2]) for name in floors}
    assert floors == tested
