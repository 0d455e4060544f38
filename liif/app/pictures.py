"""Tasks on pictures: read, upscale by bicubic and by a model, write in another format."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from liif.app import damage, previews
from liif.app.limits import preview_factor, preview_size
from liif.images import write
from liif.images.channels import Upscaled, join_bands, upscale_bands
from liif.images.imresize import imresize
from liif.images.metadata import resized
from liif.images.pixels import to_image
from liif.images.read import Picture, read_picture
from liif.inference.plan import Job
from liif.inference.size import Size
from liif.inference.upscale import upscale
from liif.inference.upscaler import Upscaler, open_upscaler
from liif.network.precision import Precision
from liif.system import memory

Send = Callable[..., None]
"""Sends a message about the task to the server."""
_SAMPLE = 100
"""Side of a sample in pixels."""


def prepare() -> dict[str, float]:
    """Load PyTorch and the bundled weights, so that the first picture need not wait for them."""
    return measure(_opened("bundled", False, "auto", True))


def measure(upscaler: Upscaler) -> dict[str, float]:
    """Seconds per pixel of a picture and of an upscaled one, and memory of the process."""
    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    seconds = []
    for side in (24, 24, 96):  # the first only prepares
        start = time.perf_counter()
        for _ in upscaler.bands(picture, (side, side)):
            pass
        seconds.append(time.perf_counter() - start)
    for_output = max(1e-9, (seconds[2] - seconds[1]) / (96**2 - 24**2))
    return {
        "lr": max(0.0, seconds[1] / 24**2 - for_output),
        "sr": for_output,
        "memory": memory.used(),
    }


@lru_cache(maxsize=1)
def _opened(
    weights: str,
    self_ensemble: bool,
    precision: Precision,
    back_projection: bool,
) -> Upscaler:
    return open_upscaler(
        weights,
        self_ensemble=self_ensemble,
        precision=precision,
        back_projection=back_projection,
    )


def read(send: Send, path: str, folder: str) -> dict[str, Any]:
    """Read an uploaded picture, and write what the page shows of it."""
    picture = read_picture(Path(path), Path(path).name)
    rows, cols, channels = picture.pixels.shape
    small = previews.shrunk(picture.pixels, preview_factor(rows, cols))
    previews.save(Path(folder) / "lr.png", small, _icc(picture))
    thumb = BytesIO()
    previews.thumbnail_size(to_image(small)).save(thumb, "PNG")
    return {
        **{"rows": rows, "cols": cols, "channels": channels},
        "bits": 8 * picture.pixels.dtype.itemsize,
        "frames": picture.frames,
        "damage": damage.found(picture.rgb),
        "thumb": f"data:image/png;base64,{b64encode(thumb.getvalue()).decode()}",
    }


def _icc(picture: Picture) -> bytes | None:
    return picture.metadata.icc


def bicubic(send: Send, path: str, size: tuple[int, int], out: str) -> None:
    """Write the picture upscaled by bicubic to that size (rows, cols), as the page shows it."""
    picture = read_picture(Path(path), Path(path).name)
    shape = (*preview_size(*size), picture.pixels.shape[2])
    bands = upscale_bands(picture.pixels, shape[:2], open_upscaler("bicubic").bands)
    previews.save(Path(out), join_bands(bands, shape, picture.pixels.dtype), _icc(picture))


def enlarge(
    send: Send,
    path: str,
    out: str,
    size: dict[str, Any],
    weights: str,
    quality: int,
    precision: Precision,
    self_ensemble: bool,
    back_projection: bool,
    shown: bool = True,
) -> dict[str, Any]:
    """Upscale a picture as `liif upscale` does, and report each band."""
    start, number = time.monotonic(), count()

    def emit(row: int, share: float) -> None:
        send(band=row, number=next(number), share=share)

    def only_share(band: Any, shape: Any) -> None:
        send(band=None, share=band[0].stop / shape[0])

    on_band: Callable[[Any, Any], None] = only_share
    if shown:
        on_band = previews.Bands(Path(out).parent, emit, _icc(read_picture(Path(path))))
    job = Job(
        upscaler=_opened(weights, self_ensemble, precision, back_projection),
        size=Size(**size),
        suffix=Path(out).suffix,
        quality=quality,
        overwrite=True,
        on_band=on_band,
    )
    upscale([Path(path)], Path(out), job)
    used = {"precision": job.upscaler.precision, "back_projection": job.upscaler.back_projection}
    return {"seconds": time.monotonic() - start, **used}


def convert(send: Send, path: str, enlarged: str, out: str, quality: int) -> list[str]:
    """Write an upscaled picture in another format, with the metadata of its input.

    Returns
    -------
    What the format loses of the pixels.
    """
    pixels = read_picture(Path(enlarged)).pixels
    shape = pixels.shape
    losses = write.check(Path(out), shape, pixels.dtype)
    metadata = resized(read_picture(Path(path)).metadata, shape[:2])
    bands = iter([(slice(0, shape[0]), pixels)])
    big = Upscaled(bands=bands, shape=shape, dtype=pixels.dtype, metadata=metadata)
    write.write(Path(out), big, quality=quality)
    return losses


def sample(send: Send, source: str, out: str) -> None:
    """Write a bundled photograph, downscaled, as a picture to upscale."""
    rgb = read_picture(Path(source)).rgb
    small = imresize(rgb, _SAMPLE / min(rgb.shape[:2]))
    to_image(small).save(out, format="PNG")


TASKS: dict[str, Callable[..., Any]] = {
    "read": read,
    "bicubic": bicubic,
    "enlarge": enlarge,
    "convert": convert,
    "sample": sample,
}
"""Tasks by the names that the server uses."""
