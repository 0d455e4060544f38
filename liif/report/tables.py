"""Tables of measured beside published values."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from liif.checkpoints.catalog import published_network
from liif.checkpoints.format import architecture_of, load_metadata
from liif.config import Border, Experiment, TrainedModel
from liif.data.degrade import parse_set
from liif.data.div2k import ARCHIVES
from liif.images.metrics import border_width
from liif.inference.evaluate import Result, back_projection_of
from liif.inference.upscaler import BICUBIC
from liif.report import published
from liif.report.results import Results
from liif.report.translations import both


class Cell(NamedTuple):
    """PSNR of a model at a scale; None if not measured or not published."""

    measured: float | None
    published: float | None
    difference: float | None
    """Measured minus published."""


class Row(NamedTuple):
    """A model at all scales."""

    model: str
    network: str | None
    """Its published name."""
    cells: list[Cell]


class Table(NamedTuple):
    """The models on a set, by scale."""

    name: str
    convention: tuple[str, str]
    """How PSNR was measured, in each language."""
    same_pictures: bool
    """Whether the published values are of the same pictures."""
    same_convention: bool
    """Whether they were measured with the same channel and border."""
    back_projection: list[str]
    """Models whose pictures were corrected by back-projection."""
    scales: list[float]
    rows: list[Row]


def tables(results: Results, settings: Experiment | None, versions: dict[str, str]) -> list[Table]:
    """A table for each measured set except the test pictures and degraded sets.

    `versions` maps sets to the hash of their source, where known.
    """
    named = dict.fromkeys(r["set"] for r in results.evaluations if r["set"] != "test")
    sets = [name for name in named if not parse_set(name)[1]]
    return [_table(results, name, settings, versions.get(name)) for name in sets]


def _table(results: Results, name: str, settings: Experiment | None, version: str | None) -> Table:
    found: dict[tuple[str, float], Result] = {
        (r["model"], r["scale"]): r for r in results.evaluations if r["set"] == name
    }
    channel = next(iter(found.values()))["channel"]
    scores = published.scores(name, channel)
    measured = {model for model, _ in found}
    networks = {m: network(results, m, settings) for m in results.models if m in measured}
    scales = {scale for _, scale in found}
    scales |= {s for n in networks.values() if n in scores for s in scores[n]}
    rows = []
    for model in [m for m in results.upscaled if m in measured]:
        known = scores.get(BICUBIC if model == BICUBIC else networks[model] or "", {})
        cells = []
        for scale in sorted(scales):
            psnr, reference = found.get((model, scale), {}).get("psnr"), known.get(scale)
            difference = None if psnr is None or reference is None else psnr - reference
            cells.append(Cell(psnr, reference, difference))
        rows.append(Row(model, networks.get(model), cells))
    at_scale = {r["model"]: r["psnr"] for (_, s), r in found.items() if s == results.scale}
    rows.sort(key=lambda row: -(at_scale.get(row.model) or -inf))  # best first
    usual: Border = "scale+6" if channel == "rgb" else "scale"
    widths = sorted({int(r["border"]) for r in found.values()})
    return Table(
        name=name,
        convention=convention(channel, widths),
        same_pictures=name != "valid" or version == ARCHIVES[published.DIV2K_VALID].sha256,
        same_convention=all(r["border"] == border_width(usual, s) for (_, s), r in found.items()),
        back_projection=[
            model
            for model in networks
            if any(back_projection_of(r) for (m, _), r in found.items() if m == model)
        ],
        scales=sorted(scales),
        rows=rows,
    )


def convention(channel: str, borders: list[int]) -> tuple[str, str]:
    """How PSNR was measured, in words."""
    key, n = "border_pixels", f"{borders[0]}"
    if len(borders) > 1:
        key, n = "border_by_scale", f"{borders[0]}–{borders[-1]}"
    return both(f"convention_{channel}", border=both(key, n=n))


def network(results: Results, model: str, settings: Experiment | None) -> str | None:
    """The published name of a model's network, by its weights or else its settings.

    None if it was fine-tuned, distilled or trained on degraded pictures, unlike the paper's.
    """
    weights = results.outputs(model).weights
    if weights.is_file():
        metadata = load_metadata(weights)
        recipe = metadata.get("provenance", {}).get("recipe") or {}
        architecture = architecture_of(weights, metadata)
    elif settings is not None and isinstance(settings.models[model], TrainedModel):
        recipe = settings.recipe(model).model_dump()
        architecture = settings.recipe(model).architecture
    else:
        return None
    unlike = recipe.get("start") or recipe.get("teacher") or recipe.get("train", {}).get("degrade")
    return None if unlike else published_network(architecture)


class OnTest(NamedTuple):
    """A model on the test pictures."""

    model: str
    psnr: float | None
    ssim: float | None
    gain: float | None
    """Mean PSNR above bicubic's."""
    better: int
    """Number of pictures on which it is better than bicubic."""
    compared: int


class Verdict(NamedTuple):
    """The best model on the test pictures, by mean PSNR."""

    best: OnTest
    others: list[OnTest]
    """Other models, best first."""
    bicubic: OnTest


def verdict(rows: list[OnTest]) -> Verdict | None:
    """Which model is best, of rows that are ranked; None without models or without bicubic."""
    bicubic = next((row for row in rows if row.model == BICUBIC and row.psnr is not None), None)
    models = [row for row in rows if row.model != BICUBIC and row.gain is not None]
    return Verdict(models[0], models[1:], bicubic) if models and bicubic else None


def on_test(results: Results) -> list[OnTest]:
    """Bicubic and each model that was measured on the test pictures, best first."""
    rows = []
    for model in results.upscaled:
        result, gains = results.on_test(model), results.gains(model)
        if result is not None:
            gain = sum(gains.values()) / len(gains) if gains and model != BICUBIC else None
            better = sum(g > 0 for g in gains.values())
            rows.append(OnTest(model, result["psnr"], result["ssim"], gain, better, len(gains)))
    return sorted(rows, key=lambda row: -inf if row.psnr is None else -row.psnr)


class Degraded(NamedTuple):
    """PSNR on a set with each degradation, and without one."""

    name: str
    """The set's."""
    scales: list[float]
    psnr: dict[str, dict[str, list[float | None]]]
    """Degradation (empty: none) → model → PSNR at each scale."""


def degraded(results: Results) -> list[Degraded]:
    """A table for each set that was measured with degradations."""
    sets: dict[str, dict[str, list[Result]]] = {}
    for result in results.evaluations:
        name, case = parse_set(result["set"])
        sets.setdefault(name, {}).setdefault(case, []).append(result)
    return [_degraded(results, name, cases) for name, cases in sets.items() if any(cases)]


def _degraded(results: Results, name: str, cases: dict[str, list[Result]]) -> Degraded:
    scales = sorted({r["scale"] for found in cases.values() for r in found})
    psnr = {}
    for case in sorted(cases, key=bool):  # without degradation first
        known = {(r["model"], r["scale"]): r["psnr"] for r in cases[case]}
        models = [m for m in results.upscaled if any((m, s) in known for s in scales)]
        psnr[case] = {m: [known.get((m, s)) for s in scales] for m in models}
    return Degraded(name, scales, psnr)
