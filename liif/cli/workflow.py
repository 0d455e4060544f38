"""A subcommand for each stage of the workflow: parse, build the settings, call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from liif.cli.options import (
    MACHINE,
    STAGES,
    BackProjection,
    BucketOption,
    Device,
    Manifest,
    Manifests,
    Memory,
    Partial,
    Precision,
    Scale,
    Threads,
    app,
    known_weights,
    parse_back_projection,
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
        str, Argument(help="DIV2K_train_HR, DIV2K_valid_HR, or photographs (bundled ones).")
    ],
    to: Annotated[Path, Option(help="Folder for the finished archive or photographs.")],
    partial: Partial = None,
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
def collect(
    source: Annotated[
        Path, Argument(help="Folder of .deb files; or folder or archive of photographs.")
    ],
    out: Annotated[Path, Argument(help="Folder for the training photographs.")],
) -> None:
    """Collect training photographs from Debian packages, or from a folder of your own.

    Shrinks JPEGs by 2, and others above 4 megapixels to 4; leaves out the bundled test pictures.
    An empty SOURCE shows which packages to download.
    """
    from liif.data import collect as stage

    require_writable(out)
    with lock(lock_path(out), f"collecting to {out}"):
        stage.collect(source, out)


@app.command(rich_help_panel=STAGES)
def pack(
    source: Annotated[Path, Argument(help="Folder or archive of photographs.")],
    out: Annotated[Path, Argument(help="The pack to write.")],
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
    source: Annotated[Path, Argument(help="Folder or archive of HR photographs.")],
    out: Annotated[Path, Option("--out", "-o", help="Folder for the LR pictures.")],
    scale: Scale,
    crop: Annotated[
        int | None,
        Option(min=1, help="First crop each photograph to a centred square of this side."),
    ] = None,
    truth: Annotated[Path | None, Option(help="Folder for the HR pictures.")] = None,
    blur: Annotated[
        float | None, Option(help="σ of Gaussian blur before shrinking, in LR pixels, at most 8.")
    ] = None,
    noise: Annotated[
        float | None,
        Option(help="σ of Gaussian noise after shrinking, in grey levels, at most 100."),
    ] = None,
    jpeg: Annotated[
        int | None, Option(help="Quality of JPEG compression, which comes last, 1 to 100.")
    ] = None,
    bucket: BucketOption = "0/1",
    manifest: Manifest = None,
) -> None:
    """Make LR pictures by MATLAB's bicubic imresize, if wanted with blur, noise or JPEG."""
    from liif.config import Case
    from liif.config_file import checked
    from liif.data import degrade as stage
    from liif.data.manifests import parse_bucket, write_manifest

    part = parse_bucket(bucket)
    strengths = {"blur": blur, "noise": noise, "jpeg": jpeg}
    given = {kind: value for kind, value in strengths.items() if value is not None}
    case = checked(Case, given) if given else None
    require_writable(out, truth, manifest)
    with lock(lock_path(manifest or out), f"degrading to {out}"):
        made = stage.degrade(
            source, out, scale=scale, crop=crop, truth=truth, case=case, bucket=part
        )
        if manifest is not None:
            write_manifest(manifest, made, *[f for f in (out, truth) if f is not None])


@app.command(rich_help_panel=STAGES)
def train(
    data: Annotated[Path, Option(help="Training photographs: a folder, an archive or a pack.")],
    valid: Annotated[Path, Option(help="Validation photographs: a folder, an archive or a pack.")],
    out: Annotated[Path, Option("--out", "-o", help="The weights file to write.")],
    settings: Annotated[
        str,
        Option(help="Settings as YAML or JSON, or a file of them; default the documented recipe."),
    ] = "{}",
    start: Annotated[
        str | None,
        Option(
            metavar="WEIGHTS",
            help="Weights to start from: `bundled`, a name of `liif weights list`, or a file. "
            "Settings of the network that are not set are theirs.",
            autocompletion=known_weights,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        Option(
            metavar="WEIGHTS",
            help="Weights of a network to learn from besides the photographs.",
            autocompletion=known_weights,
        ),
    ] = None,
    name: Annotated[str | None, Option(help="Name of the model; default that of OUT.")] = None,
    state: Annotated[
        Path | None, Option(help="Folder of the state to resume from; default OUT.state.")
    ] = None,
    store: Annotated[
        Path | None, Option(help="Folder of finished trainings; default STATE/finished.")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Annotated[
        int | None, Option(min=0, help="Data-loader workers; default derived from --threads.")
    ] = None,
    processes: Annotated[
        int,
        Option(
            min=0,
            help="Processes that share each step, each on its own GPU if there are GPUs; for "
            "several machines use torchrun.",
            rich_help_panel=MACHINE,
        ),
    ] = 1,
    save_minutes: Annotated[float, Option(min=0, help="Minutes between saves.")] = 5,
    track: Annotated[
        bool | None,
        Option(
            "--track/--no-track",
            envvar=TRACKING,
            help="Record the training in MLflow; default if MLflow is installed.",
        ),
    ] = None,
) -> None:
    """Train a model; the same command resumes after any interruption."""
    from liif import config
    from liif.checkpoints.outputs import Outputs, name_of
    from liif.network import device as devices
    from liif.training import group as distributed
    from liif.training import launch
    from liif.training import train as stage
    from liif.training.trainer import Limits

    recipe = config.recipe(settings, start, teacher)
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
        devices.time_convolutions(chosen)
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
    hr: Annotated[Path, Option(help="Folder or archive of HR pictures, the ground truth.")],
    scale: Scale,
    weights: Annotated[
        str | None, Option(help="`bundled`, a file, or `bicubic` for the baseline.")
    ] = None,
    lr: Annotated[Path | None, Option(help="LR pictures, named like HR or NAMExSCALE.")] = None,
    sr: Annotated[
        Path | None, Option(help="Upscaled pictures, in place of --weights and --lr.")
    ] = None,
    channel: Annotated[str, Option(help="rgb (DIV2K) or y, luma (benchmarks).")] = "rgb",
    border: Annotated[
        str, Option(help="Border left out: pixels, scale (benchmarks) or scale+6 (DIV2K).")
    ] = "scale+6",
    json: Annotated[Path | None, Option(help="Also write the result as JSON.")] = None,
    name: Annotated[str | None, Option(help="Name of the model.")] = None,
    set_name: Annotated[str, Option("--set", help="Name of the set of pictures.")] = "set",
    back_projection: BackProjection = "auto",
    only: Manifests = None,
    precision: Precision = "float32",
    device: Device = "auto",
    threads: Threads = None,
    max_memory: Memory = None,
) -> None:
    """Measure PSNR and SSIM on pairs of HR and LR pictures."""
    from liif.checkpoints.outputs import name_of
    from liif.data.manifests import back_projection_of, precision_of, read_manifests
    from liif.images import metrics
    from liif.inference import evaluate as stage
    from liif.inference.upscaler import open_upscaler
    from liif.network.precision import parse
    from liif.system.files import write_json

    if (sr is None) == (weights is None) or (lr is None) != (weights is None):
        raise UserError("give either --weights with --lr, or --sr")
    require_writable(json)
    memory, asked = to_bytes(max_memory), parse(precision)
    correct, upscaler = parse_back_projection(back_projection), None
    if weights is not None:
        upscaler = open_upscaler(weights, device, threads, memory, False, asked, correct)
    result = stage.evaluate(
        hr,
        lr=lr,
        upscaler=upscaler,
        sr=sr,
        sr_precision=precision_of(only or []),
        sr_back_projection=back_projection_of(only or []),
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
