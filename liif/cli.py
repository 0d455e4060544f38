"""The command line: a subcommand for each stage; parse, build the settings, call.

Everything heavy is imported within the commands, so that `liif --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liif import __version__
from liif.errors import UserError
from liif.interrupt import Interrupted
from liif.locks import beside, lock
from liif.progress import say
from liif.project import TRACKING, project, records_folder

if TYPE_CHECKING:
    from liif.courier import NoTracker

app = typer.Typer(
    name="liif",
    help="Super-resolution with local implicit image functions (LIIF).",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

Device = Annotated[str, typer.Option(help="auto (a free GPU, else the CPU), cpu, cuda, cuda:1.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores when not given.")]
Memory = Annotated[
    float | None,
    typer.Option(
        "--max-memory", min=0, help="GB that encoding may take at a time; half of what is free."
    ),
]
BucketOption = Annotated[
    str, typer.Option("--bucket", help="Only this part of the pictures, as 0/4.", metavar="I/N")
]
Manifests = Annotated[
    list[Path] | None,
    typer.Option("--only", help="Only the pictures that these manifests list.", metavar="MANIFEST"),
]
Track = Annotated[
    bool,
    typer.Option("--track/--no-track", envvar=TRACKING, help="Put it on record in MLflow."),
]
OptionalPath = Path | None


@app.callback(invoke_without_command=True)
def _liif(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"liif {__version__}")
        raise typer.Exit


@contextmanager
def _killed_runs_noted() -> Iterator[None]:
    """Runs whose process was killed are marked so by the next job, whatever it does."""

    tracker = None
    if any(records_folder(project()).glob("*/*/live.lock")):
        from liif.courier import Tracker, installed

        if installed():
            tracker = Tracker(project())
            if not tracker.records.bury():
                tracker = None
    try:
        yield
    finally:
        if tracker is not None:
            tracker.close(seconds=30)


@contextmanager
def _tracker(wanted: bool | None) -> Iterator[NoTracker]:
    """What a job keeps records with; they are delivered before it ends."""
    from liif import courier

    tracker = courier.tracker(wanted, project())
    try:
        yield tracker
    except BaseException:
        tracker.close(seconds=20)  # who stopped a job waits for it
        raise
    tracker.close()


@app.command()
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
    from liif import download as stage

    if name == "photographs":
        stage.copy_photographs(to)
        return
    if name not in stage.ARCHIVES:
        raise UserError(f"`{name}` is none of {', '.join(stage.ARCHIVES)}, photographs")
    partial = partial or to / ".partial"
    with lock(partial / f"{name}.lock", f"the download of {name}"):
        stage.download(name, stage.ARCHIVES[name], to / f"{name}.zip", partial)
    if hint := stage.how_to_record(to, project()):
        say(hint)


@app.command()
def pack(
    source: Annotated[Path, typer.Argument(help="Folder or archive of photographs.")],
    out: Annotated[Path, typer.Argument(help="The pack to write.")],
) -> None:
    """Pack photographs into one file of pixels that training maps into memory."""
    from liif import pack as stage
    from liif.versions import data_version

    version = data_version(project())
    if version.warning:
        say(version.warning)
    with lock(beside(out), f"packing {out.name}"):
        stage.pack(source, out, data_version=version.known)


@app.command()
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
    from liif import buckets
    from liif import degrade as stage

    part = buckets.parse_bucket(bucket)
    with lock(beside(manifest or out), f"degrading to {out}"):
        made = stage.degrade(source, out, scale=scale, crop=crop, truth=truth, bucket=part)
        if manifest is not None:
            buckets.write_manifest(manifest, made, *[f for f in (out, truth) if f is not None])


@app.command()
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
    from liif import device as devices
    from liif import train as stage

    recipe = config.recipe(settings)
    devices.use_threads(threads)
    devices.keep_freed_memory()
    chosen = devices.choose(device)
    state = state or out.with_suffix(".state")
    limits = stage.Limits(
        device=chosen,
        workers=devices.loader_workers(chosen) if workers is None else workers,
        save_minutes=save_minutes,
    )
    with _tracker(track) as tracker:
        stage.train(
            name or out.stem,
            recipe,
            data=data,
            valid=valid,
            out=out,
            state=state,
            store=store or state / "finished",
            limits=limits,
            tracker=tracker,
        )


@app.command(name="import")
def import_(
    source: Annotated[
        str, typer.Argument(help="`bundled`, a file (ours, the authors' .pth, mmagic's) or a URL.")
    ],
    out: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    sha256: Annotated[
        str | None,
        typer.Option(help="What a URL's file must be."),
    ] = None,
    partial: Annotated[
        OptionalPath, typer.Option(help="Folder for unfinished files; default beside OUT.")
    ] = None,
    track: Track = False,
) -> None:
    """Convert weights to our format; nothing in the file is executed."""
    from liif import checkpoint as stage
    from liif import runs

    stage.import_weights(source, out, sha256=sha256, partial=partial or out.parent / ".partial")
    with _tracker(track) as tracker:
        runs.given(tracker, out, source)


@app.command()
def info(
    weights: Annotated[str, typer.Argument(help="`bundled`, or a weights file of any format.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Tell what a checkpoint is: network, origin, training, metrics."""
    import json

    from liif import info as stage

    facts = stage.info(weights)
    if as_json:
        typer.echo(json.dumps(dict(facts), indent=1, ensure_ascii=False))
    else:
        width = max(len(what) for what, _ in facts)
        for what, value in facts:
            typer.echo(f"{what:{width}}  {value}")


