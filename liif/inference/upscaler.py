"""Ways of enlarging pictures: a model, or MATLAB's bicubic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from liif.images.channels import BandUpscaler
from liif.images.imresize import imresize
from liif.images.pixels import RGB8, Pixels, white_level
from liif.system.files import file_sha256
from liif.system.progress import log

BICUBIC = "bicubic"
"""What to give as weights for MATLAB's bicubic imresize, the baseline."""

Unit = NDArray[np.float32]


class Upscaler(NamedTuple):
    """A way of enlarging pictures."""

    identity: str
    """What tells it from all others: the hash of its weights, and how they are used."""
    bands: BandUpscaler
    """RGB (h, w, 3) and the size asked for (rows, cols) → bands of rows in 0..1."""
    whole: bool = False
    """The first band is the whole picture."""

    def to_size(self, lr: RGB8, size: tuple[int, int]) -> Unit:
        """LR (h, w, 3) and the size asked for (rows, cols) → (H, W, 3) in 0..1, not rounded."""
        out = np.empty((*size, 3), dtype=np.float32)
        for rows, band in self.bands(lr, size):
            out[rows] = band
        return out


def open_upscaler(
    weights: str | Path,
    device: str = "auto",
    threads: int | None = None,
    max_memory: int | None = None,
    self_ensemble: bool = False,
) -> Upscaler:
    """An upscaler from weights (`bundled`, a known name, or a file) or `bicubic`.

    `max_memory` in bytes bounds what features and encoding take; half of what is free when not
    given. `self_ensemble` is the mean over the eight flips and transpositions. Bicubic heeds none
    of these, and says so.
    """
    if str(weights) == BICUBIC:
        options = {
            "--device": device != "auto",
            "--max-memory": max_memory is not None,
            "--self-ensemble": self_ensemble,
        }
        if without := [option for option, given in options.items() if given]:
            log(f"{BICUBIC} is no network; without effect: {', '.join(without)}")
        return Upscaler(BICUBIC, _bicubic, whole=True)

    from liif.checkpoints.catalog import locate
    from liif.checkpoints.load import load
    from liif.network import device as devices

    devices.use_threads(threads)
    devices.keep_freed_memory()
    path = locate(weights)
    model = load(path, device=devices.choose(device))

    def bands(lr: Pixels, size: tuple[int, int]) -> Iterator[tuple[slice, Unit]]:
        return model.upscale_bands(lr, size, max_memory=max_memory, self_ensemble=self_ensemble)

    identity = file_sha256(path)
    return Upscaler(f"{identity} self-ensemble" if self_ensemble else identity, bands)


def _bicubic(lr: Pixels, size: tuple[int, int]) -> Iterator[tuple[slice, Unit]]:
    """Rounded to the levels of the picture, as the published bicubic results are."""
    big = imresize(lr, size).astype(np.float32) / np.float32(white_level(lr.dtype))
    yield slice(0, size[0]), big
