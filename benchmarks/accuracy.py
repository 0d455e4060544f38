"""How far bf16 is from float32: on the bundled test photographs, at ×2, ×4 and ×8.

    python benchmarks/accuracy.py [WEIGHTS…]

Prints a row of Markdown for each picture and scale: the PSNR of float32's picture, by how much that
of bf16's differs, and the difference of both pictures in grey levels, before rounding.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
from PIL import Image

import liif
from liif.data.download import PHOTOGRAPHS
from liif.images.metrics import border_width, quality

SCALES = (2, 4, 8)


def main() -> None:
    print("| weights | picture | scale | PSNR, dB | bf16 − float32, dB | largest | above 1 |")
    print("|---|---|---|---|---|---|---|")
    for weights in sys.argv[1:] or ["bundled"]:
        model = liif.load(weights)
        for path in sorted((PHOTOGRAPHS / "test").iterdir()):
            with Image.open(path) as image:
                truth = np.asarray(image.convert("RGB"))
            for scale in SCALES:
                lr = liif.imresize(truth, 1 / scale).astype(np.float32) / np.float32(255)
                plain = partial(model.upscale, lr, size=truth.shape[:2], back_projection=False)
                exact, low = (np.asarray(plain(precision=p)) for p in ("float32", "bf16"))
                border = border_width("scale+6", scale)
                before, after = (
                    quality(truth, picture, channel="rgb", border=border)[0]
                    for picture in (exact, low)
                )
                levels = 255 * np.abs(low - exact)
                print(
                    f"| {weights} | {path.stem} | ×{scale} | {before:.3f} | {after - before:+.4f} "
                    f"| {levels.max():.2f} | {(levels > 1).mean():.4%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
