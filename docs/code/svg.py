"""A drawing of lines, shapes and words, in the colours of the page that shows it."""

from __future__ import annotations

from collections.abc import Iterable

TEAL, ORANGE, BLUE, PINK = "#00a08a", "#e07b26", "#4b88d8", "#d0588f"
Point = tuple[float, float]
# An SVG that is an image of its own, as on GitHub, takes its colour from the system's scheme.
_STYLE = (
    "<style>svg{color:#24292f}@media(prefers-color-scheme:dark){svg{color:#d0d7de}}</style>"
    '<defs><marker id="ARROW" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>'
)


class Drawing:
    """Collects shapes; `str` is the SVG. Coordinates are (x, y) in pixels from the top left."""

    def __init__(self, name: str, width: int, height: int) -> None:
        self.name, self.size, self.parts = name, (width, height), list[str]()

    def __str__(self) -> str:
        width, height = self.size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'class="figure" width="{width}" height="{height}" font-size="15" '
            'font-family="system-ui,sans-serif" fill="none" stroke="none">'
        )
        style = _STYLE.replace("ARROW", f"{self.name}-arrow")
        return "\n".join([head + style, *self.parts, "</svg>"]) + "\n"

    def line(
        self, points: Iterable[Point], colour: str = "currentColor", width: float = 1.5, **more: str
    ) -> None:
        """A line through points; `dash`, `arrow` (end or both) and `opacity` change its look."""
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        ends = {"end": ("end",), "both": ("start", "end")}.get(more.pop("arrow", ""), ())
        marks = "".join(f' marker-{e}="url(#{self.name}-arrow)"' for e in ends)
        dash = f' stroke-dasharray="{more.pop("dash")}"' if "dash" in more else ""
        self.parts.append(
            f'<polyline points="{text}" stroke="{colour}" stroke-width="{width}"'
            f"{dash}{marks}{_attributes(more)}/>"
        )

    def box(self, x: float, y: float, width: float, height: float, **more: str) -> None:
        """A rectangle, by default with an outline only."""
        more = {"stroke": "currentColor", "stroke-width": "1.2"} | more
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
            f"{_attributes(more)}/>"
        )

    def dot(self, x: float, y: float, r: float = 4, colour: str = "currentColor") -> None:
        """A filled circle."""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" fill="{colour}"/>')

    def text(self, x: float, y: float, words: str, anchor: str = "middle", **more: str) -> None:
        """Words; `_` begins a subscript of one word, and *…* is italic."""
        more = {"fill": "currentColor"} | more
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{_attributes(more)}>'
            f"{_markup(words)}</text>"
        )


def _attributes(more: dict[str, str]) -> str:
    return "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())


def _markup(words: str) -> str:
    parts = words.replace("&", "&amp;").replace("<", "&lt;").split("*")
    text = "".join(
        f'<tspan font-style="italic">{p}</tspan>' if i % 2 else p for i, p in enumerate(parts)
    )
    pieces = text.split("_")
    for i, piece in enumerate(pieces[1:], 1):
        sub, after = (
            piece[:2] if piece[:2].isdigit() else piece[:1],
            piece[2 if piece[:2].isdigit() else 1 :],
        )
        back = f'<tspan dy="-4">{after}</tspan>' if after else ""
        pieces[i] = f'<tspan dy="4" font-size="11">{sub}</tspan>{back}'
    return "".join(pieces)
