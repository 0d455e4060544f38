"""A subcommand for each stage of the workflow: parse, build the settings, call.

Everything heavy is imported within the commands, so that `liif --help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liif.cli.app import STAGES, app
from liif.cli.options import (
    MACHINE,
    BucketOption,
    Device,
    Manifests,
    Memory,
    OptionalPath,
    Threads,
    Track,
    parse_sources,
    require_extra,
    to_bytes,
)
from liif.cli.tracking import job_tracker
from liif.system.errors import UserError
from liif.system.files import require_writable
from liif.system.locks import lock, lock_path
from liif.system.processes import is_rank, local_world_size, world_size
from liif.system.progress import log
from liif.system.project import TRACKING, project


@app.command(rich_help_panel=STAGES)
def download(
    name: Annotated[
        str, typer.Argument(help="DIV2K_train_HR, DIV2K_valid_HR, or photographs (bundled ones).")
    ],
    to: Annotated[Path, typer.Option(help="Folder for the finished archive or photographs.")],
    partial: Annotated[
        OptionalPath, typer.Option(help="Folder for unfinished files; default TO/.partial.")
    ] = None,
) -> None:
    """Download one of DIV2K's archives, checked and resumable; or copy the bundled photographs."""
    from liif.data import download as stage
    from liif.data.div2k import ARCHIVES

    if name == "photographs":
        stage.copy_photographs(to)
        return
    if name not in ARCHIVES:
        raise UserError(f"`{name}` is none of {', '.join(ARCHIVES)}, photographs")
    partial = partial or to / ".partial"
    require_writable(to, partial)
    with lock(partial / f"{name}.lock", f"the download of {name}"):
        stage.download(name, ARCHIVES[name], to / f"{name}.zip", partial)
    if hint := stage.how_to_record(to, project()):
        log(hint)


@app.command(rich_help_panel=STAGES)
def pack(
    source: Annotated[Path, typer.Argument(help="Folder or archive of photographs.")],
    out: Annotated[Path, typer.Argument(help="The pack to write.")],
) -> None:
    """Pack photographs into one file of pixels that training maps into memory."""
    from liif.data import pack as stage
    from liif.data.versions import data_version

    version = data_version(project())
    if version.warning:
        log(version.warning)
    require_writable(out)
    with lock(lock_path(out), f"packing {out.name}"):
        stage.pack(source, out, data_version=version.known)


@app.command(rich_help_panel=STAGES)
def degrade(
    source: Annotated[Path, typer.Argument(help="Folder or archive of HR photographs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the LR pictures.")],
    scale: Annotated[float, typer.Option(min=1, max=100, help="LR is 1/SCALE of HR.")],
    crop: Annotated[
        int | None,
        typer.Option(min=1, help="Cut this centred square out of each photograph first."),
    ] = None,
    truth: Annotated[
        OptionalPath, typer.Option(help="Folder for the HR pictures that LR was made from.")
    ] = None,
    bucket: BucketOption = "0/1",
    manifest: Annotated[OptionalPath, typer.Option(help="JSON list of what was made.")] = None,
) -> None:
    """Make LR pictures by MATLAB's bicubic imresize."""
    from liif.data import degrade as stage
    from liif.data.manifests import parse_bucket, write_manifest

    part = parse_bucket(bucket)
    require_writable(*[place for place in (out, truth, manifest) if place is not None])
    with lock(lock_path(manifest or out), f"degrading to {out}"):
        made = stage.degrade(source, out, scale=scale, crop=crop, truth=truth, bucket=part)
        if manifest is not None:
            write_manifest(manifest, made, *[f for f in (out, truth) if f is not None])


