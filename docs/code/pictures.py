"""The pictures among the documentation's figures; `figures.py` writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import liif
from liif.data.download import PHOTOGRAPHS
from liif.data.patches import cut
from liif.recipe import Training

RGB: TypeAlias = NDArray[np.uint8]
RGBA: TypeAlias = NDArray[np.uint8]


def photograph(name: str) -> RGB:
    """A bundled photograph."""
    (path,) = PHOTOGRAPHS.rglob(f"{name}.webp")
    return np.asarray(Image.open(path).convert("RGB"))


def pairs() -> RGBA:
    """Training pairs at three scales: sampled HR pixels above, the LR patch below."""
    settings, columns = Training(), []
    for name, number in (("aitzgorri", 3), ("parrot", 52), ("wine", 11)):
        patch = cut(photograph(name), settings, [0, 0, 0, number], augment=False)
        side = patch.hr.shape[0]
        seen = np.zeros(side * side, dtype=bool)
        seen[patch.chosen] = True
        faded = (0.4 * patch.hr + 0.6 * 255).astype(np.uint8)
        shown = np.where(seen.reshape(side, side, 1), patch.hr, faded)
        columns.append([on_canvas(shown, 196, 200), on_canvas(patch.lr, 56, 200)])
    picture = np.concatenate([np.concatenate(column) for column in columns], axis=1)
    return np.repeat(np.repeat(picture, 2, axis=0), 2, axis=1)


def on_canvas(picture: RGB, height: int, width: int) -> RGBA:
    """A picture in the middle of a transparent canvas."""
    canvas = np.zeros((height, width, 4), dtype=np.uint8)
    y, x = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    place = np.s_[y : y + picture.shape[0], x : x + picture.shape[1]]
    canvas[place] = np.dstack([picture, np.full(picture.shape[:2], 255, dtype=np.uint8)])
    return canvas


def scales() -> RGBA:
    """An LR picture, and what it is decoded to at ×2, ×4 and ×8."""
    lr = liif.imresize(photograph("dragonfly")[256:496, 230:470], 1 / 8)
    model, panels = liif.load(), [lr]
    for scale in (2, 4, 8):
        panels.append(model.upscale(lr, scale=scale, precision="float32", back_projection=False))
    return np.concatenate([on_canvas(as_large(panel, 240), 240, 248) for panel in panels], axis=1)


def difference() -> RGBA:
    """Two crops: an LR picture, enlarged by bicubic, and by LIIF."""
    rows: list[RGBA] = []
    model = liif.load()
    for name, top, left in (("nuthatch", 336, 440), ("brushes", 344, 176)):
        lr = liif.imresize(photograph(name), 1 / 8)
        versions = {
            "32×32 pixels": as_large(lr, 8 * len(lr)),
            "bicubic ×8": liif.imresize(lr, 8),
            "LIIF ×8": model.upscale(lr, scale=8, precision="float32"),
        }
        crops = [big[top : top + 256, left : left + 256] for big in versions.values()]
        if not rows:
            crops = [labelled(*panel) for panel in zip(crops, versions, strict=True)]
        rows.append(np.concatenate([on_canvas(crop, 256, 264) for crop in crops], axis=1))
    return np.concatenate([rows[0], np.zeros_like(rows[0][:8]), rows[1]])


def labelled(picture: RGB, text: str) -> RGB:
    """White on a dark bar at the top, in a font that has ×, which Pillow's own lacks."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    font = ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 17)
    draw.rectangle((0, 0, image.width, 30), fill=(0, 0, 0, 160))
    draw.text((9, 5), text, fill="white", font=font)
    return np.asarray(image)


def as_large(picture: RGB, side: int) -> RGB:
    """A square picture with its pixels as squares."""
    times = side // len(picture)
    return np.repeat(np.repeat(picture, times, axis=0), times, axis=1)


PICTURES: dict[str, Callable[[], RGBA]] = {
    "difference.webp": difference,
    "pairs.webp": pairs,
    "scales.webp": scales,
}
