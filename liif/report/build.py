"""The report: one page with the pictures, the numbers, and how they were made.

Followed in one direction: `results` collects what a folder holds, `numbers`, `blur`, `reduction`,
`origin` and `graph` make sections of it, `figures` draws, `page` writes. `compare` makes a page
with the viewer alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from liif.config import Experiment
from liif.data.versions import data_version
from liif.images.read import read_picture
from liif.inference.upscaler import BICUBIC
from liif.report import downscaling as reduction
from liif.report import provenance as origin
from liif.report import render as page
from liif.report import rule_graph as graph
from liif.report import spectra as blur
from liif.report import tables as numbers
from liif.report.render import Shown, Version
from liif.report.results import LR, TRUTH, Results, collect, steps
from liif.report.translations import both
from liif.system.locks import lock, lock_path
from liif.system.progress import Progress, duration, log

MOST = 1000
"""Pictures that a page shows; of more, so many are chosen."""
_SMALL = 12
"""LR pictures that are shown in true size."""
_AMPLIFIED = 8
"""Differences to other bicubics, so that they are seen."""


def report(
    folder: Path,
    project: Path,
    settings: Experiment | None = None,
    *,
    sources: dict[str, tuple[str, str]] | None = None,
    snakefile: Path | None = None,
) -> Path:
    """Write `report.html` into a results folder.

    Parameters
    ----------
    folder
        As the workflow makes it.
    project
        Where `data.dvc` and the records of the runs are.
    settings
        The experiment; without it, the page has no configuration, and shows all that is there.
    sources
        Set → (where its pictures come from, their hash).
    snakefile
        The workflow, for the graph of its rules; without it, there is none.

    Returns
    -------
    The page. It links to the pictures in the folder, and needs nothing else.

    Raises
    ------
    UserError
        Nothing to report on, or a damaged file.
    """
    results = collect(folder, settings)
    with lock(lock_path(folder / "report.html"), f"the report on {folder}"):
        return _write(results, project, settings, sources or {}, snakefile)


def _write(
    results: Results,
    project: Path,
    settings: Experiment | None,
    sources: dict[str, tuple[str, str]],
    snakefile: Path | None,
) -> Path:
    from liif.report import figures

    chosen = _chosen(results)
    example = blur.choose(results)
    title = both("report_title", scale=f"{results.scale:g}")
    out = results.folder / "report.html"
    edges = (
        graph.rules(snakefile, _json(settings), "results/sr_800") if snakefile and settings else []
    )
    data = data_version(project)
    page.write(
        out,
        "report.html",
        title=title,
        versions=_versions(results),
        pictures=_shown(results, chosen),
        truth=TRUTH if results.truth is not None else None,
        baseline=BICUBIC,
        results=results,
        scale=f"{results.scale:g}",
        total=len(results.names),
        tables=numbers.tables(results, settings, {k: v for k, (_, v) in sources.items()}),
        on_test=numbers.on_test(results),
        distributions=_distributions(results),
        curves=_curves(results),
        steps=steps(results),
        step_bars=figures.bars({s.name: s.seconds for s in steps(results)}, "time_axis", "steps")
        if steps(results)
        else "",
        duration=duration,
        small=_small(results),
        **_analysis(example, results),
        settings=settings,
        configuration=origin.configuration(settings) if settings else "",
        documented=settings is None or origin.is_documented(settings),
        commands=origin.commands(settings, data.actual),
        data=data,
        sources=sources,
        commit=origin.commit(),
        software=origin.software(),
        machine=origin.machine(),
        models=origin.models(results, project),
        graph=graph.svg(edges) if edges else "",
    )
    log(f"report: {out}, {out.stat().st_size / 1e6:.1f} MB, {len(chosen)} pictures")
    return out


def _json(settings: Experiment | None) -> str:
    return settings.model_dump_json(by_alias=True, exclude_unset=True) if settings else "{}"


def _chosen(results: Results) -> list[str]:
    """The pictures that are shown: all, or so many from the largest gain to the smallest."""
    names = results.names
    if len(names) <= MOST:
        return names
    gains = results.gains(results.models[0]) if results.models else {}
    ordered = sorted(names, key=lambda n: (gains.get(n, 0.0), n))
    return sorted(ordered[round(i)] for i in np.linspace(0, len(names) - 1, MOST))


def _versions(results: Results) -> list[Version]:
    named = [Version(key=model, label=model) for model in results.models]
    others = [Version(key=key, word=key) for key in (LR, BICUBIC)]
    return [*others, *named, Version(key=TRUTH, word=TRUTH)]


def _shown(results: Results, names: Iterable[str]) -> list[Shown]:
    """What the viewer needs of each picture; full-size files are linked to."""
    scores = {version: results.scores(version) for version in results.enlarged}
    names = list(names)
    progress = Progress("report: thumbnails", len(names), unit="pictures")
    shown = []
    for name in names:
        files = {v: p for v in results.versions if (p := results.path(v, name)) is not None}
        progress.advance()
        if not files:
            continue
        # The last is the truth, or a model's: the largest there is.
        rgb = read_picture(list(files.values())[-1]).rgb
        shown.append(
            Shown(
                name=name,
                rows=rgb.shape[0],
                cols=rgb.shape[1],
                thumb=page.thumbnail(rgb),
                files={v: _link(p, results.folder) for v, p in files.items()},
                quality={v: scores[v][name] for v in results.enlarged if name in scores[v]},
            )
        )
    return shown


def _small(results: Results) -> list[tuple[str, str]]:
    """Names and addresses of some LR pictures, evenly chosen."""
    found = [(name, path) for name in results.names if (path := results.path(LR, name))]
    step = max(1, len(found) // _SMALL)
    return [(name, _link(path, results.folder)) for name, path in found[::step][:_SMALL]]


def _link(path: Path, folder: Path) -> str:
    """The address of a file in the page's folder."""
    return quote(path.relative_to(folder).as_posix())


