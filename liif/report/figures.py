"""Matplotlib figures as SVG, in the page's own colours and both languages."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from math import inf

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from liif.inference.upscaler import BICUBIC
from liif.report.results import Step
from liif.report.translations import PAGE, both, spans

_INK, _BICUBIC, _COLOUR_OF_LINES = "#fe0000", "#fe0030", "#fe0020"
_COLOURS = {_INK: "ink", "#fe0010": "soft", _COLOUR_OF_LINES: "line", _BICUBIC: "bicubic"}
_COLOURS |= {f"#fe01{i}0": f"series-{i}" for i in range(1, 7)}
"""Placeholder colours → the page's variables, which differ between light and dark."""
_styled = matplotlib.rc_context(fname=PAGE / "figures.mplstyle")
"""Decorator: draw in the page's style."""
_LABEL = 13.0
"""Points between labels."""
_UNITS = (("hours", 3600), ("minutes", 60), ("seconds", 1))
Points = Sequence[float] | NDArray[np.float64]


class _Drawing:
    """A figure with one set of axes; its size is in inches, as wide as a phone's screen."""

    def __init__(self, name: str, width: float = 4.9, height: float = 3.2) -> None:
        self.name = name
        self.figure = Figure(figsize=(width, height))
        self.axes = self.figure.add_subplot()
        self.texts: list[tuple[str, str]] = []

    def text(self, key: str) -> str:
        """A placeholder that `svg` replaces by the text in both languages."""
        return self._placeholder(both(key))

    def literal(self, text: str) -> str:
        """A placeholder for a name, which may have characters that Matplotlib's font lacks."""
        return self._placeholder((text, text))

    def _placeholder(self, texts: tuple[str, str]) -> str:
        self.texts.append(texts)
        # As wide as the longer text, so that a legend has room for it.
        width = max(sum(2 if ord(c) > 0x2E80 else 1 for c in text) for text in self.texts[-1])
        return f"@{len(self.texts) - 1}{'_' * (width - 3)}@"

    def label_ends(self, lines: Mapping[str, tuple[Points, Points]]) -> None:
        """Name each line at its right end; labels of near ends are moved apart."""
        ends = [(m, i, float(x[-1]), float(y[-1])) for i, (m, (x, y)) in enumerate(lines.items())]
        to_points = 72 / self.figure.dpi
        free = -inf
        for model, i, x, y in sorted(ends, key=lambda end: end[3]):
            height = float(self.axes.transData.transform((x, y))[1]) * to_points
            place = max(height, free)
            free = place + _LABEL
            self.axes.annotate(
                model,
                (x, y),
                xytext=(4, place - height),
                textcoords="offset points",
                color=f"C{i}",
                va="center",
                annotation_clip=False,
            )

    def svg(self) -> Markup:
        """The figure as an `<svg>` element, its ids unique in the page."""
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with matplotlib.rc_context({"svg.hashsalt": self.name}):
            self.figure.savefig(file, format="svg", transparent=True, metadata=nothing)
        _, head, body = re.split(r"(<svg[^>]*>)", file.getvalue(), maxsplit=1)
        head = re.sub(r' (width|height)="[^"]*"', "", head)
        svg = head.replace("<svg", '<svg aria-hidden="true" focusable="false"') + body
        svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{self.name}-", svg)
        for placeholder, colour in _COLOURS.items():
            svg = svg.replace(placeholder, f"var(--{colour})")
        return Markup(re.sub(r"@(\d+)_*@", lambda m: spans(self.texts[int(m[1])], "tspan"), svg))


@_styled
def distribution(values: Mapping[str, Sequence[float]], axis: str) -> Markup:
    """A row for each model: a dot for each picture, and a box over them."""
    colours = {model: f"C{i}" for i, model in enumerate(m for m in values if m != BICUBIC)}
    models = list(values)[::-1]
    plot = _Drawing(axis, height=0.7 + 0.55 * len(models))
    rng = np.random.default_rng(0)  # separates the dots of equal values
    for i, model in enumerate(models):
        points = np.asarray(values[model])
        rows = i + rng.uniform(-0.22, 0.22, len(points))
        size = 14 if len(points) < 200 else 5
        plot.axes.scatter(
            points, rows, s=size, color=colours.get(model, _BICUBIC), alpha=0.55, linewidths=0
        )
    plot.axes.boxplot(
        [values[m] for m in models],
        positions=range(len(models)),
        orientation="horizontal",
        widths=0.62,
        tick_labels=[plot.text(m) if m == BICUBIC else m for m in models],
    )
    if axis == "gain_axis":
        plot.axes.axvline(0, color=_BICUBIC, linestyle="--", linewidth=1)
    plot.axes.grid(axis="y", visible=False)
    plot.axes.set_xlabel(plot.text(axis))
    return plot.svg()


