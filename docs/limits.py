"""Draw docs/limits.jpg: how compression and noise in the input look after upscaling.

Run it in the root of the repository: .venv/bin/python docs/limits.py
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import liif
from liif.data.download import PHOTOGRAPHS
from liif.images.metrics import psnr
from liif.training.preview import side_by_side

SCALE, SIDE = 4, 240
AT = (390, 470)
"""First row and column of the crop."""


def main() -> None:
    """Draw the upscaled clean, compressed and noisy versions of a photograph."""
    panels = []
    for name, (big, ours, _) in upscaled().items():
        panels.append((f"{name} {ours:.2f} dB", _crop(big)))
    picture = side_by_side(panels)
    Image.fromarray(picture).save(Path(__file__).with_name("limits.jpg"), quality=92)


def measured() -> dict[str, tuple[float, float]]:
    """PSNR of LIIF and bicubic for each version."""
    return {name: (ours, theirs) for name, (_, ours, theirs) in upscaled().items()}


def upscaled() -> dict[str, tuple[NDArray[np.uint8], float, float]]:
    """Each version upscaled by LIIF, with its PSNR and that of bicubic."""
    hr = np.asarray(Image.open(PHOTOGRAPHS / "test" / "nuthatch.webp").convert("RGB"))
    lr = liif.imresize(hr, 1 / SCALE)
    noise = np.random.default_rng(0).normal(0, 10, lr.shape)
    inputs = {
        "clean": lr,
        "JPEG 75": _jpeg(lr, 75),
        "JPEG 30": _jpeg(lr, 30),
        "noise": np.clip(np.floor(lr + noise + 0.5), 0, 255).astype(np.uint8),
    }
    model, found = liif.load(), {}
    size = (hr.shape[0], hr.shape[1])
    for name, picture in inputs.items():
        big = model.upscale(picture, size=size, back_projection=False)
        found[name] = big, psnr(big, hr), psnr(liif.imresize(picture, size), hr)
    return found


def _jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = BytesIO()
    Image.fromarray(picture).save(file, format="JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _crop(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture[AT[0] : AT[0] + SIDE, AT[1] : AT[1] + SIDE]


if __name__ == "__main__":
    main()
