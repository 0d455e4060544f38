"""Figures: matplotlib's plots as SVG in the page's own colours and both languages."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from liif.inference.upscaler import BICUBIC
from liif.report.translations import both, spans

_SERIES = 6
_COLOURS = {
    "#fe0000": "var(--ink)",
    "#fe0010": "var(--soft)",
    "#fe0020": "var(--line)",
    "#fe0030": "var(--bicubic)",
    **{f"#fe01{i:x}0": f"var(--series-{i})" for i in range(1, _SERIES + 1)},
}
"""Colours that stand for those of the page, light or dark."""
_INK, _SOFT, _LINE, BICUBIC_COLOUR = list(_COLOURS)[:4]
INK = _INK
_STYLE: Any = {  # matplotlib's own type lists every key
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _SOFT,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _LINE,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.constrained_layout.use": True,
}
Points = Sequence[float] | NDArray[np.float64]


def series(i: int) -> str:
    """The colour of the i-th model, counted from 0."""
    return list(_COLOURS)[4 + i % _SERIES]


class Drawing:
    """A figure with one set of axes, whose words are in both languages."""

    def __init__(self, name: str, axes: Axes, figure: Figure) -> None:
        self.name, self.axes, self.figure = name, axes, figure
        self.texts: list[tuple[str, str]] = []

    def word(self, key: str, **values: object) -> str:
        """What stands for a text until the figure is made."""
        texts = both(key, **values)
        self.texts.append(texts)
        # As long as the longer of both, so that a legend has room for it.
        length = max(sum(2 if ord(c) > 0x2E80 else 1 for c in text) for text in texts)
        return f"@{len(self.texts) - 1}{'_' * (length - 3)}@"

    def svg(self) -> Markup:
        """The figure as an `<svg>` element."""
        text = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        with matplotlib.rc_context({**_STYLE, "svg.hashsalt": self.name}):
            self.figure.savefig(text, format="svg", transparent=True, metadata=nothing)
        svg = text.getvalue()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
        svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
        svg = svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
        # No two figures of a page may have the same names within.
        svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{self.name}-", svg)
        for sentinel, colour in _COLOURS.items():
            svg = svg.replace(sentinel, colour)
        return Markup(re.sub(r"@(\d+)_*@", self._both, svg))

    def _both(self, number: re.Match[str]) -> str:
        return str(spans(self.texts[int(number[1])], tag="tspan"))


@contextmanager
def drawing(name: str, width: float = 6.4, height: float = 3.6) -> Iterator[Drawing]:
    """A figure of that size in inches, to be drawn within the block."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        yield Drawing(name, figure.add_subplot(), figure)


def colours(models: Sequence[str]) -> dict[str, str]:
    """The same colour for a model in every figure."""
    return {model: series(i) for i, model in enumerate(models)}


def distribution(values: Mapping[str, Sequence[float]], axis: str, name: str) -> Markup:
    """A row for each model: every picture a dot, and a box over them."""
    models = list(values)
    chosen = {**colours([m for m in models if m != BICUBIC]), BICUBIC: BICUBIC_COLOUR}
    with drawing(name, height=0.7 + 0.55 * len(models)) as plot:
        axes = plot.axes
        rng = np.random.default_rng(0)  # dots of equal pictures are beside each other
        for i, model in enumerate(reversed(models)):
            points = np.asarray(values[model])
            scatter = i + rng.uniform(-0.22, 0.22, len(points))
            size = 14 if len(points) < 200 else 5
            axes.scatter(points, scatter, s=size, color=chosen[model], alpha=0.55, linewidths=0)
        axes.boxplot(
            [values[m] for m in reversed(models)],
            positions=range(len(models)),
            orientation="horizontal",
            widths=0.62,
            showfliers=False,
            boxprops={"color": INK},
            whiskerprops={"color": INK},
            capprops={"color": INK},
            medianprops={"color": INK, "linewidth": 2},
            tick_labels=[plot.word(m) if m == BICUBIC else m for m in reversed(models)],
        )
        if axis == "gain_axis":
            axes.axvline(0, color=BICUBIC_COLOUR, linestyle="--", linewidth=1)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(plot.word(axis))
        return plot.svg()


def curves(lines: Mapping[str, tuple[Points, Points]], axis: str, *, log: bool = False) -> Markup:
    """A line for each model over the epochs."""
    chosen = colours(list(lines))
    with drawing(axis, width=5.2, height=3.2) as plot:
        for model, (epochs, values) in lines.items():
            marker = "o" if len(epochs) < 2 else None
            plot.axes.plot(epochs, values, color=chosen[model], label=model, marker=marker)
        if log:
            plot.axes.set_yscale("log")
        plot.axes.set_xlabel(plot.word("epoch"))
        plot.axes.set_ylabel(plot.word(axis))
        plot.axes.legend()
        return plot.svg()


def bars(values: Mapping[str, float], axis: str, name: str) -> Markup:
    """A bar for each step."""
    with drawing(name, height=0.7 + 0.24 * len(values)) as plot:
        names = list(values)[::-1]
        plot.axes.barh(names, [values[n] for n in names], color=series(0), height=0.7)
        plot.axes.set_xscale("symlog", linthresh=1)
        plot.axes.xaxis.set_major_formatter("{x:g}")
        plot.axes.grid(axis="y", visible=False)
        plot.axes.set_xlabel(plot.word(axis))
        return plot.svg()


def spectra(
    frequencies: Points, powers: Mapping[str, Points], limit: float, plain: Sequence[str]
) -> Markup:
    """Power by frequency; `plain` are the words of enlargements without a model."""
    with drawing("radial", height=4.2) as plot:
        models = [name for name in powers if name not in plain]
        chosen = colours(models)
        styles = dict(zip(plain, ("-", ":", "-.", "--"), strict=False))
        for name, values in powers.items():
            colour = chosen.get(name, INK if name == plain[0] else BICUBIC_COLOUR)
            label = plot.word(name) if name in plain else name
            plot.axes.plot(
                frequencies, values, color=colour, label=label, linestyle=styles.get(name, "-")
            )
        plot.axes.axvline(limit, color=INK, linestyle="--", linewidth=1)
        plot.axes.set_yscale("log")
        plot.axes.set_xlabel(plot.word("frequency_axis"))
        plot.axes.set_ylabel(plot.word("power_axis"))
        plot.axes.legend()
        return plot.svg()


def kernels(lines: Mapping[str, tuple[Points, Points, Points, Points]]) -> Markup:
    """Kernels: (curve x, curve y, taps x, taps y) by the word that names each."""
    with drawing("kernels", height=4.4) as plot:
        for i, (key, (x, y, taps, weights)) in enumerate(lines.items()):
            plot.axes.plot(x, y, color=series(i), label=plot.word(key))
            plot.axes.scatter(taps, weights, color=series(i), s=16, zorder=3)
        plot.axes.set_xlabel(plot.word("distance_axis"))
        plot.axes.set_ylabel(plot.word("weight_axis"))
        plot.figure.legend(loc="outside upper left")  # its words are long
        return plot.svg()
