"""The page of `liif app`, in one file with the report's viewer."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from jinja2 import FileSystemLoader
from PIL import Image

from liif.app.limits import PREVIEW_PIXELS, Limits
from liif.app.previews import thumbnail_size
from liif.app.weights import Weights
from liif.checkpoints.catalog import WEIGHTS
from liif.report.render import STRENGTHS, TEMPLATES, data_url
from liif.report.translations import PAGE, dictionary, spans

PARTS = Path(__file__).parent / "parts"
"""Template, style, script and texts."""
SAMPLES = {p.stem: p for p in sorted(WEIGHTS.parent.glob("photos/test/*.webp"))}
"""Bundled photographs, by name."""
FORMATS = ("png", "webp", "jpg", "tif")
"""Formats to download."""


class Page(NamedTuple):
    """A page and the headers of its response."""

    html: str
    headers: dict[str, str]


def render(weights: Mapping[str, Weights], limits: Limits) -> Page:
    """The page for these weights."""
    words = _words()
    data: dict[str, Any] = {
        "title": words["app_title"],
        "words": words,
        "versions": [],
        "pictures": [],
        "truth": None,
        "baseline": "bicubic",
        "strengths": STRENGTHS,
        "previewPixels": PREVIEW_PIXELS,
        "uploadBytes": limits.upload,
        "outputPixels": limits.output,
        "weights": {name: found.purpose for name, found in weights.items()},
        "samples": _samples(),
        "formats": FORMATS,
    }
    environment = TEMPLATES.overlay(loader=FileSystemLoader([PARTS, PAGE]))
    template = environment.get_template("app.html")
    html = template.render(viewer_data=data, t=lambda key: spans(words[key]), formats=FORMATS)
    return Page(html, {"Content-Security-Policy": policy(html)})


def policy(html: str) -> str:
    """The Content-Security-Policy under which only this page's own scripts run."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{h}'" for h in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; "
        "style-src 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def _words() -> dict[str, tuple[str, str]]:
    """The texts of the report's viewer, and the page's own."""
    texts = yaml.safe_load((PARTS / "words.yaml").read_text(encoding="utf-8"))
    return dictionary() | {key: (english, chinese) for key, (english, chinese) in texts.items()}


@cache
def _samples() -> list[dict[str, str]]:
    """Names and thumbnails of the samples."""
    found = []
    for name, path in SAMPLES.items():
        with Image.open(path) as image:
            small = thumbnail_size(image.convert("RGB"))
        found.append({"name": name, "thumb": data_url(np.asarray(small), lossless=False)})
    return found
