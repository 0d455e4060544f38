"""Whatever is killed, whenever: the same command again ends in the same results."""

from pathlib import Path

import pytest
from commands import COMMANDS
from killing import Results, disturb, parts

FEW, MANY = range(3), range(3, 23)
"""Seeds of `make test`, and of `make test-slow`."""


_known: dict[str, tuple[Results, float, float]] = {}


def check(
    name: str, seed: int, inputs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    more = (request.getfixturevalue("address"),) if name == "download" else ()
    command = COMMANDS[name](inputs, *more)
    if name not in _known:
        (tmp_path / "undisturbed").mkdir()
        _known[name] = command.undisturbed(tmp_path / "undisturbed", tmp_path / "undisturbed.log")
    results, first, last = _known[name]
    folder, log = tmp_path / "disturbed", tmp_path / "disturbed.log"
    folder.mkdir()
    story = disturb(command, folder, log, seed, first, last)
    print(f"\n{name}, seed {seed}: " + "; ".join(story))
    assert command.found(folder) == results, log.read_text()
    assert not parts(folder)


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_in_every_way(
    name: str, seed: int, inputs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    check(name, seed, inputs, tmp_path, request)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_in_every_way_often(
    name: str, seed: int, inputs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    check(name, seed, inputs, tmp_path, request)
