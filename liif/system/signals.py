"""Stopping on request: save first, and say how to go on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from liif.system.progress import log

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, what machines and workflows send before they take a job away, a closed terminal."""


class Interrupted(Exception):
    """A job was asked to stop by a signal, and what it had done is saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class Stopped(BaseException):
    """A signal, on its way up through a job whose half-written files are taken away by it.

    No `Exception`, so that nothing takes it for a failure that work may go on after.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal_number = signal_number


@contextmanager
def raise_on_stop() -> Iterator[None]:
    """Within the block the signals that ask a job to stop raise `Stopped`."""

    def unwind(number: int, _: FrameType | None) -> NoReturn:
        for each in STOP_SIGNALS:  # a second one must not disturb the tidying up
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    with _handling(unwind):
        yield


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collects the signals that ask a job to stop; a second Ctrl-C stops it at once.

    Other signals come twice without meaning more: from a machine's manager and from the workflow.
    So they do after this block, while a job that was asked to stop comes to its end.
    """
    asked: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        asked.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[number])
        if len(asked) == 1:
            log("stopping after this step …")

    with _handling(remember) as before:
        try:
            yield asked
        finally:
            if asked:
                for number in {signal.SIGTERM, signal.SIGHUP} & before.keys():
                    if callable(
                        before[number]
                    ):  # `raise_on_stop`, which takes this away at its end
                        before[number] = _heeded


def _heeded(_: int, __: FrameType | None) -> None:
    """The job stops already."""


_Handler = Callable[[int, FrameType | None], Any] | int | None


@contextmanager
def _handling(handler: _Handler) -> Iterator[dict[int, _Handler]]:
    """Within the block the handler has those signals; the handlers before it."""
    # What is ignored stays so, as nohup and scripts wish.
    heeded = [s for s in STOP_SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    before: dict[int, _Handler] = {s: signal.signal(s, handler) for s in heeded}
    try:
        yield before
    finally:
        for number, old in before.items():
            signal.signal(number, old)
