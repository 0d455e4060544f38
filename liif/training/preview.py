"""Preview of a training: LR, bicubic, model and HR side by side."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from liif.data.pack import Pack
from liif.images.crop import most_detailed_square
from liif.images.imresize import imresize
from liif.images.metrics import psnr
from liif.images.pixels import RGB8
from liif.network.model import LIIF
from liif.recipe import Training

_SIDE = 160
"""Side of a panel in pixels; less where the training's patches are smaller."""
_GAP, _LINE = 4, 16


class Preview:
    """Crops of the validation photographs, upscaled by a model as it learns.

    They are taken at the largest scale that the model is trained for, from the first, the
    middle and the last photograph, where each has most detail.
    """

    def __init__(self, name: str, photographs: Pack, settings: Training) -> None:
        self._name, self._scale = name, settings.scales[1]
        lr_side = max(1, min(settings.patch, int(_SIDE / self._scale)))
        self._side = side = round(lr_side * self._scale)
        self._crops: dict[str, tuple[RGB8, RGB8]] = {}
        """HR and LR, by names that MLflow accepts for images."""
        for i in sorted({0, len(photographs) // 2, len(photographs) - 1}):
            whole = photographs.photograph(i)
            hr = np.ascontiguousarray(whole[most_detailed_square(whole, side)])
            key = re.sub(r"[^A-Za-z0-9_. -]", "_", photographs.entries[i].name)
            self._crops[f"validation/{key}"] = hr, imresize(hr, (lr_side, lr_side))

    def draw(self, model: LIIF) -> dict[str, RGB8]:
        """The rows of panels for the model as it is now, each (height, width, 3), by key."""
        size = (self._side, self._side)
        previews = {}
        for key, (hr, lr) in self._crops.items():
            pixels = Image.fromarray(lr).resize(size, Image.Resampling.NEAREST)
            bicubic = imresize(lr, size)
            network = model.upscale(lr, size=size, precision="float32", back_projection=False)
            upscaled = np.asarray(network)
            previews[key] = side_by_side(
                [
                    (f"LR {lr.shape[0]}x{lr.shape[1]}", np.asarray(pixels)),
                    (f"bicubic {psnr(bicubic, hr):.2f} dB", bicubic),
                    (f"{self._name} {psnr(upscaled, hr):.2f} dB", upscaled),
                    (f"HR, x{self._scale:g}", hr),
                ]
            )
        return previews


def side_by_side(panels: list[tuple[str, RGB8]]) -> RGB8:
    """Panels of one size in a row, each below its label, whose first word is cut to fit.

    Labels are ASCII: Pillow's font has no more.
    """
    height, width = panels[0][1].shape[:2]
    font = ImageFont.load_default(11)
    row = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, height + _LINE), "white")
    draw = ImageDraw.Draw(row)
    for i, (label, pixels) in enumerate(panels):
        left = i * (width + _GAP)
        name, _, rest = label.partition(" ")
        while len(name) > 1 and font.getlength(f"{name} {rest}") > max(width, 40) - 4:
            name = name[:-1]
        draw.text((left + 2, 1), f"{name} {rest}", fill="black", font=font)
        row.paste(Image.fromarray(pixels), (left, _LINE))
    return np.asarray(row)
