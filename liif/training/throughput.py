"""Training throughput: patches per second, and progress lines with the time left."""

from __future__ import annotations

import time

from liif.recipe import Training
from liif.system.progress import duration, log


class Throughput:
    """Measures a training from a step on, and logs its progress ever more rarely.

    On a CPU it announces a long training together with its alternatives.
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
        """The average of this run."""
        elapsed = max(time.monotonic() - self._start, 1e-9)
        return (self._step - self._first) / elapsed * self._settings.batch

    @property
    def _seconds_left(self) -> float:
        patches = (self._total - self._step) * self._settings.batch
        return patches / max(self.patches_per_second, 1e-9)

    def step(self, loss: float) -> None:
        """Count a step."""
        self._step += 1
        if time.monotonic() - self._start >= self._next:
            self.log(loss)
        if self._announce and self._step - self._first == 5 and self._seconds_left > 12 * 3600:
            log(
                f"{self._name}: without a GPU this training takes about "
                f"{duration(self._seconds_left)}, judging from its first steps. Alternatives: run "
                "it on a machine with a GPU; use existing weights instead (`models: NAME: "
                "{weights: bundled}`); or try the small experiment, `make demo`. It can be stopped "
                "and resumed at any time."
            )

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        seconds, self._lap = now - self._lap, now
        return seconds

    def log(self, loss: float, psnr: float | None = None) -> None:
        """Log the loss, the validation PSNR at an epoch's end, and the time left."""
        epoch = -(-self._step // self._per_epoch)
        measured = f"loss {loss:.4f}" + (f", validation {psnr:.2f} dB" if psnr is not None else "")
        log(
            f"{self._name}: epoch {epoch}/{self._settings.epochs}, "
            f"step {self._step}/{self._total}, {measured}, "
            f"{self.patches_per_second:.1f} patches/s, {duration(self._seconds_left)} left"
        )
        elapsed = time.monotonic() - self._start
        self._next = elapsed + min(60, max(5, elapsed / 5))
