"""HTML pages: a template, the viewer and its pictures in one file."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from liif import __version__
from liif.images.pixels import RGB8
from liif.report.translations import PAGE, dictionary, html, spans
from liif.system.files import write_text

_THUMBNAIL = 128
"""Longest side in pixels."""
_HEAT = "#000004, #1b0c41, #4a0c6b, #781c6d, #a52c60, #cf4446, #ed6925, #fb9b06, #f7d13d, #fcffa4"
"""Heat-map colours, equally spaced, from equal (dark) to far apart (bright)."""
_RAMP = np.array([list(bytes.fromhex(colour[1:])) for colour in _HEAT.split(", ")]) / 255


STRENGTHS = (1, 2, 4, 8, 16)
"""Factors by which the viewer can amplify differences."""
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
    """Quality by version."""


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
        "strengths": STRENGTHS,
    }
    template = TEMPLATES.get_template(name)
    write_text(path, template.render(viewer_data=data, pictures=pictures, **content))


def data_url(picture: NDArray[np.uint8], *, lossless: bool = True, quality: int = 70) -> str:
    """A picture (H, W[, 3]) as a data URL of WebP."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=lossless, quality=quality, method=4)
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


TEMPLATES = Environment(
    loader=FileSystemLoader(PAGE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""Templates of the page's folder."""
TEMPLATES.policies["json.dumps_kwargs"] = {
    "ensure_ascii": False,
    "separators": (",", ":"),
    "allow_nan": False,
}
TEMPLATES.filters["data_url"] = data_url
TEMPLATES.globals |= {
    "t": html,
    "lang": spans,
    "version": __version__,
    "ramp": _HEAT,
    "heat": dict(zip("RGB", _RAMP.T, strict=True)),
    "strengths": STRENGTHS,
}