@app.command(rich_help_panel=STAGES)
def train(
    data: Annotated[Path, typer.Option(help="Photographs: a folder, an archive or a pack.")],
    valid: Annotated[Path, typer.Option(help="Validation photographs, likewise.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The weights file to write.")],
    settings: Annotated[
        str,
        typer.Option(help="YAML or JSON, or a file of it; the documented recipe when not given."),
    ] = "{}",
    name: Annotated[str | None, typer.Option(help="What to call it; default OUT's name.")] = None,
    state: Annotated[
        OptionalPath,
        typer.Option(help="Folder for going on after interruptions; default OUT.state."),
    ] = None,
    store: Annotated[
        OptionalPath, typer.Option(help="Folder of finished trainings; default STATE/finished.")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that load; by the threads when not given."),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            min=0,
            help="Processes that share each step, on a GPU each where there are any; for several "
            "machines use torchrun.",
            rich_help_panel=MACHINE,
        ),
    ] = 1,
    save_minutes: Annotated[float, typer.Option(min=0, help="Time between saves.")] = 5,
    track: Annotated[
        bool | None,
        typer.Option(
            "--track/--no-track",
            envvar=TRACKING,
            help="Put it on record in MLflow; default if that is installed.",
        ),
    ] = None,
) -> None:
    """Train a model; the same command goes on after any interruption."""
    from liif import config
    from liif.checkpoints.outputs import Outputs, name_of
    from liif.network import device as devices
    from liif.training import group as distributed
    from liif.training import launch
    from liif.training import train as stage
    from liif.training.trainer import Limits

    recipe = config.recipe(settings)
    size = world_size() if is_rank() else max(1, processes)
    distributed.require_shares(size, recipe.train.batch, device)
    if size > 1 and not is_rank():
        launch.launch(size)
        return
    devices.use_threads(threads, local_world_size())
    devices.keep_freed_memory()
    state = state or Outputs(weights=out).beside(".state")
    store = store or state / "finished"
    with distributed.joined() as group:
        group.on_rank0(lambda: require_writable(out, state, store))
        together = size > 1 and device == "cuda"
        chosen = devices.choose("auto" if together else device, share=size == 1)
        group = group.on(chosen)
        limits = Limits(
            device=chosen,
            workers=devices.loader_workers(chosen) if workers is None else workers,
            save_minutes=save_minutes,
            group=group,
        )
        with job_tracker(track if group.is_rank0 else False) as tracker:
            stage.train(
                name or name_of(out),
                recipe,
                data=data,
                valid=valid,
                out=out,
                state=state,
                store=store,
                limits=limits,
                tracker=tracker,
            )


@app.command(rich_help_panel=STAGES)
def evaluate(
    hr: Annotated[Path, typer.Option(help="Folder or archive of HR pictures, the truth.")],
    scale: Annotated[float, typer.Option(min=1, max=100, help="HR is SCALE times LR.")],
    weights: Annotated[
        str | None,
        typer.Option(help="`bundled`, a file, or `bicubic` for the baseline."),
    ] = None,
    lr: Annotated[
        OptionalPath, typer.Option(help="LR pictures, named as HR or with xSCALE after it.")
    ] = None,
    sr: Annotated[
        OptionalPath, typer.Option(help="Pictures enlarged already, in place of weights and LR.")
    ] = None,
    channel: Annotated[str, typer.Option(help="rgb (DIV2K's) or y (the benchmarks').")] = "rgb",
    border: Annotated[
        str, typer.Option(help="Pixels left out: a number, scale (benchmarks), scale+6 (DIV2K).")
    ] = "scale+6",
    json: Annotated[OptionalPath, typer.Option(help="Write the result as JSON too.")] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What to call the model."),
    ] = None,
    set_name: Annotated[str, typer.Option("--set", help="What to call the pictures.")] = "set",
    only: Manifests = None,
    device: Device = "auto",
    threads: Threads = None,
    max_memory: Memory = None,
) -> None:
    """Measure PSNR and SSIM on pairs of HR and LR pictures."""
    from liif.checkpoints.outputs import name_of
    from liif.data.manifests import read_manifests
    from liif.images import metrics
    from liif.inference import evaluate as stage
    from liif.inference.upscaler import open_upscaler
    from liif.system.files import write_json

    if (sr is None) == (weights is None) or (lr is None) != (weights is None):
        raise UserError("give either --weights with --lr, or --sr")
    if json is not None:
        require_writable(json)
    result = stage.evaluate(
        hr,
        lr=lr,
        upscaler=None
        if weights is None
        else open_upscaler(weights, device, threads, to_bytes(max_memory)),
        sr=sr,
        scale=scale,
        channel=metrics.parse_channel(channel),
        border=metrics.parse_border(border),
        model=name or (sr.name if sr is not None else name_of(Path(str(weights)))),
        set_name=set_name,
        names=None if only is None else read_manifests(only),
    )
    if json is not None:
        write_json(json, result)
    stage.print_table([result])


