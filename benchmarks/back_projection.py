"""What back-projection changes: on the bundled test photographs, clean and degraded.

    python benchmarks/back_projection.py [SCALE…] [--weights WEIGHTS]

Prints a row of Markdown for each scale and degradation, of means over the photographs, in float32:
PSNR of the network's picture, by how much back-projection changes it (smallest and largest), and
how far the mean colour is from the input's, in grey levels, without and with it (largest).
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import liif
from liif.config import CASES, Case
from liif.data.degrade import degraded
from liif.data.download import PHOTOGRAPHS
from liif.images.metrics import border_width, quality
from liif.images.pixels import RGB8
from liif.network.back_projection import back_project
from liif.network.model import LIIF

SCALES = [2.0, 4.0, 8.0, 16.0]
INPUTS = {"clean": None, **CASES}


class Measured(NamedTuple):
    """One photograph."""

    psnr: float
    change: float
    """Of the PSNR, by back-projection."""
    shift: float
    """Of the mean colour without it, in grey levels."""
    corrected_shift: float


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("scales", nargs="*", type=float, default=SCALES)
    parser.add_argument("--weights", default="bundled")
    given = parser.parse_args()
    model = liif.load(given.weights)
    print(
        "| scale | input | PSNR, dB | change, dB | smallest, largest | colour shift → corrected |"
    )
    print("|---|---|---|---|---|---|")
    for scale in given.scales:
        for name, case in INPUTS.items():
            found = [
                measure(model, path.stem, scale, case)
                for path in sorted((PHOTOGRAPHS / "test").iterdir())
            ]
            psnr, change, _, _ = np.mean(found, axis=0)
            _, low, _, _ = np.min(found, axis=0)
            _, high, shift, corrected = np.max(found, axis=0)
            print(
                f"| ×{scale:g} | {name} | {psnr:.2f} | {change:+.3f} | {low:+.3f}, {high:+.3f} "
                f"| {shift:.2f} → {corrected:.2f} |",
                flush=True,
            )


def measure(model: LIIF, photograph: str, scale: float, case: Case | None) -> Measured:
    """Upscale a photograph, and correct the result."""
    with Image.open(PHOTOGRAPHS / "test" / f"{photograph}.webp") as image:
        truth = np.asarray(image.convert("RGB"))
    side = int(len(truth) // scale * scale) if scale.is_integer() else len(truth)
    truth = truth[:side, :side]
    lr = degraded(truth, scale, case or Case.model_construct(), photograph)
    unit = lr.astype(np.float32) / np.float32(255)
    size = (side, side)
    plain = model.upscale(unit, size=size, precision="float32", back_projection=False)
    bands = iter([(slice(0, side), torch.from_numpy(plain).permute(2, 0, 1))])
    given = torch.from_numpy(unit).permute(2, 0, 1)
    factor = model.back_projection_factor
    rgb = [band for _, band in back_project(bands, given, size, factor)]
    corrected = torch.cat(rgb, dim=1).clamp(0, 1).permute(1, 2, 0).numpy()
    border = border_width("scale+6", scale)
    before, after = (
        quality(truth, picture, channel="rgb", border=border)[0] for picture in (plain, corrected)
    )
    return Measured(before, after - before, shift(plain, lr), shift(corrected, lr))


def shift(picture: NDArray[np.float32], lr: RGB8) -> float:
    """How far the mean colour is from that of the input, in grey levels."""
    means = picture.mean(axis=(0, 1), dtype=np.float64) * 255, lr.mean(axis=(0, 1))
    return float(np.abs(means[0] - means[1]).max())


if __name__ == "__main__":
    main()
