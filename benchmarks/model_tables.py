"""Tables of the models, in docs/models.md between their markers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tables import markdown

from liif.checkpoints.catalog import as_used, local_path
from liif.inference.upscaler import BICUBIC

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
INPUTS = {"clean": "clean", "jpeg75": "JPEG 75", "jpeg30": "JPEG 30", "noise10": "noise 10"}
"""Degradation of the LR pictures, with its name in tables."""
SCALES = (2, 4, 8)
RELEASED = "edsr-baseline"
Measured = dict[str, Any]


def write_tables(measured: Measured) -> None:
    """Replace what the page shows of the last measurements."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), measured), encoding="utf-8")


def with_tables(text: str, measured: Measured) -> str:
    """The page with these measurements."""
    for name, block in blocks(measured).items():
        start = f"<!-- make models: {name} -->\n"
        before, found, rest = text.partition(start)
        _, end, after = rest.partition("<!-- end -->")
        text = f"{before}{found}{block}\n{end}{after}" if found else text
    return text


def blocks(measured: Measured) -> dict[str, str]:
    """All tables by the names of their markers."""
    models = {n: m for n, m in measured["models"].items() if "quality" in m}
    cards = {f"card {n}": markdown(card(models, n)) for n in models if n != BICUBIC}
    return {
        "machine": measured["machine"],
        "choice": markdown(choice(models)),
        "times": markdown(times(models)),
        "psnr": markdown(psnrs(models)),
        "back-projection": markdown(back_projection(models)),
        "colours": markdown(colours(models)),
        **cards,
    }


def choice(models: Measured) -> list[list[str]]:
    """Means over ×2, ×4 and ×8, best on clean pictures first."""

    def mean(name: str, *inputs: str) -> float:
        found = [as_used(models[name], case, s)["psnr"] for case in inputs for s in SCALES]
        return sum(found) / len(found)

    degraded = [case for case in INPUTS if case != "clean"]
    ranked = sorted(models, key=lambda name: -mean(name, "clean"))
    lines = [["model", "clean, dB", "to the best", "degraded, dB", "time"]]
    for name in ranked:
        clean = mean(name, "clean")
        behind = clean - mean(ranked[0], "clean")
        cells = f"{clean:.3f}", f"{behind:+.3f}" if behind else "–"
        lines.append(
            [f"`{name}`", *cells, f"{mean(name, *degraded):.3f}", f"{models[name]['time']:.2f}"]
        )
    return lines


def times(models: Measured) -> list[list[str]]:
    """Size and time of each model."""
    lines = [["model", "parameters", "MB", "100×100 → 800×800", "relative"]]
    for name, model in models.items():
        size = "–" if name == BICUBIC else f"{local_path(name).stat().st_size / 1e6:.1f}"
        seconds = f"{model['seconds']:.2f} s"
        lines.append(
            [f"`{name}`", f"{model['parameters']:,}", size, seconds, f"{model['time']:.3f}"]
        )
    return lines


def psnrs(models: Measured) -> list[list[str]]:
    """PSNR of every model by case and scale, the best in bold."""
    lines = [["input", "model", *(f"×{s}" for s in SCALES)]]
    for case, shown in INPUTS.items():
        best = {s: max(as_used(m, case, s)["psnr"] for m in models.values()) for s in SCALES}
        for name, model in models.items():
            values = {s: as_used(model, case, s)["psnr"] for s in SCALES}
            cells = [f"**{v:.2f}**" if v == best[s] else f"{v:.2f}" for s, v in values.items()]
            lines.append([shown if name == BICUBIC else "", f"`{name}`", *cells])
    return lines


def back_projection(models: Measured) -> list[list[str]]:
    """PSNR without back-projection, and what back-projection changes."""
    lines = [["input", "model", *(f"×{s}" for s in SCALES)]]
    for case, shown in INPUTS.items():
        for name, model in models.items():
            if name != BICUBIC:
                ways = [model["quality"][case][str(s)] for s in SCALES]
                cells = [
                    f"{w['without']['psnr']:.2f} ({w['with']['psnr'] - w['without']['psnr']:+.3f})"
                    for w in ways
                ]
                lines.append([shown, f"`{name}`", *cells])
                shown = ""
    return lines


def colours(models: Measured) -> list[list[str]]:
    """Largest colour shift of every model over all cases, as used; without back-projection."""
    ways = {"as used": None, "without back-projection": "without"}
    lines = [["model", *(f"×{s}, {text}" for text in ways for s in SCALES)]]
    for name, model in models.items():
        cells = []
        for way in ways.values():
            for s in SCALES:
                found = [
                    model["quality"][d][str(s)][way] if way else as_used(model, d, s)
                    for d in INPUTS
                ]
                cells.append(f"{max(numbers['colour'] for numbers in found):.2f}")
        lines.append([f"`{name}`", *cells])
    return lines


def card(models: Measured, name: str) -> list[list[str]]:
    """A model's PSNR, with its gains over bicubic and over the released model."""
    others = [other for other in (BICUBIC, RELEASED) if other != name]
    lines = [["input", *(f"×{s}" for s in SCALES)]]
    for case, shown in INPUTS.items():
        cells = []
        for s in SCALES:
            value = as_used(models[name], case, s)["psnr"]
            gains = (value - as_used(models[other], case, s)["psnr"] for other in others)
            cells.append(f"{value:.2f} ({', '.join(f'{gain:+.2f}' for gain in gains)})")
        lines.append([shown, *cells])
    return lines
