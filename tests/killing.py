"""Killing a command at seeded moments, in every way, until it has come to its end."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import psutil

Results = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that can be run in many folders that are alike."""

    words: Callable[[Path], Sequence[str]]
    """What to run in a folder."""
    results: Sequence[str]
    """Patterns of the files that it ends in, which must be the same byte for byte."""
    prepare: Callable[[Path], None] = lambda _: None
    """Puts into an empty folder what the command needs."""
    says: str = ""
    """What it says when it is asked to stop by SIGTERM; nothing where it cannot say anything."""
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, folder: Path, log: Path) -> psutil.Popen:
        """Start it in a process group of its own."""
        with log.open("a") as file:
            return psutil.Popen(
                list(self.words(folder)),
                cwd=folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )

    def undisturbed(self, folder: Path, log: Path) -> tuple[Results, float, float]:
        """What it ends in, and between which moments (s) it writes files."""
        self.prepare(folder)
        seen, changes = files(folder), list[float]()
        start = time.monotonic()
        process = self.start(folder, log)
        while process.poll() is None:
            now = files(folder)
            if now != seen:
                seen, changes = now, [*changes, time.monotonic() - start]
            time.sleep(0.005)
        assert process.returncode == 0, log.read_text()
        return self.found(folder), changes[0], changes[-1]

    def found(self, folder: Path) -> Results:
        """The results with their sha256."""
        paths = {p for pattern in self.results for p in folder.glob(pattern)}
        assert paths
        return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in paths}


def files(folder: Path) -> set[tuple[str, int]]:
    """What is there, so that a change can be told; without what only says that it runs."""
    status = set()
    for where, _, names in os.walk(folder):  # which minds no folder that goes meanwhile
        for name in names:
            if not name.endswith((".lock", ".log")):
                with suppress(FileNotFoundError):
                    path = Path(where) / name
                    status.add((str(path), path.stat().st_mtime_ns))
    return status


def parts(folder: Path) -> set[str]:
    """Files that are half-written, of ours and of libraries."""
    return {str(p) for pattern in (".*.part*", ".tmp*") for p in folder.rglob(pattern)}


def kill_one(process: psutil.Process) -> None:
    process.kill()


def kill_tree(process: psutil.Process) -> None:
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            each.kill()


def ask(process: psutil.Process) -> None:
    process.terminate()


WAYS = {"SIGKILL": kill_one, "SIGKILL of the tree": kill_tree, "SIGTERM": ask}


def disturb(
    command: Command, folder: Path, log: Path, seed: int, first: float, last: float
) -> list[str]:
    """Kill it once in each way, and let it come to its end; what happened, a line each."""
    command.prepare(folder)
    rng = random.Random(seed)
    ways = rng.sample(sorted(WAYS), len(WAYS))
    # From shortly before there is anything until all is there; less is left after each.
    moments = [rng.uniform(0.8 * first, last) for _ in ways]
    story: list[str] = []
    while not _kills(command, folder, log, dict(zip(ways, moments, strict=True)), story):
        # It came to its end before each of them: faster than undisturbed, on a machine less busy.
        assert len(story) < 30, story
        moments = [0.7 * moment for moment in moments]
        shutil.rmtree(folder)
        folder.mkdir()
        command.prepare(folder)
    process = command.start(folder, log)
    assert process.wait(300) == 0, log.read_text()
    return story


def _kills(
    command: Command, folder: Path, log: Path, ways: dict[str, float], story: list[str]
) -> int:
    """Kill it in each way at its moment; how often it was not at its end by then."""
    landed = 0
    for way, moment in ways.items():
        before = parts(folder)  # what SIGKILL left is only taken away when that file is made
        said = log.stat().st_size if log.exists() else 0
        process = command.start(folder, log)
        try:
            code = process.wait(moment)
        except psutil.TimeoutExpired:
            landed += 1
            WAYS[way](process)
            code = process.wait(120)
        text = log.read_bytes()[said:].decode()
        story.append(f"{way} after {moment:.2f} s: {code}")
        if way == "SIGTERM" and code == 128 + signal.SIGTERM:
            assert command.says in text, text
            assert parts(folder) <= before
    return landed
