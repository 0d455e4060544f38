"""Kill a command at seeded moments, in every way, and run it to its end."""

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
from typing import NamedTuple

import psutil

Results = dict[str, str]
"""Result file → its sha256."""


class Uninterrupted(NamedTuple):
    """A run without interruption."""

    results: Results
    first_write: float
    """Seconds from the start."""
    last_write: float


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that can be run in any folder prepared for it."""

    words: Callable[[Path], Sequence[str]]
    """The command line for a folder."""
    results: Sequence[str]
    """Patterns of its result files, which must be the same byte for byte."""
    prepare: Callable[[Path], None] = lambda _: None
    """Fills an empty folder with the command's inputs."""
    stop_message: str = ""
    """Printed on SIGTERM; empty where nothing is promised."""
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

    def uninterrupted(self, folder: Path, log: Path) -> Uninterrupted:
        """Run it once, recording when it writes files."""
        self.prepare(folder)
        seen, changes = files(folder), list[float]()
        start = time.monotonic()
        process = self.start(folder, log)
        while process.poll() is None:
            now = files(folder)
            if now != seen:
                seen, changes = now, [*changes, time.monotonic() - start]
            # As exact as needed, and rare enough not to slow the command down.
            time.sleep(0.005 + 0.02 * (time.monotonic() - start))
        assert process.returncode == 0, log.read_text()
        return Uninterrupted(self.found(folder), changes[0], changes[-1])

    def found(self, folder: Path) -> Results:
        """The result files with their sha256."""
        paths = {p for pattern in self.results for p in folder.glob(pattern)}
        assert paths
        return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in paths}


def files(folder: Path) -> set[tuple[str, int]]:
    """Files and their modification times, except locks and logs."""
    status = set()
    for where, _, names in os.walk(folder):  # tolerates folders that vanish meanwhile
        for name in names:
            if not name.endswith((".lock", ".log")):
                with suppress(FileNotFoundError):
                    path = Path(where) / name
                    status.add((str(path), path.stat().st_mtime_ns))
    return status


def parts(folder: Path) -> set[str]:
    """Partial files, of ours and of libraries."""
    return {str(p) for pattern in (".*.part*", ".tmp*") for p in folder.rglob(pattern)}


def kill_one(process: psutil.Process) -> None:
    process.kill()


def kill_tree(process: psutil.Process) -> None:
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            each.kill()


def terminate(process: psutil.Process) -> None:
    process.terminate()


WAYS = {"SIGKILL": kill_one, "SIGKILL of the tree": kill_tree, "SIGTERM": terminate}


def interrupt(
    command: Command,
    folder: Path,
    log: Path,
    seed: int,
    baseline: Uninterrupted,
    ways: Sequence[str] = tuple(WAYS),
) -> list[str]:
    """Kill it once in each way, then run it to its end; returns a line for each kill."""
    command.prepare(folder)
    rng = random.Random(seed)
    ways = rng.sample(sorted(ways), len(ways))
    # From shortly before the first write to the last one; less work is left after each kill.
    moments = [rng.uniform(0.8 * baseline.first_write, baseline.last_write) for _ in ways]
    story: list[str] = []
    while not _kill_at(command, folder, log, dict(zip(ways, moments, strict=True)), story):
        # It ended before every moment: the machine was busier during the baseline.
        assert len(story) < 30, story
        moments = [0.7 * moment for moment in moments]
        shutil.rmtree(folder)
        folder.mkdir()
        command.prepare(folder)
    process = command.start(folder, log)
    assert process.wait(300) == 0, log.read_text()
    return story


def _kill_at(
    command: Command, folder: Path, log: Path, moments: dict[str, float], story: list[str]
) -> int:
    """Kill it in each way at its moment; returns how many kills came before its end."""
    landed = 0
    for way, moment in moments.items():
        before = parts(folder)  # SIGKILL leaves partial files, removed when the file is written
        printed = log.stat().st_size if log.exists() else 0
        process = command.start(folder, log)
        try:
            code = process.wait(moment)
        except psutil.TimeoutExpired:
            landed += 1
            WAYS[way](process)
            code = process.wait(120)
        text = log.read_bytes()[printed:].decode()
        story.append(f"{way} after {moment:.2f} s: {code}")
        if way == "SIGTERM" and code == 128 + signal.SIGTERM:
            assert command.stop_message in text, text
            assert parts(folder) <= before
    return landed
