"""Estimates of the time and memory that upscaling a picture takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from liif.app.jobs import Job
from liif.app.options import Options
from liif.app.weights import Weights
from liif.images.write import needed_memory

_TURNS = 8
"""Factor of the work with self-ensemble."""
_ENCODING = 2048
"""Bytes that encoding takes for a pixel of a tile."""
_TILE = 350**2
"""Pixels of the largest tile, with its overlap."""


class Estimates:
    """Estimates from what a process measured when it started, corrected by each job's time."""

    def __init__(self, weights: Mapping[str, Weights]) -> None:
        self._weights = weights
        self._measured: dict[str, float] = {}
        self._corrections: dict[tuple[str, str], float] = {}

    def learn(self, measured: dict[str, float]) -> None:
        """Learn seconds per pixel of a picture (`lr`) and an upscaled one (`sr`), and memory."""
        self._measured = measured or self._measured

    def seconds(self, lr: tuple[int, int], sr: tuple[int, int], options: Options) -> float | None:
        """Time for upscaling between these sizes; None before anything was measured."""
        if not self._measured:
            return None
        plain = self._plain(lr, sr, options)
        return plain * self._corrections.get((options.weights, options.precision), 1.0)

    def memory(self, lr: tuple[int, int], sr: tuple[int, int], channels: int, bits: int) -> int:
        """Memory in bytes for upscaling between these sizes, including the program's own."""
        dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
        encoding = _ENCODING * min(lr[0] * lr[1], _TILE)
        program = int(self._measured.get("memory", 400_000_000))
        return program + encoding + needed_memory((*sr, channels), dtype)

    def correct(self, job: Job, seconds: float) -> None:
        """Learn from the time that a job took."""
        if self._measured:
            plain = self._plain(job.picture.shape, job.size, job.options)
            self._corrections[job.options.weights, job.options.precision] = seconds / plain

    def _plain(self, lr: tuple[int, int], sr: tuple[int, int], options: Options) -> float:
        rates = self._measured
        once = rates["lr"] * lr[0] * lr[1] + rates["sr"] * sr[0] * sr[1]
        time = self._weights[options.weights].time
        return once * time * (_TURNS if options.self_ensemble else 1)
