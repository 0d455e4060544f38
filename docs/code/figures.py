"""Draw the figures of *How LIIF works*: python docs/code/figures.py

Writes docs/figures/*.svg and *.webp. A test compares them with what this draws.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pictures import PICTURES, photograph
from PIL import Image
from svg import BLUE, ORANGE, PINK, TEAL, Drawing

import liif
from liif.images.imresize import cubic
from liif.network import coords

FOLDER = Path(__file__).parents[1] / "figures"


def pipeline(words: dict[str, str]) -> str:
    """From a picture through encoder and decoder to the colour at a query."""
    d = Drawing("pipeline", 760, 190)

    def stage(x: float, width: float, title: str, below: str, **more: str) -> None:
        d.box(x, 45, width, 70, rx="6", **more)
        d.text(x + width / 2, 76, title)
        d.text(x + width / 2, 98, below, font_size="13", opacity="0.75")

    stage(6, 96, words["picture"], "*h* × *w* × 3")
    stage(142, 118, f"{words['encoder']} *E*", "EDSR, RDN", stroke=TEAL, fill=TEAL + "22")
    stage(300, 118, words["features"], "*h* × *w* × 64")
    stage(458, 148, f"{words['decoder']} *f*", "580 → 256 … → 3", stroke=ORANGE, fill=ORANGE + "22")
    stage(646, 108, words["colour"], "RGB")
    for a, b in ((102, 142), (260, 300), (418, 458), (606, 646)):
        d.line([(a + 2, 80), (b - 2, 80)], arrow="end")
    d.text(201, 32, words["once"], font_size="13", opacity="0.75")
    d.text(532, 32, words["each"], font_size="13", opacity="0.75")
    d.line([(532, 152), (532, 117)], arrow="end")
    d.text(532, 172, words["query"])
    return str(d)


def coordinates() -> str:
    """Pixels of a small and of a large picture on the same axis from −1 to 1."""
    d = Drawing("coordinates", 760, 250)
    left, right = 70.0, 690.0

    def at(x: float) -> float:
        return left + (x + 1) / 2 * (right - left)

    for n, y, colour in ((4, 50, TEAL), (10, 170, ORANGE)):
        d.text(30, y + 20, f"*n* = {n}")
        for i, x in enumerate(coords.centres(n).tolist()):
            fill = colour + ("44" if (n, i) == (10, 6) else "14")
            d.box(at(x - 1 / n), y, (right - left) / n, 30, stroke=colour, fill=fill)
            d.dot(at(x), y + 15, 4, colour)
    for x, label in ((-0.75, "−¾"), (-0.25, "−¼"), (0.25, "¼"), (0.75, "¾")):
        d.text(at(x), 40, label)
    for x, label in ((-1, "−1"), (1, "1")):
        d.line([(at(x), 42), (at(x), 208)], dash="2 4", opacity="0.5")
        d.text(at(x), 30, label)
    query, centre = 0.3, 0.25
    d.line([(at(query), 185), (at(query), 65)], dash="5 4")
    d.text(at(query) + 12, 134, "*x* = 0.3", anchor="start")
    d.text(at(query) - 12, 134, "(*x* − *v*) · *n* = (0.3 − 0.25) · 4 = 0.2", anchor="end")
    d.line([(at(0.2), 218), (at(0.4), 218)], arrow="both")
    d.text(at(0.3), 240, "2 / 10")
    d.dot(at(centre), 65, 6, TEAL)
    d.text(at(centre) - 14, 70, "*v*")
    return str(d)


def unfolding() -> str:
    """The 3×3 neighbourhood of a feature pixel, and the input that it becomes."""
    d = Drawing("unfolding", 760, 230)
    side, x0, y0 = 30, 30, 24
    for row in range(6):
        for col in range(6):
            near = 1 <= row <= 3 and 2 <= col <= 4
            fill = TEAL + ("88" if (row, col) == (2, 3) else "33") if near else "none"
            d.box(x0 + side * col, y0 + side * row, side, side, fill=fill, opacity="1")
    d.box(x0 + 2 * side, y0 + side, 3 * side, 3 * side, stroke=TEAL, stroke_width="3")
    d.text(x0 + 3 * side, 222, "*h* × *w*, *C* = 64")
    d.line([(230, 114), (282, 114)], arrow="end")
    top = 24.0
    for height, label, colour in (
        (126, "9 · 64 = 576", TEAL),
        (27, "2", ORANGE),
        (27, "2", BLUE),
    ):
        d.box(290, top, 110, height, stroke=colour, fill=colour + "33")
        d.text(345, top + height / 2 + 5, label)
        top += height
    d.text(410, 170, "(*x* − *v*) · (*h*, *w*)", anchor="start")
    d.text(410, 197, "*c* · (*h*, *w*)", anchor="start")
    d.text(345, 222, "580")
    d.line([(406, 87), (446, 87)], arrow="end")
    for i, width in enumerate((256, 256, 256, 256, 3)):
        x, tall = 452 + 62 * i, 20 + width / 4
        d.box(x, 87 - tall / 2, 30, tall, stroke=ORANGE, fill=ORANGE + "33", rx="3")
        d.text(x + 15, 146, str(width), font_size="13")
        if i < 4:
            d.line([(x + 33, 87), (x + 59, 87)], arrow="end", width=1.2)
    d.text(715, 62, "RGB")
    return str(d)


def ensemble() -> str:
    """A query between four feature pixels, and the areas that weight their predictions."""
    d = Drawing("ensemble", 760, 330)
    x0, y0, side = 60.0, 40.0, 250.0
    qx, qy = x0 + 0.36 * side, y0 + 0.3 * side
    colours = (TEAL, ORANGE, BLUE, PINK)
    corners = [(x0 + side * c, y0 + side * r) for r in (0, 1) for c in (0, 1)]
    for corner, opposite in zip(corners, colours[::-1], strict=True):
        (a, b), (u, v) = sorted((corner[0], qx)), sorted((corner[1], qy))
        d.box(a, u, b - a, v - u, stroke=opposite, fill=opposite + "3a")
    for name, (x, y), colour in zip(("00", "01", "10", "11"), corners, colours, strict=True):
        d.dot(x, y, 9, colour)
        dx, dy = (-26 if x == x0 else 26), (-12 if y == y0 else 26)
        d.text(x + dx, y + dy, f"*v*_{name}", fill=colour)
    areas = ((0.18, 0.15, "11", PINK), (0.68, 0.15, "10", BLUE), (0.18, 0.65, "01", ORANGE))
    for fx, fy, name, colour in (*areas, (0.68, 0.65, "00", TEAL)):
        d.text(x0 + fx * side, y0 + fy * side + 6, f"*S*_{name}", fill=colour, font_size="17")
    d.dot(qx, qy, 6)
    d.text(qx + 14, qy - 10, "*x*")
    weights = {"00": 0.64 * 0.7, "01": 0.36 * 0.7, "10": 0.64 * 0.3, "11": 0.36 * 0.3}
    for i, ((name, share), colour) in enumerate(zip(weights.items(), colours, strict=True)):
        y = 86 + 52 * i
        d.text(400, y, f"*f* (*z*_{name}, *x* − *v*_{name})", anchor="start", fill=colour)
        d.box(552, y - 15, 150 * share / 0.45, 20, stroke=colour, fill=colour + "55")
        d.text(560 + 150 * share / 0.45, y, f"{share:.2f}", anchor="start", font_size="13")
    d.text(400, 46, "*S*_t / *S*", anchor="start", font_size="17")
    d.line([(400, 262), (735, 262)], opacity="0.5")
    d.text(400, 288, "*I* (*x*) = Σ  *S*_t / *S* · *f* (*z*_t, *x* − *v*_t, *c*)", anchor="start")
    return str(d)


@torch.inference_mode()
def along_a_line() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Green along a row of coordinates: blended, and from the nearest code alone."""
    model = liif.load()
    lr = liif.imresize(photograph("dragonfly")[200:500, 200:500], 1 / 8)
    unit = torch.from_numpy(lr.astype(np.float32) / 255).permute(2, 0, 1)[None]
    encoded, n = model.encode(unit), 16 * lr.shape[1]
    line = coords.centres(n)
    queries = torch.stack([torch.full((n,), 0.118), line], dim=-1)[None]
    cells = coords.cell((n, n))[None]
    blended = model.decode(encoded, queries, cells)[0, :, 1]
    rows = coords.neighbours(queries[..., 0], lr.shape[0])
    cols = coords.neighbours(queries[..., 1], lr.shape[1])
    row = int(rows.relative[:, 0, 0].abs().argmin())
    col = cols.relative[:, 0].abs().argmin(dim=0)
    grid = model.imnet.grid(encoded.features)[0, rows.pixel[row, 0, 0]]
    pixel = cols.pixel[:, 0].gather(0, col[None])[0]
    relative = torch.stack(
        [rows.relative[row, 0].expand(n), cols.relative[:, 0].gather(0, col[None])[0]], -1
    )
    size = torch.tensor(lr.shape[:2])
    geometry = model.imnet.geometry(relative, (cells[0] * size).expand(n, 2))
    rgb = model.imnet.rest(grid.index_select(0, pixel) + geometry) * model.std + model.mean
    return blended.numpy(), rgb[:, 1].numpy()