@app.command()
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
    from liif import evaluate as stage
    from liif import metrics
    from liif.buckets import read_manifests
    from liif.files import write_json
    from liif.upscale import open_upscaler

    if (sr is None) == (weights is None) or (lr is None) != (weights is None):
        raise UserError("give either --weights with --lr, or --sr")
    result = stage.evaluate(
        hr,
        lr=lr,
        upscaler=None
        if weights is None
        else open_upscaler(weights, device, threads, _bytes(max_memory)),
        sr=sr,
        scale=scale,
        channel=metrics.parse_channel(channel),
        border=metrics.parse_border(border),
        model=name or (sr.name if sr is not None else Path(str(weights)).stem),
        set_name=set_name,
        names=None if only is None else read_manifests(only),
    )
    if json is not None:
        write_json(json, result)
    stage.print_table([result])


@app.command()
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
    from liif import evaluate as stage
    from liif import runs

    sources = runs.parse_sources(data or [])
    results = stage.merge(parts or [], count)
    stage.write_tables(results, metrics, csv, summary)
    stage.print_table(results)
    if note:
        typer.echo(note)
    with _tracker(track) as tracker:
        runs.evaluated(tracker, results, models=models, metrics=metrics, table=csv, data=sources)


@app.command()
def upscale(
    inputs: Annotated[list[Path], typer.Argument(help="Pictures, folders or archives of them.")],
    out: Annotated[
        OptionalPath,
        typer.Option("--out", "-o", help="Folder, or a .png for one picture; default beside each."),
    ] = None,
    scale: Annotated[float, typer.Option(min=1, max=100, help="Any number from 1 up.")] = 8,
    weights: Annotated[
        str, typer.Option(help="`bundled`, a weights file, or `bicubic`.")
    ] = "bundled",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other files.")] = False,
    name: Annotated[str, typer.Option(help="What to call the model.")] = "upscaling",
    only: Manifests = None,
    bucket: BucketOption = "0/1",
    manifest: Annotated[OptionalPath, typer.Option(help="JSON list of what was made.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    max_memory: Memory = None,
) -> None:
    """Enlarge pictures, as PNG. A picture that was made already is not made again."""
    from liif import buckets
    from liif import upscale as stage

    job = stage.Job(
        upscaler=stage.open_upscaler(weights, device, threads, _bytes(max_memory)),
        scale=scale,
        overwrite=overwrite,
        title=name,
        bucket=buckets.parse_bucket(bucket),
        names=None if only is None else buckets.read_manifests(only),
    )
    with lock(beside(manifest), f"upscaling to {out}") if manifest else nullcontext():
        made = stage.upscale(inputs, out, job)
        if manifest is not None:
            buckets.write_manifest(manifest, made, *([out] if out is not None else []))


@app.command()
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
    from liif import runs
    from liif import upscale as stage

    by_model = stage.manifests_by_model(manifests, count)
    stage.gather(by_model, upscaled, out)
    with _tracker(track) as tracker:
        runs.sampled(tracker, by_model, weights=models, upscaled=upscaled)


@app.command()
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
    import importlib.util

    from liif import config, runs

    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("matplotlib is not installed: pip install 'liif[report]'")
    from liif import report as stage

    text = resolved or str(settings or "")
    experiment = config.experiment(config.read_yaml(text)) if text else None
    sources = runs.parse_sources(data or [])
    stage.report(results, project(), experiment, sources=sources, snakefile=snakefile)


@app.command()
def compare(
    inputs: Annotated[
        list[Path], typer.Argument(help="Versions of a picture; or folders of versions of many.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path(
        "compare.html"
    ),
    truth: Annotated[
        OptionalPath,
        typer.Option(help="The one that PSNR, SSIM and differences are taken to."),
    ] = None,
) -> None:
    """Write a page that shows pictures against each other: divider, zoom, differences."""
    from liif.report import compare as stage

    typer.echo(stage.compare(inputs, out, truth))


@app.command()
def deliver() -> None:
    """Deliver the records that MLflow could not take when they were made."""
    from liif.courier import Tracker, installed

    if not installed():
        raise UserError("MLflow is not installed: pip install mlflow")
    tracker = Tracker(project())
    count = tracker.deliver()
    typer.echo(f"{count} records delivered" if count else "nothing waits to be delivered")


def _bytes(gigabytes: float | None) -> int | None:
    return None if gigabytes is None else int(gigabytes * 1e9)


def main() -> None:
    """Run the command line; a mistake of the user's is one line, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # × is not in every character set
    words = sys.argv[1:]
    a_job = any(not w.startswith("-") for w in words[:1]) and not {"-h", "--help"} & set(words)
    try:
        with _killed_runs_noted() if a_job else nullcontext():
            app()
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"liif: {name}{error.strerror or error}", file=sys.stderr)
        raise SystemExit(1) from None
    except UserError as error:
        print(f"liif: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("liif: stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except Interrupted as error:
        print(f"liif: {error}", file=sys.stderr)
        raise SystemExit(128 + error.signal_number) from None
