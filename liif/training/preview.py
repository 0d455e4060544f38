"""Strips: LR, bicubic, model and HR side by side, to see a training progress."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from liif.config import Training
from liif.data.pack import Pack
from liif.images.crop import most_detailed_square
from liif.images.imresize import imresize
from liif.images.metrics import psnr_of_error
from liif.images.pixels import RGB8
from liif.network.model import LIIF

SIDE = 160
"""Side of a panel in pixels, as far as the training's patches reach."""
PHOTOGRAPHS = 3
"""How many photographs are shown."""
_GAP, _LINE = 4, 16


class Strips:
    """The same few crops of the validation photographs, enlarged by a model as it learns.

    They are taken at the largest scale that the model is trained for, from the first, the
    middle and the last photograph, where each has most detail.
    """

    def __init__(self, name: str, photographs: Pack, settings: Training) -> None:
        self._name = name
        self._scale = settings.scales[1]
        lr_side = max(1, min(settings.patch, int(SIDE / self._scale)))
        self._side = side = round(lr_side * self._scale)
        chosen = sorted({0, len(photographs) // 2, len(photographs) - 1})[:PHOTOGRAPHS]
        self._keys = [f"validation/{_plain(photographs.entries[i].name)}" for i in chosen]
        whole = [photographs.photograph(i) for i in chosen]
        self._hr = [np.ascontiguousarray(p[most_detailed_square(p, side)]) for p in whole]
        self._lr = [imresize(hr, (lr_side, lr_side)) for hr in self._hr]
        self._bicubic = [imresize(lr, (side, side)) for lr in self._lr]

    def draw(self, model: LIIF) -> dict[str, RGB8]:
        """The strips as the model makes them now, each (height, width, 3) under its key."""
        return {
            key: self._strip(i, self._enlarge(model, self._lr[i]))
            for i, key in enumerate(self._keys)
        }

    def _enlarge(self, model: LIIF, lr: RGB8) -> RGB8:
        return np.asarray(model.upscale(lr, size=(self._side, self._side)))

    def _strip(self, i: int, enlarged: RGB8) -> RGB8:
        hr, lr, bicubic = self._hr[i], self._lr[i], self._bicubic[i]
        pixels = Image.fromarray(lr).resize((self._side, self._side), Image.Resampling.NEAREST)
        return side_by_side(
            [
                (f"LR {lr.shape[0]}x{lr.shape[1]}", np.asarray(pixels)),
                (f"bicubic {_psnr(bicubic, hr):.2f} dB", bicubic),
                (f"{self._name} {_psnr(enlarged, hr):.2f} dB", enlarged),
                (f"HR, x{self._scale:g}", hr),
            ]
        )


def side_by_side(panels: list[tuple[str, RGB8]]) -> RGB8:
    """Pictures of one size in a row, each below its label (ASCII: Pillow's font has no more)."""
    height, width = panels[0][1].shape[:2]
    font = ImageFont.load_default(11)
    labels = [_fitting(text, font, max(width, 40)) for text, _ in panels]
    strip = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, height + _LINE), "white")
    draw = ImageDraw.Draw(strip)
    for i, (label, (_, pixels)) in enumerate(zip(labels, panels, strict=True)):
        left = i * (width + _GAP)
        draw.text((left + 2, 1), label, fill="black", font=font)
        strip.paste(Image.fromarray(pixels), (left, _LINE))
    return np.asarray(strip)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, its first word cut so that it fits the width."""
    name, _, rest = text.partition(" ")
    short = name
    while len(short) > 1 and font.getlength(f"{short} {rest}") > width - 4:
        short = short[:-1]
    return f"{short} {rest}"


def _psnr(a: RGB8, b: RGB8) -> float:
    return psnr_of_error(float(((a.astype(np.float64) - b) ** 2).mean()) / 255**2)


def _plain(name: str) -> str:
    """A name with only what MLflow takes in the name of an image."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-. ") else "_" for c in name)
