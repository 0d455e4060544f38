"""Progress in plain lines, so that a terminal, a pipe and a log all show it."""

from __future__ import annotations

import sys
import time
from contextlib import suppress


def say(text: str) -> None:
    """A line for the user, at once; work goes on when nobody reads it any more."""
    with suppress(BrokenPipeError):
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
    """Counts what is done and says so with the time left: soon at first, then ever more rarely."""

    def __init__(self, title: str, total: int, *, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = 0
        self._start = time.monotonic()
        self._next = 5.0

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        elapsed = time.monotonic() - self._start
        if self.done == self.total:
            say(f"{self.title}: {self.total} {self.unit} in {duration(elapsed)}")
        elif elapsed >= self._next:
            left = elapsed / self.done * (self.total - self.done)
            say(f"{self.title}: {self.done}/{self.total} {self.unit}, {duration(left)} left")
            self._next = elapsed + min(60, max(5, elapsed / 5))
