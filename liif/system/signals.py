"""Stopping on request: jobs save first and say how to resume."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from liif.system.progress import log

STOP_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
)
"""Ctrl-C, the request of a cluster or a workflow, a closed terminal."""


class Interrupted(Exception):
    """A signal asked a job to stop, and the job has saved its progress."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class Stopped(BaseException):
    """A signal that unwinds a job, which removes its half-written files.

    Not an `Exception`, so that no handler mistakes it for a failure to recover from.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal_number = signal_number


@contextmanager
def raise_on_stop() -> Iterator[None]:
    """Raise `Stopped` for the signals that ask a job to stop, within the block."""

    def unwind(number: int, _: FrameType | None) -> NoReturn:
        for each in STOP_SIGNALS:  # a second one must not disturb the clean-up
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    with _handling(unwind):
        yield


@contextmanager
def postponed() -> Iterator[None]:
    """Postpone the signals that ask a job to stop until the end of the block."""
    if threading.current_thread() is not threading.main_thread():  # which alone handles signals
        yield
        return
    arrived: list[int] = []
    with _handling(lambda number, _: arrived.append(number)):
        yield
    for number in arrived:
        signal.raise_signal(number)


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect the signals that ask a job to stop; a second Ctrl-C stops it at once.

    Other signals may come twice, from a cluster and from the workflow, and mean no more than once.
    That holds after this block, too, while a job that was asked to stop ends.
    """
    asked: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        asked.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[number])
        if len(asked) == 1:
            log("stopping after the steps under way …")

    with _handling(remember) as before:
        try:
            yield asked
        finally:
            for number in before.keys() - {signal.SIGINT}:
                if asked and callable(before[number]):  # `raise_on_stop`, which restores its own
                    before[number] = lambda *_: None  # the job is stopping already


_Handler = Callable[[int, FrameType | None], Any] | int | None


@contextmanager
def _handling(handler: _Handler) -> Iterator[dict[int, _Handler]]:
    """Handle those signals within the block; yields the handlers to restore after it."""
    # An ignored signal stays ignored, as nohup and scripts wish.
    heeded = [s for s in STOP_SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    before: dict[int, _Handler] = {s: signal.signal(s, handler) for s in heeded}
    try:
        yield before
    finally:
        for number, old in before.items():
            signal.signal(number, old)
