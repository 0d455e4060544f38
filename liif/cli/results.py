"""Subcommands for the results of the workflow: table, pictures side by side, report, records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from liif.cli.options import (
    EXPERIMENT,
    MODELS,
    STEPS,
    BucketCount,
    ModelsFolder,
    Sources,
    Track,
    app,
    parse_sources,
    require_extra,
)
from liif.cli.tracking import job_tracker
from liif.system.errors import UserError
from liif.system.files import require_writable
from liif.system.project import project


@app.command(rich_help_panel=STEPS)
def table(
    metrics: Annotated[Path, Option(help="Folder for one JSON file per model.")],
    csv: Annotated[Path, Option(help="The CSV table to write.")],
    parts: Annotated[
        list[Path] | None,
        Argument(help="JSON files of `liif evaluate`, or folders of parts."),
    ] = None,
    count: BucketCount = 1,
    note: Annotated[str, Option(help="Line to print below the table.")] = "",
    summary: Annotated[Path | None, Option(help="Also write the averages as JSON.")] = None,
    models: ModelsFolder = MODELS,
    data: Sources = None,
    track: Track = False,
) -> None:
    """Merge evaluations into one table.

    liif table bicubic.json rdn.json --metrics metrics --csv metrics.csv
    """
    from liif.cli.entries import log_evaluation
    from liif.inference import evaluate as stage

    sources = parse_sources(data or [])
    require_writable(metrics, csv, summary)
    results = stage.merge(parts or [], count)
    stage.write_tables(results, metrics, csv, summary)
    stage.print_table(results)
    if note:
        typer.echo(note)
    with job_tracker(track) as tracker:
        log_evaluation(tracker, results, models=models, metrics=metrics, table=csv, data=sources)


@app.command(rich_help_panel=STEPS)
def gather(
    upscaled: Annotated[Path, Argument(help="Folder with a subfolder for each model.")],
    manifests: Annotated[
        list[Path], Argument(help="Manifests MODEL/PART.json, or folders MODEL of them.")
    ],
    out: Annotated[Path, Option("--out", "-o", help="Output folder; replaced as a whole.")],
    count: BucketCount = 1,
    models: ModelsFolder = MODELS,
    track: Track = False,
) -> None:
    """Gather the upscaled pictures of all models in one folder, by hard links.

    liif gather upscaled manifests/rdn manifests/bicubic -o gathered
    """
    from liif.cli.entries import log_samples
    from liif.inference import gather as stage

    require_writable(out)
    by_model = stage.manifests_by_model(manifests, count)
    stage.gather(by_model, upscaled, out)
    with job_tracker(track) as tracker:
        log_samples(
            tracker,
            stage.precision_by_model(manifests, count),
            stage.back_projection_by_model(manifests, count),
            weights=models,
            upscaled=upscaled,
        )


@app.command(rich_help_panel=EXPERIMENT)
def report(
    results: Annotated[Path, Argument(help="Results folder of the workflow.")] = Path("results"),
    settings: Annotated[Path | None, Option(help="The experiment's configuration file.")] = None,
    resolved: Annotated[str, Option(hidden=True)] = "",
    data: Sources = None,
    snakefile: Annotated[Path | None, Option(help="Snakefile, to draw its rules.")] = None,
    embed: Annotated[
        bool, Option("--embed", help="Also write report-embedded.html, with the pictures inside.")
    ] = False,
    track: Track = False,
) -> None:
    """Write RESULTS/report.html: pictures, metrics and provenance.

    liif report results --embed
    """
    require_extra("report", "jinja2", "matplotlib", "networkx")
    from liif import config
    from liif.cli.entries import log_report
    from liif.config_file import read_yaml
    from liif.report import build, tables
    from liif.report.results import collect

    require_writable(results)
    text = resolved or str(settings or "")
    experiment = config.experiment(read_yaml(text)) if text else None
    sources = parse_sources(data or [])
    build.report(results, project(), experiment, sources=sources, snakefile=snakefile, embed=embed)
    if not (embed and track):
        return
    verdict = tables.verdict(tables.on_test(collect(results, experiment)))
    if verdict is not None:
        page, models = results / build.EMBEDDED, results / "models"
        with job_tracker(track) as tracker:
            log_report(tracker, page, verdict.best.model, models)


@app.command(rich_help_panel=EXPERIMENT)
def deliver() -> None:
    """Send queued records to MLflow, once its server is reachable again."""
    from liif.tracking.tracker import Tracker, installed

    if not installed():
        raise UserError("MLflow is not installed: pip install mlflow")
    tracker = Tracker(project())
    count = tracker.deliver()
    typer.echo(f"{count} records delivered" if count else "no records are queued")
