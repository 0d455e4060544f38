"""A command killed at any moment, in any way: rerunning it gives the same results."""

from pathlib import Path

import pytest
from commands import COMMANDS
from killing import WAYS, Uninterrupted, interrupt, parts

_baselines: dict[str, Uninterrupted] = {}


def check(
    name: str,
    seed: int,
    ways: list[str],
    inputs: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    more = (request.getfixturevalue("address"),) if name == "download" else ()
    command = COMMANDS[name](inputs, *more)
    if name not in _baselines:
        folder = tmp_path / "uninterrupted"
        folder.mkdir()
        _baselines[name] = command.uninterrupted(folder, folder.with_suffix(".log"))
    baseline = _baselines[name]
    folder, log = tmp_path / "interrupted", tmp_path / "interrupted.log"
    folder.mkdir()
    story = interrupt(command, folder, log, seed, baseline, ways)
    print(f"\n{name}, seed {seed}: " + "; ".join(story))
    assert command.found(folder) == baseline.results, log.read_text()
    assert not parts(folder)


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_once(
    name: str, inputs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    check(name, 0, ["SIGKILL"], inputs, tmp_path, request)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_in_every_way(
    name: str, seed: int, inputs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    check(name, seed, list(WAYS), inputs, tmp_path, request)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(3, 23))
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_in_every_way_often(
    name: str, seed: int, inputs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    check(name, seed, list(WAYS), inputs, tmp_path, request)
