"""Subcommands that train and evaluate: parse, build the settings, call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from liif.cli.options import (
    EXPERIMENT,
    MACHINE,
    Device,
    Manifests,
    Memory,
    NoBackProjection,
    Precision,
    Scale,
    Threads,
    app,
    known_weights,
    to_bytes,
)
from liif.cli.tracking import job_tracker
from liif.system.errors import UserError
from liif.system.files import require_writable
from liif.system.processes import is_rank, local_world_size, world_size
from liif.system.project import TRACKING


@app.command(rich_help_panel=EXPERIMENT)
def train(
    data: Annotated[Path, Option(help="Training photographs: a folder, an archive or a pack.")],
    valid: Annotated[Path, Option(help="Validation photographs: a folder, an archive or a pack.")],
    out: Annotated[Path, Option("--out", "-o", help="The weights file to write.")],
    settings: Annotated[
        str,
        Option(
            help="Settings as YAML or JSON, or a file of it.", show_default="the published recipe"
        ),
    ] = "{}",
    start: Annotated[
        str | None,
        Option(
            metavar="WEIGHTS",
            help="Initial weights: `bundled`, a name of `liif weights list`, or a file. Settings "
            "of the network that --settings leaves out are taken from them.",
            autocompletion=known_weights,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        Option(
            metavar="WEIGHTS",
            help="Weights of a network to learn from in addition (distillation).",
            autocompletion=known_weights,
        ),
    ] = None,
    name: Annotated[
        str | None, Option(help="Name of the model.", show_default="the name of OUT")
    ] = None,
    state: Annotated[
        Path | None, Option(help="Folder of the state to resume from.", show_default="OUT.state")
    ] = None,
    store: Annotated[
        Path | None, Option(help="Folder of finished trainings.", show_default="STATE/finished")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Annotated[
        int | None,
        Option(min=0, help="Data-loader workers.", show_default="derived from --threads"),
    ] = None,
    processes: Annotated[
        int,
        Option(
            min=0,
            help="Processes that share each step, each on its own GPU if there are GPUs; for "
            "several machines, use torchrun.",
            rich_help_panel=MACHINE,
        ),
    ] = 1,
    save_minutes: Annotated[float, Option(min=0, help="Minutes between saved states.")] = 5,
    track: Annotated[
        bool | None,
        Option(
            "--track/--no-track",
            envvar=TRACKING,
            help="Record the training in MLflow.",
            show_default="if MLflow is installed",
        ),
    ] = None,
) -> None:
    """Train a model; rerun the command to resume an interrupted training.

    liif train --data photos/train --valid photos/valid -o mine.safetensors

    liif train --start bundled --settings jpeg.yaml --data photos --valid others -o mine.safetensors
    """
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


@app.command(rich_help_panel=EXPERIMENT)
def evaluate(
    hr: Annotated[Path, Option(help="Folder or archive of HR pictures, the ground truth.")],
    scale: Scale,
    weights: Annotated[
        str | None,
        Option(
            help="`bundled`, a name of `liif weights list`, a file, or `bicubic`.",
            autocompletion=known_weights,
        ),
    ] = None,
    lr: Annotated[
        Path | None,
        Option(help="Folder or archive of LR pictures, named like those of HR or NAMExSCALE."),
    ] = None,
    sr: Annotated[
        Path | None,
        Option(help="Folder or archive of upscaled pictures, in place of --weights and --lr."),
    ] = None,
    channel: Annotated[str, Option(help="rgb (DIV2K), or y: luma (benchmarks).")] = "rgb",
    border: Annotated[
        str,
        Option(help="Border to exclude: pixels, scale (benchmarks), or scale+6 (DIV2K)."),
    ] = "scale+6",
    json: Annotated[Path | None, Option(help="Also write the result as JSON.")] = None,
    name: Annotated[
        str | None, Option(help="Name of the model.", show_default="that of the weights or of SR")
    ] = None,
    set_name: Annotated[str, Option("--set", help="Name of the set of pictures.")] = "set",
    no_back_projection: NoBackProjection = False,
    only: Manifests = None,
    precision: Precision = "float32",
    device: Device = "auto",
    threads: Threads = None,
    max_memory: Memory = None,
) -> None:
    """Measure PSNR and SSIM on pairs of HR and LR pictures.

    liif evaluate --weights bundled --hr Set5/HR --lr Set5/LR_x4 --scale 4 --channel y --border 4
    """
    from liif.checkpoints.outputs import name_of
    from liif.data.manifests import back_projection_of, precision_of, read_manifests
    from liif.images import metrics
    from liif.inference import evaluate as stage
    from liif.inference.upscaler import open_upscaler
    from liif.network.precision import parse
    from liif.system.files import write_json

    if (sr is None) == (weights is None) or (lr is None) != (weights is None):
        raise UserError("pass either --weights with --lr, or --sr")
    require_writable(json)
    memory, asked = to_bytes(max_memory), parse(precision)
    upscaler = None
    if weights is not None:
        correct = not no_back_projection
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
