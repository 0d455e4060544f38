"""Progress in plain lines, so that a terminal, a pipe and a log all show it."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


quiet = False
"""Whether nothing is said, since another process of the same work does."""


def log(text: str) -> None:
    """A line for the user, at once; work goes on when nobody reads it any more.

    Be it that a pipe was closed, a terminal is gone, or the disk of a log is full.
    """
    if quiet:
        return
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A length of time for people: 42 s, 3 min 20 s, 5 h 12 min, 3 d 4 h."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    for limit, large, small, names in (
        (3600, 60, 1, ("min", "s")),
        (86400, 3600, 60, ("h", "min")),
        (float("inf"), 86400, 3600, ("d", "h")),
    ):
        if seconds < limit:
            first, rest = divmod(seconds, large)
            return f"{first} {names[0]}" + (f" {rest // small} {names[1]}" if rest // small else "")
    raise AssertionError


class Progress:
    """Counts what is done and says so with the time left.

    In plain lines, soon at first, then ever more rarely; as bars where used with ``with`` on a
    terminal, one for the whole and one for the current piece.

    Parameters
    ----------
    closing
        Say at the end how many there were; otherwise whoever counts says more of them.
    """

    def __init__(self, title: str, total: int, *, unit: str, closing: bool = True) -> None:
        self.title, self.total, self.unit, self.closing = title, total, unit, closing
        self.done = 0
        self._start = time.monotonic()
        self._next = 5.0
        self._bars: Bars | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._bars = _bars()
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
        """Seconds since it began."""
        return time.monotonic() - self._start

    def within(self, piece: str, fraction: float) -> None:
        """How far the current piece is, from 0 to 1."""
        if self._bars is not None:
            self._bars.update(
                self._piece, description=piece, completed=fraction, visible=fraction < 1
            )
            self._bars.update(self._whole, completed=self.done + fraction)
            return
        elapsed = time.monotonic() - self._start
        if elapsed >= self._next and 0 < fraction < 1:
            self._say(elapsed, fraction, f" ({piece}: {fraction:.0%})")

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        elapsed = time.monotonic() - self._start
        if self._bars is not None:
            self._bars.update(self._whole, completed=self.done)
            self._bars.update(self._piece, visible=False)
        if self.done == self.total:
            if self.closing:
                log(f"{self.title}: {self.total} {self.unit} in {duration(elapsed)}")
        elif elapsed >= self._next and self._bars is None:
            self._say(elapsed, 0, "")

    def _say(self, elapsed: float, fraction: float, piece: str) -> None:
        done = self.done + fraction
        left = elapsed / done * (self.total - done)
        counted = f"{self.done}/{self.total} {self.unit}{piece}"
        log(f"{self.title}: {counted}, {duration(left)} left")
        self._next = elapsed + min(60, max(5, elapsed / 5))


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
