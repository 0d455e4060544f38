"""Bands of pictures computed ahead in a thread, so that a GPU computes while a CPU writes files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Condition
from types import TracebackType

from liif.images.channels import Band
from liif.system.signals import postponed

MAX_BYTES = 256 << 20
"""Size of bands waiting to be written above which a picture's computation pauses."""


class Ahead:
    """Computes pictures in a thread, one after the other.

    At the end of a `with` block the thread ends too, after the band that it is computing.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._pictures: list[AheadBands] = []

    def start(self, bands: Iterator[Band]) -> AheadBands:
        """Compute these bands after those of all earlier pictures; returns them."""
        ahead = AheadBands(bands)
        self._pictures = [picture for picture in self._pictures if not picture.closed]
        self._pictures.append(ahead)
        with postponed():  # or a thread that is just starting would not be waited for
            self._thread.submit(ahead.compute)
        return ahead

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for picture in self._pictures:
            picture.close()
        self._thread.shutdown()


class AheadBands(Iterator[Band]):
    """The bands of one picture, and the error that computing them has ended with."""

    def __init__(self, bands: Iterator[Band]) -> None:
        self._bands = bands
        self._changed = Condition()
        self._ready: deque[Band] = deque()
        self._bytes = 0
        self._error: BaseException = StopIteration()
        self._finished = self.closed = False

    def compute(self) -> None:
        """Compute the bands until they are closed; runs in the thread."""
        try:
            while not self.closed:
                band = next(self._bands)
                with self._changed:
                    self._ready.append(band)
                    self._bytes += band[1].nbytes
                    self._changed.notify()
                    self._changed.wait_for(lambda: self._bytes <= MAX_BYTES or self.closed)
        except BaseException as error:  # the end of the bands, too
            self._error = error
        with self._changed:
            self._finished = True
            self._changed.notify()

    def __next__(self) -> Band:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._finished)
            if not self._ready:
                raise self._error
            band = self._ready.popleft()
            self._bytes -= band[1].nbytes
            self._changed.notify()
            return band

    def close(self) -> None:
        """Compute no more of them."""
        with self._changed:
            self.closed = True
            self._changed.notify()
