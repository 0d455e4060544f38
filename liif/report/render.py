"""HTML pages: a template, the viewer and its pictures in one file."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from liif import __version__
from liif.images.pixels import RGB8
from liif.report.translations import PAGE, dictionary, html
from liif.system.files import write_text

_THUMBNAIL = 128
"""Longest side in pixels."""
_STRENGTHS = (1, 2, 4, 8, 16)
"""Factors by which the viewer can amplify differences."""
_HEAT = "#000004, #1b0c41, #4a0c6b, #781c6d, #a52c60, #cf4446, #ed6925, #fb9b06, #f7d13d, #fcffa4"
"""Heat-map colours, equally spaced, from equal (dark) to far apart (bright)."""
_RAMP = np.array([list(bytes.fromhex(colour[1:])) for colour in _HEAT.split(", ")]) / 255


Score = tuple[float | None, float | None]
"""PSNR, None for equal pictures, and SSIM, None for very small ones."""


class Shown(TypedDict):
    """A picture in the viewer."""

    name: str
    rows: int
    cols: int
    """Size of its largest version."""
    thumb: str
    """Data URL."""
    files: dict[str, str]
    """Version → URL."""
    quality: dict[str, Score]
    """By version."""


def write(
    path: Path,
    name: str,
    *,
    title: tuple[str, str],
    versions: list[dict[str, str]],
    pictures: list[Shown],
    truth: str | None,
    baseline: str | None,
    **content: object,
) -> None:
    """Write a page atomically from the template of that name, with `content` as its variables.

    Each version of the pictures, such as LR, bicubic or a model, has a `key`, and a `label` or
    the `word` that names it in both languages. Differences and gains are relative to the
    versions `truth` and `baseline`.
    """
    data = {
        "title": title,
        "words": dictionary(),
        "versions": versions,
        "pictures": pictures,
        "truth": truth,
        "baseline": baseline,
    }
    text = template(name).render(
        version=__version__,
        title=title[0],
        viewer_data=_script_json(data),
        style=_source("style.css"),
        script=_source("viewer.js") + "\n" + _source("page.js"),
        ramp=_HEAT,
        heat={c: " ".join(f"{v:.3g}" for v in row) for c, row in zip("RGB", _RAMP.T, strict=True)},
        strengths=_STRENGTHS,
        pictures=pictures,
        **content,
    )
    write_text(path, text)


def data_url(picture: NDArray[np.uint8], *, lossless: bool = True) -> str:
    """A picture (H, W[, 3]) as a data URL."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=lossless, quality=70, method=4)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def thumbnail(picture: RGB8) -> str:
    """A small version of a picture as a data URL."""
    small = Image.fromarray(picture)
    small.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return data_url(np.asarray(small), lossless=False)


def heat_map(values: NDArray[Any]) -> RGB8:
    """Heat-map colours (H, W, 3) of values (H, W) in 0..1."""
    stops = np.linspace(0, 1, len(_RAMP))
    channels = [np.interp(values, stops, channel) for channel in _RAMP.T]
    return np.round(np.stack(channels, axis=-1) * 255).astype(np.uint8)


def _script_json(value: object) -> Markup:
    """JSON in which no picture's name can end the script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _source(name: str) -> Markup:
    return Markup((PAGE / name).read_text(encoding="utf-8"))


@cache
def template(name: str) -> Template:
    """A template of the page's folder."""
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["t"] = html
    environment.filters["data_url"] = data_url
    return environment.get_template(name)