def _distributions(results: Results) -> list[Markup]:
    """Of gain and of PSNR, over the test pictures."""
    from liif.report import figures

    gains = {m: list(results.gains(m).values()) for m in results.models}
    psnrs = {
        m: [psnr for psnr, _ in results.scores(m).values() if psnr is not None]
        for m in results.enlarged
    }
    drawn = []
    for values, axis in ((gains, "gain_axis"), (psnrs, "psnr_axis")):
        known = {m: found for m, found in values.items() if found}
        if known:
            drawn.append(figures.distribution(known, axis, axis))
    return drawn


def _curves(results: Results) -> list[Markup]:
    """Loss, validation and learning rate of the models that were trained."""
    from liif.report import figures

    histories = {m: rows for m in results.models if (rows := results.history(m))}
    if not histories:
        return []
    drawn = []
    for column, axis in (
        ("loss", "curve_loss"),
        ("valid_psnr", "curve_psnr"),
        ("learning_rate", "curve_rate"),
    ):
        lines = {
            m: ([row["epoch"] for row in rows], [row[column] for row in rows])
            for m, rows in histories.items()
        }
        drawn.append(figures.curves(lines, axis, log=column == "loss"))
    return drawn


def _analysis(example: blur.Example, results: Results) -> dict[str, object]:
    from liif.report import figures

    found = blur.blur(example, results)
    plain = ["original", *blur.PLAIN]
    return {
        "example": example,
        "blur": found,
        "spectra": {
            key: blur.limit_marked(page.heat_map(values), results.scale)
            for key, values in found.spectra.items()
        },
        "radial": figures.spectra(found.frequencies, found.powers, 0.5 / results.scale, plain),
        "limit": f"{0.5 / results.scale:.4g}",
        "reductions": reduction.reductions(example.hr, results.scale),
        "amplify": lambda error: page.heat_map(np.minimum(error / 255 * _AMPLIFIED, 1)),
        "amplified": _AMPLIFIED,
        "kernels": figures.kernels(reduction.kernels(results.scale)),
    }