@app.command(rich_help_panel=STAGES)
def table(
    metrics: Annotated[Path, typer.Option(help="Folder for one JSON file for each model.")],
    csv: Annotated[Path, typer.Option(help="The table of all.")],
    parts: Annotated[
        list[Path] | None,
        typer.Argument(help="JSON files of `liif evaluate`, or folders of buckets of them."),
    ] = None,
    count: Annotated[int, typer.Option("--buckets", min=1, help="Files in each folder.")] = 1,
    note: Annotated[str, typer.Option(help="A line to print below the table.")] = "",
    summary: Annotated[
        OptionalPath, typer.Option(help="The averages as JSON, by set, scale and model.")
    ] = None,
    models: Annotated[
        Path, typer.Option(help="Folder of the models' weights, to tell their runs by.")
    ] = Path("results/models"),
    data: Annotated[
        list[str] | None,
        typer.Option(help="Version and source of a set, for the record.", metavar="SET=HASH@PATH"),
    ] = None,
    track: Track = False,
) -> None:
    """Put evaluations together into one table."""
    from liif.cli.entries import log_evaluation
    from liif.inference import evaluate as stage

    sources = parse_sources(data or [])
    require_writable(*[place for place in (metrics, csv, summary) if place is not None])
    results = stage.merge(parts or [], count)
    stage.write_tables(results, metrics, csv, summary)
    stage.print_table(results)
    if note:
        typer.echo(note)
    with job_tracker(track) as tracker:
        log_evaluation(tracker, results, models=models, metrics=metrics, table=csv, data=sources)


@app.command(rich_help_panel=STAGES)
def gather(
    upscaled: Annotated[Path, typer.Argument(help="Folder with a folder for each model.")],
    manifests: Annotated[
        list[Path], typer.Argument(help="Manifests, as MODEL/BUCKET.json, or MODEL.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")],
    count: Annotated[int, typer.Option("--buckets", min=1, help="Manifests of each MODEL.")] = 1,
    models: Annotated[
        Path, typer.Option(help="Folder of the models' weights, to tell their runs by.")
    ] = Path("results/models"),
    track: Track = False,
) -> None:
    """Put the upscaled pictures of all models side by side, by hard links."""
    from liif.cli.entries import log_samples
    from liif.inference import gather as stage

    require_writable(out)
    by_model = stage.manifests_by_model(manifests, count)
    stage.gather(by_model, upscaled, out)
    with job_tracker(track) as tracker:
        log_samples(tracker, by_model, weights=models, upscaled=upscaled)


@app.command(rich_help_panel=STAGES)
def report(
    results: Annotated[Path, typer.Argument(help="A results folder.")] = Path("results"),
    settings: Annotated[
        OptionalPath, typer.Option(help="The experiment's configuration file, to show.")
    ] = None,
    resolved: Annotated[str, typer.Option(hidden=True)] = "",
    data: Annotated[
        list[str] | None,
        typer.Option(help="Version and source of a set, to show.", metavar="SET=HASH@PATH"),
    ] = None,
    snakefile: Annotated[
        OptionalPath, typer.Option(help="The workflow, for the graph of its rules.")
    ] = None,
) -> None:
    """Write RESULTS/report.html: pictures, numbers, and how they were made."""
    require_extra("report", "jinja2", "matplotlib", "networkx")
    from liif import config
    from liif.config_file import read_yaml
    from liif.report import build

    require_writable(results)
    text = resolved or str(settings or "")
    experiment = config.experiment(read_yaml(text)) if text else None
    sources = parse_sources(data or [])
    build.report(results, project(), experiment, sources=sources, snakefile=snakefile)


@app.command(rich_help_panel=STAGES)
def deliver() -> None:
    """Deliver the records that MLflow could not take when they were made."""
    from liif.tracking.tracker import Tracker, installed

    if not installed():
        raise UserError("MLflow is not installed: pip install mlflow")
    tracker = Tracker(project())
    count = tracker.deliver()
    typer.echo(f"{count} records delivered" if count else "nothing waits to be delivered")
