"""The report: one page with the pictures, the numbers, and how they were made.

`results` collects what a folder holds; `tables`, `spectra`, `downscaling`, `provenance` and
`rule_graph` make sections of it; `figures` draws; `render` writes the page.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from liif.config import Experiment
from liif.data.versions import data_version
from liif.images.read import read_picture
from liif.inference.upscaler import BICUBIC
from liif.report import downscaling, figures, provenance, render, rule_graph, spectra, tables
from liif.report.render import Shown
from liif.report.results import LR, TRUTH, Results, collect, steps
from liif.report.translations import both
from liif.system import environment
from liif.system.locks import lock, lock_path
from liif.system.progress import Progress, duration, log

MOST = 1000
"""Largest number of pictures that a page shows."""
_SMALL = 12
"""Number of LR pictures shown in true size."""


def report(
    folder: Path,
    project: Path,
    settings: Experiment | None = None,
    *,
    sources: dict[str, tuple[str, str]] | None = None,
    snakefile: Path | None = None,
) -> Path:
    """Write `report.html` into the workflow's results folder, with links to the pictures there.

    `project` is the folder with `data.dvc` and the records of the runs. Without `settings` the
    page shows everything found, and no configuration. `sources` maps sets to the source of their
    pictures and its hash; `snakefile` is for the graph of the rules.
    """
    results = collect(folder, settings)
    sources = sources or {}
    out = folder / "report.html"
    with lock(lock_path(out), f"the report on {folder}"):
        shown = _shown(results)
        data = data_version(project)
        edges = rule_graph.rules(snakefile, settings) if snakefile and settings else []
        render.write(
            out,
            "report.html",
            title=both("report_title", scale=f"{results.scale:g}"),
            versions=[
                {"key": key, "label" if key in results.models else "word": key}
                for key in (LR, *results.upscaled, TRUTH)
            ],
            pictures=shown,
            truth=TRUTH if results.truth is not None else None,
            baseline=BICUBIC,
            results=results,
            scale=f"{results.scale:g}",
            total=len(results.names),
            tables=tables.tables(results, settings, {k: v for k, (_, v) in sources.items()}),
            on_test=tables.on_test(results),
            degraded=tables.degraded(results),
            distributions=_distributions(results),
            curves=_curves(results),
            steps=steps(results),
            bars=figures.bars,
            duration=duration,
            small=_small(results),
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
    log(f"report: {out}, {out.stat().st_size / 1e6:.1f} MB, {len(shown)} pictures")
    return out


def _chosen(results: Results) -> list[str]:
    """All pictures, or `MOST` of them, evenly chosen from the largest gain to the smallest."""
    names = results.names
    if len(names) <= MOST:
        return names
    gains = results.gains(results.models[0]) if results.models else {}
    ordered = sorted(names, key=lambda n: (gains.get(n, 0.0), n))
    return sorted(ordered[round(i)] for i in np.linspace(0, len(names) - 1, MOST))


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


def _small(results: Results) -> list[tuple[str, str]]:
    """Names and URLs of some LR pictures, evenly chosen."""
    found = [(name, _link(p, results.folder)) for name, p in results.pictures(LR).items()]
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