@_styled
def dumbbells(values: Mapping[str, Mapping[str, float]], axis: str) -> Markup:
    """A row for each picture, with bicubic's value and that of each model on one line."""
    names = sorted({name for of in values.values() for name in of}, reverse=True)
    plot = _Drawing(f"pictures-{axis}", height=1.0 + 0.3 * len(names))
    colours = {model: f"C{i}" for i, model in enumerate(m for m in values if m != BICUBIC)}
    for row, name in enumerate(names):
        known = [of[name] for of in values.values() if name in of]
        plot.axes.hlines(row, min(known), max(known), color=_COLOUR_OF_LINES, linewidth=3)
    for model, of in values.items():
        plot.axes.scatter(
            list(of.values()),
            [names.index(name) for name in of],
            s=34,
            zorder=3,
            color=colours.get(model, _BICUBIC),
            label=plot.text(model) if model == BICUBIC else model,
        )
    plot.axes.set_yticks(range(len(names)), [plot.literal(name) for name in names])
    plot.axes.grid(axis="y", visible=False)
    plot.axes.set_xlabel(plot.text(axis))
    plot.figure.legend(loc="outside upper left", ncols=2)
    return plot.svg()


@_styled
def curves(lines: Mapping[str, tuple[Points, Points]], axis: str, *, log: bool = False) -> Markup:
    """A line for each model over the epochs, labelled at its end."""
    plot = _Drawing(axis)
    for epochs, values in lines.values():
        marker = "o" if len(epochs) < 2 else None
        plot.axes.plot(epochs, values, marker=marker)
    if log:
        plot.axes.set_yscale("log")
    plot.label_ends(lines)
    plot.axes.set(xlabel=plot.text("epoch"), ylabel=plot.text(axis))
    return plot.svg()


@_styled
def bars(steps: Sequence[Step]) -> Markup:
    """A bar for the time of each step, in seconds, minutes or hours."""
    plot = _Drawing("steps", height=0.8 + 0.28 * len(steps))
    longest = max(step.seconds for step in steps)
    unit, seconds = next(u for u in _UNITS if longest >= 2 * u[1] or u[1] == 1)
    names = [step.name for step in steps[::-1]]
    plot.axes.barh(names, [step.seconds / seconds for step in steps[::-1]], height=0.7)
    plot.axes.set_xlim(left=0)
    plot.axes.grid(axis="y", visible=False)
    plot.axes.set_xlabel(plot.text(unit))
    return plot.svg()


@_styled
def spectra(
    frequencies: Points, powers: Mapping[str, Points], limit: float, plain: Sequence[str]
) -> Markup:
    """Power by frequency; `plain` names the curves that no model made."""
    plot = _Drawing("radial", height=4.4)
    colours = {name: f"C{i}" for i, name in enumerate(n for n in powers if n not in plain)}
    styles = dict(zip(plain, ("-", ":", "-.", "--"), strict=False))
    for name, values in powers.items():
        plot.axes.plot(
            frequencies,
            values,
            color=colours.get(name, _INK if name == plain[0] else _BICUBIC),
            label=plot.text(name) if name in plain else name,
            linestyle=styles.get(name, "-"),
        )
    plot.axes.axvline(limit, color=_INK, linestyle="--", linewidth=1)
    plot.axes.set_yscale("log")
    plot.axes.set(xlabel=plot.text("frequency_axis"), ylabel=plot.text("power_axis"))
    plot.axes.legend()
    return plot.svg()


@_styled
def kernels(lines: Mapping[str, tuple[Points, Points, Points, Points]]) -> Markup:
    """Kernels: key of the label → (curve x, curve y, taps x, taps y)."""
    plot = _Drawing("kernels", height=4.4)
    for key, (x, y, taps, weights) in lines.items():
        plot.axes.plot(x, y, label=plot.text(key))
        plot.axes.scatter(taps, weights, s=16, zorder=3)
    plot.axes.set(xlabel=plot.text("distance_axis"), ylabel=plot.text("weight_axis"))
    plot.figure.legend(loc="outside upper left")  # the labels are long
    return plot.svg()
