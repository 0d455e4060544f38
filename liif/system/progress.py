"""Progress in plain lines, so that a terminal, a pipe and a log all show it."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


quiet = False
"""Whether nothing is logged, as in all ranks of a training but rank 0."""


def log(text: str) -> None:
    """Log a line for the user at once."""
    if not quiet:
        with suppress(OSError, ValueError):  # a closed pipe or terminal, or a full disk
            print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A length of time for people: 42 s, 3 min 20 s, 5 h 12 min, 3 d 4 h."""
    seconds = max(0, round(seconds))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (large, of_large), (small, of_small) in pairwise(units):
        if seconds >= of_large:
            count, rest = divmod(seconds, of_large)
            return f"{count} {large}" + (f" {rest // of_small} {small}" if rest >= of_small else "")
    return f"{seconds} s"


class Progress:
    """Counts what is done and logs it with the time left, ever more rarely.

    Within ``with`` on a terminal it shows bars instead, one for the whole and one for the current
    piece. `closing` logs the number and the time at the end.
    """

    def __init__(self, title: str, total: int, *, unit: str, closing: bool = True) -> None:
        self.title, self.total, self.unit, self.closing = title, total, unit, closing
        self.done = 0
        self._start = time.monotonic()
        self._next = 5.0
        self._bars: Bars | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._bars = bars()
            self._bars.start()
            self._whole = self._bars.add_task(self.title, total=self.total)
            self._piece = self._bars.add_task("", total=1, visible=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def within(self, piece: str, fraction: float) -> None:
        """Show the progress of the current piece, from 0 to 1."""
        if self._bars is not None:
            self._bars.update(
                self._piece, description=piece, completed=fraction, visible=fraction < 1
            )
            self._bars.update(self._whole, completed=self.done + fraction)
            return
        elapsed = time.monotonic() - self._start
        if elapsed >= self._next and 0 < fraction < 1:
            self._log(elapsed, fraction, f" ({piece}: {fraction:.0%})")

    def advance(self) -> None:
        """Count one more."""
        self.done += 1
        elapsed = time.monotonic() - self._start
        if self._bars is not None:
            self._bars.update(self._whole, completed=self.done)
            self._bars.update(self._piece, visible=False)
        if self.done == self.total:
            if self.closing:
                log(f"{self.title}: {self.total} {self.unit} in {duration(elapsed)}")
        elif elapsed >= self._next and self._bars is None:
            self._log(elapsed, 0, "")

    def _log(self, elapsed: float, fraction: float, piece: str) -> None:
        done = self.done + fraction
        left = elapsed / done * (self.total - done)
        counted = f"{self.done}/{self.total} {self.unit}{piece}"
        log(f"{self.title}: {counted}, {duration(left)} left")
        self._next = elapsed + min(60, max(5, elapsed / 5))


def bars(*, counted: bool = True) -> Bars:
    """Bars that disappear in the end; the time left is computed, or the field `left`."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn() if counted else TextColumn("{task.fields[left]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
