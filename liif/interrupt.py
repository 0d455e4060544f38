"""Stopping on request: save first, and say how to go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from liif.progress import say


class Interrupted(Exception):
    """A job was asked to stop by a signal, and what it had done is saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


@contextmanager
def stop_asked() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying by them; a second one kills as usual."""
    asked: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, signal.default_int_handler)
        say("stopping after this step …")

    previous = {s: signal.signal(s, remember) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
