"""The report: one page with the pictures, the numbers, and how they were made.

`results` collects what a folder holds; `tables`, `spectra`, `downscaling`, `provenance` and
`rule_graph` make sections of it; `figures` draws; `render` writes the page.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from liif.config import Experiment
from liif.data.versions import data_version
from liif.images.read import read_picture
from liif.inference.upscaler import BICUBIC
from liif.report import downscaling, figures, provenance, render, rule_graph, spectra, tables
from liif.report.embed import embedded, evenly
from liif.report.render import Shown
from liif.report.results import LR, TRUTH, Results, collect, steps
from liif.report.translations import both, durations
from liif.system import environment
from liif.system.locks import lock, lock_path
from liif.system.progress import Progress, log

MOST = 1000
"""Largest number of pictures that a page shows."""
EMBEDDED = "report-embedded.html"
_ROWS = 24
"""Largest number of test pictures with a row of their own in a figure."""
_SMALL = 12
"""Number of LR pictures shown in true size."""


def report(
    folder: Path,
    project: Path,
    settings: Experiment | None = None,
    *,
    sources: dict[str, tuple[str, str]] | None = None,
    snakefile: Path | None = None,
    embed: bool = False,
) -> Path:
    """Write `report.html` into the workflow's results folder, with links to the pictures there.

    With `embed`, also `report-embedded.html`, one file with the pictures inside as WebP.

    `project` is the folder with `data.dvc` and the records of the runs. Without `settings` the
    page shows everything found, and no configuration. `sources` maps sets to the source of their
    pictures and its hash; `snakefile` is for the graph of the rules.
    """
    results = collect(folder, settings)
    sources = sources or {}
    out = folder / "report.html"
    with lock(lock_path(out), f"the report on {folder}"):
        shown = _shown(results)
        ranked = tables.on_test(results)
        order = [row.model for row in ranked]
        order += [model for model in results.upscaled if model not in order]
        data = data_version(project)
        edges = rule_graph.rules(snakefile, settings) if snakefile and settings else []
        content: dict[str, Any] = dict(
            title=both("report_title", scale=f"{results.scale:g}"),
            versions=[
                {"key": key, "label" if key in results.models else "word": key}
                for key in (*order, LR, TRUTH)
            ],
            truth=TRUTH if results.truth is not None else None,
            baseline=BICUBIC,
            results=results,
            scale=f"{results.scale:g}",
            total=len(results.names),
            tables=tables.tables(results, settings, {k: v for k, (_, v) in sources.items()}),
            on_test=ranked,
            verdict=tables.verdict(ranked),
            convention=tables.convention(results.convention[0], [results.convention[1]]),
            date=time.strftime("%Y-%m-%d"),
            degraded=tables.degraded(results),
            distributions=_distributions(results),
            per_picture=len(results.names) <= _ROWS,
            curves=_curves(results),
            steps=steps(results),
            bars=figures.bars,
            durations=durations,
            **_analysis(results),
            configuration=provenance.configuration(settings) if settings else "",
            documented=settings is None or provenance.is_documented(settings),
            commands=provenance.commands(settings, data.actual),
            data=data,
            sources=sources,
            commit=environment.commit(),
            software=provenance.software(),
            machine=provenance.machine(),
            models=provenance.models(results, project),
            graph=rule_graph.svg(edges) if edges else "",
        )
        pages = {out: shown}
        if embed:
            pages[folder / EMBEDDED] = embedded(shown, folder, _gains(results))
        for path, pictures in pages.items():
            small = _small(pictures)
            render.write(path, "report.html", pictures=pictures, small=small, **content)
    log(f"report: {out}, {out.stat().st_size / 1e6:.1f} MB, {len(shown)} pictures")
    return out


def _chosen(results: Results) -> list[str]:
    """All pictures, or `MOST` of them, evenly chosen from the largest gain to the smallest."""
    return evenly(results.names, MOST, _gains(results))


def _gains(results: Results) -> dict[str, float]:
    """Gains of the first model, by picture."""
    return results.gains(results.models[0]) if results.models else {}


def _shown(results: Results) -> list[Shown]:
    """The pictures of the viewer, which links to their files."""
    names = _chosen(results)
    pictures = {v: results.pictures(v) for v in (LR, *results.upscaled, TRUTH)}
    scores = {version: results.scores(version) for version in results.upscaled}
    progress = Progress("report: thumbnails", len(names), unit="pictures")
    shown = []
    for name in names:
        files = {v: of[name] for v, of in pictures.items() if name in of}
        if files:
            rgb = read_picture([*files.values()][-1]).rgb  # the HR or a model's, the largest
            shown.append(
                Shown(
                    name=name,
                    rows=rgb.shape[0],
                    cols=rgb.shape[1],
                    thumb=render.thumbnail(rgb),
                    files={v: _link(path, results.folder) for v, path in files.items()},
                    quality={v: of[name] for v, of in scores.items() if name in of},
                )
            )
        progress.advance()
    return shown


def _small(pictures: list[Shown]) -> list[tuple[str, str]]:
    """Names and URLs of some LR pictures, evenly chosen."""
    found = [(p["name"], p["files"][LR]) for p in pictures if LR in p["files"]]
    return found[:: max(1, len(found) // _SMALL)][:_SMALL]


def _link(path: Path, folder: Path) -> str:
    """The URL of a file, relative to the page's folder."""
    return quote(path.relative_to(folder).as_posix())


def _distributions(results: Results) -> list[Markup]:
    """Distributions of gain and PSNR over the test pictures."""
    values = {
        "gain_axis": {m: list(results.gains(m).values()) for m in results.models},
        "psnr_axis": {m: list(results.psnrs(m).values()) for m in results.upscaled},
    }
    known = {axis: {m: v for m, v in of.items() if v} for axis, of in values.items()}
    if len(results.names) <= _ROWS:
        psnrs = {m: v for m in results.upscaled if (v := results.psnrs(m))}
        return [figures.dumbbells(psnrs, "psnr_axis")] if psnrs else []
    return [figures.distribution(of, axis) for axis, of in known.items() if of]


def _curves(results: Results) -> list[Markup]:
    """Training curves of the models that were trained here."""
    histories = {m: rows for m in results.models if (rows := results.history(m))}
    axes = {"loss": "curve_loss", "valid_psnr": "curve_psnr", "learning_rate": "curve_rate"}
    drawn = []
    for column, axis in axes.items() if histories else ():
        lines = {
            model: ([row["epoch"] for row in rows], [row[column] for row in rows])
            for model, rows in histories.items()
        }
        drawn.append(figures.curves(lines, axis, log=column == "loss"))
    return drawn


def _analysis(results: Results) -> dict[str, object]:
    """Effects of upscaling and downscaling on an example."""
    example, scale = spectra.choose(results), results.scale
    found = spectra.blur(example, results)
    plain = ["original", *spectra.PLAIN]
    return {
        "example": example,
        "blur": found,
        "radial": figures.spectra(found.frequencies, found.powers, 0.5 / scale, plain),
        "limit": f"{0.5 / scale:.4g}",
        "reductions": downscaling.reductions(example.hr, scale),
        "amplified": downscaling.AMPLIFIED,
        "kernels": figures.kernels(downscaling.kernels(scale)),
    }
