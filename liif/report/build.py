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
from liif.report.render import Shown, Version
from liif.report.results import LR, TRUTH, Results, collect, steps
from liif.report.translations import both
from liif.system.locks import lock, lock_path
from liif.system.progress import Progress, duration, log

MOST = 1000
"""Number of pictures that a page shows, at most."""
_SMALL = 12
"""Number of LR pictures that are shown in true size."""
_AMPLIFIED = 8
"""Factor that makes differences to other bicubics visible."""


def report(
    folder: Path,
    project: Path,
    settings: Experiment | None = None,
    *,
    sources: dict[str, tuple[str, str]] | None = None,
    snakefile: Path | None = None,
) -> Path:
    """Write `report.html` into a results folder; it links to the pictures there.

    Parameters
    ----------
    folder
        A results folder of the workflow.
    project
        Has `data.dvc` and the records of the runs.
    settings
        The experiment; without it, the page shows everything found, and no configuration.
    sources
        Set → (source of its pictures, their hash).
    snakefile
        The workflow, for the graph of its rules.

    Raises
    ------
    UserError
        The folder is missing, empty or damaged.
    """
    results = collect(folder, settings)
    sources = sources or {}
    out = folder / "report.html"
    with lock(lock_path(out), f"the report on {folder}"):
        shown = _shown(results)
        data = data_version(project)
        render.write(
            out,
            "report.html",
            title=both("report_title", scale=f"{results.scale:g}"),
            versions=_versions(results),
            pictures=shown,
            truth=TRUTH if results.truth is not None else None,
            baseline=BICUBIC,
            results=results,
            scale=f"{results.scale:g}",
            total=len(results.names),
            tables=tables.tables(results, settings, {k: v for k, (_, v) in sources.items()}),
            on_test=tables.on_test(results),
            distributions=_distributions(results),
            curves=_curves(results),
            steps=steps(results),
            bars=figures.bars,
            duration=duration,
            small=_small(results),
            **_analysis(results),
            settings=settings,
            configuration=provenance.configuration(settings) if settings else "",
            documented=settings is None or provenance.is_documented(settings),
            commands=provenance.commands(settings, data.actual),
            data=data,
            sources=sources,
            commit=provenance.commit(),
            software=provenance.software(),
            machine=provenance.machine(),
            models=provenance.models(results, project),
            graph=_graph(snakefile, settings),
        )
    log(f"report: {out}, {out.stat().st_size / 1e6:.1f} MB, {len(shown)} pictures")
    return out


def _graph(snakefile: Path | None, settings: Experiment | None) -> Markup:
    """The graph of the rules that make this experiment; empty if unknown."""
    if snakefile is None or settings is None:
        return Markup()
    values = settings.model_dump_json(by_alias=True, exclude_unset=True)
    edges = rule_graph.rules(snakefile, values, "results/sr_800")
    return rule_graph.svg(edges) if edges else Markup()


def _versions(results: Results) -> list[Version]:
    models = [Version(key=model, label=model) for model in results.models]
    lr, bicubic, truth = (Version(key=key, word=key) for key in (LR, BICUBIC, TRUTH))
    return [lr, bicubic, *models, truth]


def _chosen(results: Results) -> list[str]:
    """All pictures, or at most `MOST`, evenly chosen from the largest gain to the smallest."""
    names = results.names
    if len(names) <= MOST:
        return names
    gains = results.gains(results.models[0]) if results.models else {}
    ordered = sorted(names, key=lambda n: (gains.get(n, 0.0), n))
    return sorted(ordered[round(i)] for i in np.linspace(0, len(names) - 1, MOST))


def _shown(results: Results) -> list[Shown]:
    """The pictures of the viewer, which links to their files."""
    names = _chosen(results)
    scores = {version: results.scores(version) for version in results.upscaled}
    progress = Progress("report: thumbnails", len(names), unit="pictures")
    shown = []
    for name in names:
        files = {v: path for v in results.versions if (path := results.path(v, name))}
        progress.advance()
        if not files:
            continue
        # The last is the HR picture or a model's, the largest.
        rgb = read_picture(list(files.values())[-1]).rgb
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
    return shown


def _small(results: Results) -> list[tuple[str, str]]:
    """Names and URLs of some LR pictures, evenly chosen."""
    found = [(name, path) for name in results.names if (path := results.path(LR, name))]
    step = max(1, len(found) // _SMALL)
    return [(name, _link(path, results.folder)) for name, path in found[::step][:_SMALL]]


def _link(path: Path, folder: Path) -> str:
    """The URL of a file, relative to the page's folder."""
    return quote(path.relative_to(folder).as_posix())


def _distributions(results: Results) -> list[Markup]:
    """Distributions of gain and PSNR over the test pictures."""
    gains = {m: list(results.gains(m).values()) for m in results.models}
    psnrs = {
        m: [psnr for psnr, _ in results.scores(m).values() if psnr is not None]
        for m in results.upscaled
    }
    drawn = []
    for values, axis in ((gains, "gain_axis"), (psnrs, "psnr_axis")):
        known = {model: found for model, found in values.items() if found}
        if known:
            drawn.append(figures.distribution(known, axis))
    return drawn


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
    """What upscaling and downscaling do to an example."""
    example, scale = spectra.choose(results), results.scale
    found = spectra.blur(example, results)
    plain = ["original", *spectra.PLAIN]
    return {
        "example": example,
        "blur": found,
        "spectra": {
            key: spectra.mark_limit(render.heat_map(values), scale)
            for key, values in found.spectra.items()
        },
        "radial": figures.spectra(found.frequencies, found.powers, 0.5 / scale, plain),
        "limit": f"{0.5 / scale:.4g}",
        "reductions": downscaling.reductions(example.hr, scale),
        "amplify": lambda error: render.heat_map(np.minimum(error / 255 * _AMPLIFIED, 1)),
        "amplified": _AMPLIFIED,
        "kernels": figures.kernels(downscaling.kernels(scale)),
    }
