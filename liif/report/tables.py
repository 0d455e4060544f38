"""Numbers: what was measured, beside what was published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from liif.checkpoints import published
from liif.checkpoints.provenance import metadata
from liif.config import Architecture, Border, Experiment, TrainedModel
from liif.data.div2k import ARCHIVES
from liif.images.metrics import border_width
from liif.inference.evaluate import Result
from liif.inference.upscaler import BICUBIC
from liif.report.results import Results
from liif.report.translations import both
from liif.system.errors import UserError


class Cell(NamedTuple):
    """A model at a scale; None is not measured, or not published."""

    measured: float | None
    published: float | None

    @property
    def difference(self) -> float | None:
        """Measured less published."""
        if self.measured is None or self.published is None:
            return None
        return self.measured - self.published


class Row(NamedTuple):
    """A model at all scales."""

    model: str
    network: str | None
    """What it is called where it was published."""
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A set: its models by its scales."""

    name: str
    convention: tuple[str, str]
    """How it was measured, in each language."""
    same_pictures: bool
    """Whether it was published on just these."""
    same_convention: bool
    """Whether it was published with this channel and this border."""
    scales: list[float]
    rows: list[Row]


def tables(results: Results, settings: Experiment | None, versions: dict[str, str]) -> list[Table]:
    """A table for each set that anything was measured on, but the test pictures.

    Parameters
    ----------
    versions
        The hash of each set's source, where that is known.
    """
    sets = dict.fromkeys(r["set"] for r in results.evaluations if r["set"] != "test")
    return [_table(results, name, settings, versions.get(name)) for name in sets]


def _table(results: Results, name: str, settings: Experiment | None, version: str | None) -> Table:
    found: dict[tuple[str, float], Result] = {
        (r["model"], r["scale"]): r for r in results.evaluations if r["set"] == name
    }
    first = next(iter(found.values()))
    scores = published.scores(name, first["channel"])
    networks = {m: network(results, m, settings) for m in results.models}
    present = [m for m in networks if any(model == m for model, _ in found)]
    there = {networks[m] for m in present}
    scales = sorted(
        {s for _, s in found} | {s for n, row in scores.items() if n in there for s in row}
    )
    # Bicubic first, then the models.
    rows = []
    for model in ([BICUBIC] if any(m == BICUBIC for m, _ in found) else []) + present:
        known = scores.get(BICUBIC if model == BICUBIC else networks[model] or "", {})
        cells = [Cell(found.get((model, s), {}).get("psnr"), known.get(s)) for s in scales]
        rows.append(Row(model, networks.get(model), cells))
    channel = first["channel"]
    usual: Border = "scale+6" if channel == "rgb" else "scale"
    return Table(
        name=name,
        convention=_convention(list(found.values())),
        same_pictures=name != "valid" or version == ARCHIVES[published.DIV2K_VALID].sha256,
        same_convention=all(r["border"] == border_width(usual, s) for (_, s), r in found.items()),
        scales=scales,
        rows=rows,
    )


def _convention(results: list[Result]) -> tuple[str, str]:
    """The channel, and what is left out at the border, which may differ by scale."""
    widths = sorted({int(r["border"]) for r in results})
    if len(widths) == 1:
        border = both("border_pixels", n=widths[0])
    else:
        border = both("border_by_scale", n=f"{widths[0]}–{widths[-1]}")
    return both(f"convention_{results[0]['channel']}", border=border)


def network(results: Results, model: str, settings: Experiment | None) -> str | None:
    """The published network that a model is, by its weights or its settings."""
    architecture: Any = None
    weights = results.weights(model)
    if weights is not None:
        architecture = metadata(weights).get("architecture")
    elif settings is not None and isinstance(settings.models[model], TrainedModel):
        architecture = settings.recipe(model).architecture.model_dump(mode="json")
    if architecture is None:
        return None
    try:
        return published.network(Architecture.model_validate(architecture))
    except ValueError as error:
        raise UserError(f"{weights}: its architecture is damaged: {error}") from None


class OnTest(NamedTuple):
    """What a model does on the test pictures."""

    model: str
    psnr: float | None
    ssim: float | None
    gain: float | None
    """PSNR above bicubic's."""
    better: int
    compared: int
    """Pictures on which it is better than bicubic, of so many."""


def on_test(results: Results) -> list[OnTest]:
    """Bicubic and each model on the test pictures, where those have a truth."""
    rows = []
    for model in results.enlarged:
        result, gains = results.on_test(model), results.gains(model)
        if result is not None:
            gain = sum(gains.values()) / len(gains) if gains and model != BICUBIC else None
            better = sum(g > 0 for g in gains.values())
            rows.append(OnTest(model, result["psnr"], result["ssim"], gain, better, len(gains)))
    return rows