def continuity() -> str:
    """The blended prediction beside that of the nearest code, which jumps between two pixels."""
    d = Drawing("continuity", 760, 260)
    blended, nearest = along_a_line()
    shown = slice(16 * 12, 16 * 24)
    low, high = (
        min(nearest[shown].min(), blended[shown].min()),
        max(nearest[shown].max(), blended[shown].max()),
    )
    width, left, top, height = 690.0, 50.0, 18.0, 200.0

    def at(i: int, value: float) -> tuple[float, float]:
        return left + width * i / 192, top + height * float((high - value) / (high - low))

    for pixel in range(13):
        x = left + width * pixel / 12
        d.line([(x, top), (x, top + height)], dash="2 4", opacity="0.35", width=1)
        if pixel < 12:
            d.dot(x + width / 24, top + height + 14, 3)
    d.line([(left, top + height), (left + width, top + height)])
    d.line([(left, top), (left, top + height)])
    d.text(left + width / 2, top + height + 38, "*x*")
    d.text(24, top + height / 2, "*I*")
    for pixel in range(12):  # the nearest code's line is broken where the code changes
        piece = range(16 * pixel, 16 * pixel + 16)
        d.line([at(i, nearest[shown][i]) for i in piece], ORANGE, 2.2)
    d.line([at(i, float(v)) for i, v in enumerate(blended[shown])], TEAL, 2.2)
    return str(d)


