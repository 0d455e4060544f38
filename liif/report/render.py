"""Pages: a template, the viewer and its pictures in one HTML file."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from liif import __version__
from liif.images.pixels import RGB8
from liif.report import translations as words
from liif.system.files import write_text

_THUMBNAIL = 128
"""Longest side, in pixels."""
STRENGTHS = (1, 2, 4, 8, 16)
"""How much differences may be amplified."""
_HEAT = [
    "000004",
    "1b0c41",
    "4a0c6b",
    "781c6d",
    "a52c60",
    "cf4446",
    "ed6925",
    "fb9b06",
    "f7d13d",
    "fcffa4",
]
"""Colours of the heat map, equally spaced: dark is equal, bright is far."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of every picture, as the viewer knows it."""

    key: str
    label: str | None = None
    """What it is called; None if `word` is its name in both languages."""
    word: str | None = None


@dataclass(kw_only=True)
class Shown:
    """A picture in the viewer."""

    name: str
    rows: int
    cols: int
    """Of its largest version."""
    thumb: str
    """A data address."""
    files: dict[str, str]
    """Version → address."""
    quality: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """Version → PSNR and SSIM."""


def write(
    path: Path,
    template: str,
    *,
    title: tuple[str, str],
    versions: list[Version],
    pictures: list[Shown],
    truth: str | None,
    baseline: str | None,
    **content: object,
) -> None:
    """Write a page whole.

    Parameters
    ----------
    title
        In both languages.
    truth, baseline
        The versions that differences and gains are taken to.
    content
        What else the template shows.
    """
    data = {
        "title": title,
        "words": words.dictionary(),
        "versions": [_without_none(vars(v)) for v in versions],
        "pictures": [vars(p) for p in pictures],
        "truth": truth,
        "baseline": baseline,
    }
    page = _templates().get_template(template)
    heat = {c: " ".join(f"{v:.3g}" for v in row) for c, row in zip("RGB", _ramp().T, strict=True)}
    script = Markup("\n".join(_text(name) for name in ("viewer.js", "page.js")))
    text = page.render(
        version=__version__,
        title=title[0],
        viewer_data=_script_json(data),
        style=Markup(_text("style.css")),
        script=script,
        ramp=", ".join(f"#{colour}" for colour in _HEAT),
        heat=heat,
        strengths=STRENGTHS,
        pictures=pictures,
        **content,
    )
    write_text(path, text)


def data_address(picture: NDArray[np.uint8], *, lossless: bool = True) -> str:
    """A picture (H, W[, 3]) as a data address."""
    return _webp(Image.fromarray(picture), lossless=lossless)


def thumbnail(picture: RGB8) -> str:
    """A small version of a picture as a data address."""
    small = Image.fromarray(picture)
    small.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return _webp(small, lossless=False)


def heat_map(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values (H, W) in 0..1 in the colours of the heat map, (H, W, 3)."""
    ramp, stops = _ramp(), np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(values, stops, ramp[:, c]) for c in range(3)]
    return np.round(np.stack(channels, axis=-1) * 255).astype(np.uint8)


def _ramp() -> NDArray[np.float64]:
    colours = [[int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)] for c in _HEAT]
    return np.array(colours)


def _webp(image: Image.Image, *, lossless: bool) -> str:
    file = BytesIO()
    image.save(file, format="WEBP", lossless=lossless, quality=70, method=4)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def _script_json(value: object) -> Markup:
    """JSON that no name of a picture can end the script with."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _text(name: str) -> str:
    return (words.PAGE / name).read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(words.PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"t": words.html}
    environment.filters |= {"picture": data_address, "both": words.spans}
    return environment
