"""What back-projection changes: on the bundled test photographs, clean and degraded.

    python benchmarks/back_projection.py [SCALE…] [--weights WEIGHTS] [--factor FACTOR]

Prints a row of Markdown for each scale and degradation, of means over the photographs, in float32:
PSNR of the network's picture, by how much back-projection changes it (smallest and largest), and
how far the mean colour is from the input's, in grey levels, without and with it (largest). FACTOR
replaces that by which the model's results and inputs are shrunk before they are compared.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import NamedTuple

import numpy as np
from models import colour_shift, enlarged, low_resolution, psnr
from PIL import Image

import liif
from liif.config import CASES
from liif.data.download import PHOTOGRAPHS
from liif.network.model import LIIF

SCALES = [2.0, 4.0, 8.0, 16.0]


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
    parser.add_argument("--factor", type=int)
    given = parser.parse_args()
    model = liif.load(given.weights)
    if given.factor is not None:
        model.back_projection_factor = given.factor
    print(
        "| scale | input | PSNR, dB | change, dB | smallest, largest | colour shift → corrected |"
    )
    print("|---|---|---|---|---|---|")
    for scale in given.scales:
        for case in ("clean", *CASES):
            found = [
                measure(model, path.stem, scale, case)
                for path in sorted((PHOTOGRAPHS / "test").iterdir())
            ]
            mean, change, _, _ = np.mean(found, axis=0)
            _, low, _, _ = np.min(found, axis=0)
            _, high, shift, corrected = np.max(found, axis=0)
            print(
                f"| ×{scale:g} | {case} | {mean:.2f} | {change:+.3f} | {low:+.3f}, {high:+.3f} "
                f"| {shift:.2f} → {corrected:.2f} |",
                flush=True,
            )


def measure(model: LIIF, photograph: str, scale: float, case: str) -> Measured:
    """Upscale a photograph, without and with back-projection."""
    with Image.open(PHOTOGRAPHS / "test" / f"{photograph}.webp") as image:
        hr = np.asarray(image.convert("RGB"))
    side = int(len(hr) // scale * scale) if scale.is_integer() else len(hr)
    hr = hr[:side, :side]
    lr = low_resolution(hr, scale, case, photograph)
    found = enlarged(model, lr, (side, side))
    before, after = (psnr(hr, found[way], scale) for way in ("without", "with"))
    shifts = (colour_shift(lr, found[way]) for way in ("without", "with"))
    return Measured(before, after - before, *shifts)


if __name__ == "__main__":
    main()
