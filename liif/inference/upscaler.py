"""Upscalers: a model, or MATLAB's bicubic."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from liif.images.channels import BandUpscaler, join_bands
from liif.images.imresize import imresize
from liif.images.pixels import RGB8, Pixels, white_level
from liif.network.precision import Precision, Used
from liif.system.files import file_sha256
from liif.system.progress import log

BICUBIC = "bicubic"
"""Name in place of weights: MATLAB's bicubic imresize, the baseline."""

Unit = NDArray[np.float32]


class Upscaler(NamedTuple):
    """A model or bicubic, ready to upscale RGB."""

    identity: str
    """The hash of its weights, and how they are used; equal identities give equal pictures."""
    bands: BandUpscaler
    """RGB (h, w, 3) and output size (rows, cols) → bands of rows in 0..1."""
    whole: bool = False
    """The first band is the whole picture."""
    precision: Used | None = None
    """Precision of the network; bicubic has none."""
    back_projection: bool | None = None
    """Whether its pictures are corrected by back-projection; bicubic's never are."""
    on_gpu: bool = False
    """The CPU is free to write a picture while the next is computed."""

    def to_size(self, lr: RGB8, size: tuple[int, int]) -> Unit:
        """LR (h, w, 3) and output size (rows, cols) → (H, W, 3) in 0..1, not rounded."""
        return join_bands(self.bands(lr, size), (*size, 3), np.dtype(np.float32))


def open_upscaler(
    weights: str | Path,
    device: str = "auto",
    threads: int | None = None,
    max_memory: int | None = None,
    self_ensemble: bool = False,
    precision: Precision = "auto",
    back_projection: bool = True,
) -> Upscaler:
    """An upscaler from weights (`bundled`, a catalog name, or a file) or `bicubic`.

    `max_memory` in bytes bounds features and encoding; by default half of the free memory.
    `self_ensemble` is the mean over the eight flips and transpositions. `precision` and
    `back_projection` are as for `LIIF.upscale`. Bicubic ignores all options, and logs so.
    """
    if str(weights) == BICUBIC:
        options = {
            "--device": device != "auto",
            "--max-memory": max_memory is not None,
            "--self-ensemble": self_ensemble,
            "--precision": precision == "bf16",
        }
        if without := [option for option, given in options.items() if given]:
            log(f"{BICUBIC} is not a network; these options have no effect: {', '.join(without)}")
        return Upscaler(BICUBIC, _bicubic, whole=True)

    from liif.checkpoints.catalog import locate
    from liif.checkpoints.load import load
    from liif.network import device as devices
    from liif.network import precision as precisions

    devices.use_threads(threads)
    devices.keep_freed_memory()
    path = locate(weights)
    model = load(path, device=devices.choose(device))
    used = precisions.choose(precision, model.device)
    bands = partial(
        model.upscale_bands,
        max_memory=max_memory,
        self_ensemble=self_ensemble,
        precision=used,
        back_projection=back_projection,
    )
    identity = file_sha256(path)
    if self_ensemble:
        identity += " self-ensemble"
    if used != "float32":  # float32 adds nothing: pictures made before bf16 stay current
        identity += f" {used}"
    if back_projection:  # as before
        coarse = " coarse" if model.back_projection_factor > 1 else ""
        identity += f"{coarse} back-projection"
    return Upscaler(
        identity,
        bands,
        precision=used,
        back_projection=back_projection,
        on_gpu=model.device.type != "cpu",
    )


def _bicubic(lr: Pixels, size: tuple[int, int]) -> Iterator[tuple[slice, Unit]]:
    """Bicubic, rounded to the picture's levels as the published results are."""
    big = imresize(lr, size).astype(np.float32) / np.float32(white_level(lr.dtype))
    yield slice(0, size[0]), big