def imresize() -> str:
    """The cubic kernel as it is for enlarging, and widened for shrinking to a quarter."""
    d = Drawing("imresize", 760, 250)
    left, right, base, height = 40.0, 720.0, 190.0, 150.0

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (x + 8.5) / 17 * (right - left), base - height * y

    d.line([at(-8.5, 0), at(8.5, 0)], opacity="0.6")
    for tick in range(-8, 9, 2):
        d.text(at(tick, 0)[0], base + 42, str(tick).replace("-", "−"), font_size="13")
        d.line([at(tick, 0), (at(tick, 0)[0], base + 6)], opacity="0.6")
    fine = np.linspace(-8.5, 8.5, 341)
    d.line([at(x, y) for x, y in zip(fine, cubic(fine), strict=True)], ORANGE, 2.2)
    wide = cubic(fine / 4) / 4
    d.line([at(x, y) for x, y in zip(fine, wide, strict=True)], TEAL, 2.2)
    for x in np.arange(-7.5, 8):
        d.dot(*at(x, float(cubic(np.array([x / 4]))[0] / 4)), 4, TEAL)
    for x in (-1.5, -0.5, 0.5, 1.5):
        d.dot(*at(x, float(cubic(np.array([x]))[0])), 4, ORANGE)
    d.text(at(1.0, 0.75)[0], at(0, 0.75)[1], "*k* (*x*)", anchor="start", fill=ORANGE)
    d.text(at(3.4, 0.2)[0], at(0, 0.2)[1], "¼ *k* (*x* / 4)", anchor="start", fill=TEAL)
    return str(d)


ENGLISH = {
    "picture": "LR picture",
    "encoder": "encoder",
    "features": "features *z*",
    "decoder": "decoder",
    "colour": "colour",
    "once": "once for each picture",
    "each": "for each query",
    "query": "coordinate *x*, cell *c*",
}
CHINESE = {
    "picture": "LR 图像",
    "encoder": "编码器",
    "features": "特征 *z*",
    "decoder": "解码器",
    "colour": "颜色",
    "once": "每幅图像一次",
    "each": "每个查询点一次",
    "query": "坐标 *x*，像素格 *c*",
}
DRAWINGS: dict[str, Callable[[], str]] = {
    "pipeline.svg": lambda: pipeline(ENGLISH),
    "pipeline.zh.svg": lambda: pipeline(CHINESE),
    "coordinates.svg": coordinates,
    "unfolding.svg": unfolding,
    "ensemble.svg": ensemble,
    "continuity.svg": continuity,
    "imresize.svg": imresize,
}


def main() -> None:
    """Write all figures."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
    for name, paint in PICTURES.items():
        Image.fromarray(paint()).save(FOLDER / name, quality=90, method=6)


if __name__ == "__main__":
    main()
