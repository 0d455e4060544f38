"""Options of a request to upscale a picture, and the command with the same result."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from liif.app.limits import Refused
from liif.app.weights import Weights
from liif.images.write import FORMATS
from liif.inference.plan import parse_format
from liif.inference.size import Size, parse_size
from liif.network import precision as precisions
from liif.network.precision import Precision
from liif.system.errors import UserError

_NAMES = {
    *("scale", "size", "width", "height", "weights", "format", "quality"),
    *("precision", "self_ensemble", "back_projection"),
}
LARGEST_SCALE = 100
_SWITCHES = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `liif upscale` for one picture."""

    size: Size
    weights: str
    suffix: str = ".png"
    quality: int = 95
    precision: Precision = "auto"
    self_ensemble: bool = False
    back_projection: bool = True

    def command(self, name: str, suffix: str | None = None) -> str:
        """The command that writes the same bytes from the picture of that name."""
        words = ["liif", "upscale", name]
        size = self.size
        if size.scale is not None:
            words += ["--scale", f"{size.scale:.10g}"]
        elif size.width is not None and size.height is not None:
            words += ["--size", size.label]
        else:
            words += ["--width", str(size.width)] if size.width else ["--height", str(size.height)]
        words += ["--weights", self.weights]
        if self.precision != "auto":
            words += ["--precision", self.precision]
        if self.self_ensemble:
            words.append("--self-ensemble")
        if not self.back_projection:
            words.append("--no-back-projection")
        if (suffix or self.suffix) != ".png":
            words += ["--format", (suffix or self.suffix)[1:]]
        if self.quality != 95:
            words += ["--quality", str(self.quality)]
        return shlex.join(words)

    def arguments(self, weights: Path | str) -> dict[str, Any]:
        """The settings as JSON, for the process that upscales."""
        return {
            "size": vars(self.size),
            "weights": str(weights),
            "quality": self.quality,
            "precision": self.precision,
            "self_ensemble": self.self_ensemble,
            "back_projection": self.back_projection,
        }


def parse(values: Mapping[str, str], weights: Mapping[str, Weights], default: str) -> Options:
    """The options of a request; unknown names and values are refused in one line."""
    if unknown := sorted(set(values) - _NAMES):
        raise Refused(f"`{unknown[0]}` is not one of {', '.join(sorted(_NAMES))}", 400)
    name = values.get("weights", default)
    if name not in weights:
        raise Refused(f"weights `{name}` must be one of {', '.join(weights)}", 400)
    try:
        size = parse_size(
            _scale(values.get("scale")),
            values.get("size"),
            _whole(values, "width", 1 << 20),
            _whole(values, "height", 1 << 20),
        )
    except UserError as error:
        raise UserError(str(error).replace("--", "")) from None
    return Options(
        size=size,
        weights=name,
        suffix=parse_format(values.get("format", "png")),
        quality=_whole(values, "quality", 100) or 95,
        precision=precisions.parse(values.get("precision", "auto")),
        self_ensemble=_switch(values, "self_ensemble", "false"),
        back_projection=_switch(values, "back_projection", "true"),
    )


def output_name(name: str, options: Options, suffix: str | None = None) -> str:
    """The name that `liif upscale` gives the output."""
    return f"{PurePath(name).stem}_{options.size.label}{suffix or options.suffix}"


def media_type(suffix: str) -> str:
    """The MIME type of pictures with that suffix."""
    return f"image/{FORMATS[suffix].lower()}"


def _scale(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        scale = float(text)
    except ValueError:
        scale = float("nan")
    if not 1 <= scale <= LARGEST_SCALE:
        raise UserError(f"scale `{text}` must be a number from 1 to {LARGEST_SCALE}")
    return scale


def _whole(values: Mapping[str, str], name: str, most: int) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= most):
        raise UserError(f"{name} `{text}` must be a whole number from 1 to {most}")
    return int(text)


def _switch(values: Mapping[str, str], name: str, default: str) -> bool:
    text = values.get(name, default)
    if text not in _SWITCHES:
        raise UserError(f"{name} `{text}` is not one of {', '.join(_SWITCHES)}")
    return _SWITCHES[text]
