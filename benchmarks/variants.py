"""Implementations that are compared, each in its own process, as its users would run it.

So the settings of one process, such as keeping freed memory, do not affect the others.

    python benchmarks/variants.py MODULE WORD...

prepares what the module measures, runs it once for each line on standard input, and prints the
numbers.
"""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

RUNS = 3
Numbers = dict[str, float]
Row = dict[str, Any]


def main() -> None:
    module, *words = sys.argv[1:]
    once: Callable[[], Numbers] = importlib.import_module(module).prepare(*words)
    for _ in sys.stdin:
        with redirect_stdout(sys.stderr):
            numbers = once()
        print(json.dumps({**numbers, "peak_mb": round(status_mb("VmHWM"))}), flush=True)


class Variant:
    """An implementation in its own process."""

    def __init__(self, module: str, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, module, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self) -> Numbers:
        """Run once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("once", file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self._process.args[2:]))} failed")  # type: ignore[index]
        numbers: Numbers = json.loads(line)
        return numbers

    def close(self) -> None:
        self._process.communicate()


def once(module: str, *words: str) -> Numbers:
    """The numbers of a single run in a new process."""
    variant = Variant(module, *words)
    try:
        return variant()
    finally:
        variant.close()


def compare(module: str, names: Sequence[str], *words: str, runs: int = RUNS) -> dict[str, Numbers]:
    """Medians of the numbers of each, run in turn after one warm-up of each."""
    variants = {name: Variant(module, name, *words) for name in names}
    try:
        rounds = [{name: run() for name, run in variants.items()} for _ in range(runs + 1)][1:]
    finally:
        for variant in variants.values():
            variant.close()
    return {name: medians([each[name] for each in rounds]) for name in names}


def medians(runs: Sequence[Numbers]) -> Numbers:
    return {key: statistics.median(numbers[key] for numbers in runs) for key in runs[0]}


def compared(what: str, results: dict[str, Numbers], gflops: Numbers) -> Row:
    """A row about the published form and ours in each precision; rates are ours."""

    def each(key: str) -> Numbers:
        return {name: round(n[key], 3) for name, n in results.items() if key in n}

    seconds = each("seconds")
    row: Row = {"what": what, "seconds": seconds}
    if "published" in seconds:
        ours = {name: s for name, s in seconds.items() if name != "published"}
        row["ratio"] = {name: round(seconds["published"] / s, 2) for name, s in ours.items()}
    row["gflops"] = {name: round(rate, 1) for name, rate in gflops.items()}
    return {**row, "peak_mb": each("peak_mb"), "encoding_seconds": each("encoding_seconds")}


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def status_mb(key: str) -> float:
    """A value of the process's status; unlike rusage, its peak excludes the parent process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no {key} in /proc/self/status")


if __name__ == "__main__":
    main()
