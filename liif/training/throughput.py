"""How a training goes: steps per second, and lines with the time left."""

from __future__ import annotations

import time

from liif.config import Training
from liif.system.progress import duration, log


class Pace:
    """Measures a training and says how it goes: soon at first, then ever more rarely.

    Parameters
    ----------
    name
        The model's.
    settings, per_epoch
        The recipe, and its steps in an epoch.
    step
        Steps that were done before this run.
    on_cpu
        Whether a long training should be announced, with what else could be done.
    """

    def __init__(
        self, name: str, settings: Training, per_epoch: int, step: int, *, on_cpu: bool
    ) -> None:
        self._name, self._settings, self._per_epoch = name, settings, per_epoch
        self._total = settings.epochs * per_epoch
        self._first = self._step = step
        self._announce = on_cpu
        self._start = self._lap = time.monotonic()
        self._next = 5.0

    @property
    def patches_per_second(self) -> float:
        """In this run so far."""
        elapsed = max(time.monotonic() - self._start, 1e-9)
        return (self._step - self._first) / elapsed * self._settings.batch

    def step(self, loss: float) -> None:
        """A step is done."""
        self._step += 1
        if time.monotonic() - self._start >= self._next:
            self.log(loss)
        if self._announce and self._step - self._first == 5:
            self._announce_length()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        seconds, self._lap = now - self._lap, now
        return seconds

    def log(self, loss: float, psnr: float | None = None) -> None:
        """A line with the loss, with validation at an epoch's end, and the time left."""
        epoch = -(-self._step // self._per_epoch)
        measured = f"loss {loss:.4f}" + (f", validation {psnr:.2f} dB" if psnr is not None else "")
        log(
            f"{self._name}: epoch {epoch}/{self._settings.epochs}, "
            f"step {self._step}/{self._total}, {measured}, "
            f"{self.patches_per_second:.1f} patches/s, {duration(self._left)} left"
        )
        elapsed = time.monotonic() - self._start
        self._next = elapsed + min(60, max(5, elapsed / 5))

    @property
    def _left(self) -> float:
        steps = self._total - self._step
        return steps * self._settings.batch / max(self.patches_per_second, 1e-9)

    def _announce_length(self) -> None:
        if self._left > 12 * 3600:
            log(
                f"{self._name}: without a GPU this training takes about {duration(self._left)}, by "
                "its first steps. Alternatives: run it on a machine with a GPU; give weights "
                "instead (`models: NAME: {weights: bundled}`); or see the small experiment, "
                "`make demo`. It can be stopped and goes on later."
            )
