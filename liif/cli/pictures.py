"""Subcommands for one's own pictures and for weights: parse, build the settings, call.

Everything heavy is imported within the commands, so that `liif --help` answers at once.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from liif.cli.app import PICTURES, WEIGHTS, app
from liif.cli.options import (
    JOBS,
    BucketOption,
    Device,
    Manifests,
    Memory,
    OptionalPath,
    Threads,
    Track,
    a_path,
    known_weights,
    to_bytes,
)
from liif.cli.tracking import tracking
from liif.system.errors import UserError
from liif.system.files import require_writable
from liif.system.locks import lock, lock_path


@app.command(rich_help_panel=PICTURES)
def upscale(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Pictures, folders or archives of them.", parser=a_path),
    ],
    out: Annotated[
        OptionalPath,
        typer.Option(
            *("--out", "-o"),
            help="Folder; or a file, for one picture. Default beside each.",
            parser=a_path,
            metavar="PATH",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", "-s", min=1, max=100, help="Any number from 1 up; default 8."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Just this many pixels, as 1920x1080.", metavar="WxH")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Pixels across; the height follows.")
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="Pixels down; the width follows.")
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            "-w",
            help="`bundled`, a name of `liif weights`, a file, or `bicubic`.",
            autocompletion=known_weights,
        ),
    ] = "bundled",
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="png, jpg, webp, tif or bmp, where OUT does not say; default png."
        ),
    ] = None,
    quality: Annotated[
        int,
        typer.Option(min=1, max=100, help="Of JPEG and WebP; 100 is WebP without loss."),
    ] = 95,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Folders within folders too.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
    self_ensemble: Annotated[
        bool,
        typer.Option(
            "--self-ensemble", help="Mean over 8 flips and rotations: slower, a little better."
        ),
    ] = False,
    name: Annotated[str, typer.Option(help="What to call the job.", hidden=True)] = "upscaling",
    only: Manifests = None,
    bucket: BucketOption = "0/1",
    manifest: Annotated[
        OptionalPath,
        typer.Option(
            help="JSON list of what was made; pictures are told by their names alone then.",
            rich_help_panel=JOBS,
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    max_memory: Memory = None,
) -> None:
    """Enlarge pictures of any kind and size. What is there already is not made again.

    liif upscale photo.jpg  [dim](makes photo_x8.png beside it)[/dim]

    liif upscale photo.jpg -o large.jpg --width 3840

    liif upscale holiday -r -o enlarged --scale 2.5 --format webp
    """
    from liif.data import manifests as buckets
    from liif.inference import upscale as stage
    from liif.inference.upscaler import open_upscaler

    asked = stage.parse_size(scale, size, width, height)
    suffix = ".png" if format_ is None else stage.parse_format(format_, out)
    if manifest is not None:
        require_writable(manifest)
    job = stage.Job(
        upscaler=open_upscaler(weights, device, threads, to_bytes(max_memory), self_ensemble),
        size=asked,
        suffix=suffix,
        quality=quality,
        recursive=recursive,
        flat=manifest is not None or only is not None,
        overwrite=overwrite,
        title=name,
        bucket=buckets.parse_bucket(bucket),
        names=None if only is None else buckets.read_manifests(only),
    )
    with lock(lock_path(manifest), f"upscaling to {out}") if manifest else nullcontext():
        made = stage.upscale(inputs, out, job)
        if manifest is not None:
            buckets.write_manifest(manifest, made, *([out] if out is not None else []))


@app.command(rich_help_panel=PICTURES)
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

    require_writable(out)
    typer.echo(stage.compare(inputs, out, truth))


@app.command(name="import", rich_help_panel=WEIGHTS)
def import_(
    source: Annotated[
        str,
        typer.Argument(help="`bundled`, a name of `liif weights`, a file of any format, or a URL."),
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
    from liif.checkpoints import convert as stage
    from liif.tracking import entries as runs

    require_writable(out)
    with lock(lock_path(out), f"importing {out.name}"):
        stage.import_weights(source, out, sha256=sha256, partial=partial or out.parent / ".partial")
    with tracking(track) as tracker:
        runs.given(tracker, out, source)


@app.command(rich_help_panel=WEIGHTS)
def info(
    weights: Annotated[
        str,
        typer.Argument(
            help="`bundled`, a name of `liif weights`, or a file: ours, the authors', mmagic's.",
            autocompletion=known_weights,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Tell what a checkpoint is: network, origin, training, metrics."""
    import json

    from liif.checkpoints import describe as stage

    facts = stage.info(weights)
    if as_json:
        typer.echo(json.dumps(dict(facts), indent=1, ensure_ascii=False))
    else:
        width = max(len(what) for what, _ in facts)
        for what, value in facts:
            typer.echo(f"{what:{width}}  {value}")


weights_app = typer.Typer(
    help="Published weights by name, fetched once and kept.", no_args_is_help=True
)
app.add_typer(weights_app, name="weights", rich_help_panel=WEIGHTS)


@weights_app.command(name="list")
def list_() -> None:
    """List the weights that can be had by name."""
    from liif.checkpoints import catalog as known

    columns = [("name", "network", "from", "sha256", "here")]
    for name, weights in known.WEIGHTS.items():
        digest = f"{weights.sha256[:8]}…" if weights.sha256 else "not published"
        here = "yes" if known.is_here(name) else "no"
        columns.append((name, weights.network, weights.origin, digest, here))
    widths = [max(len(row[i]) for row in columns) for i in range(5)]
    for row in columns:
        typer.echo("  ".join(f"{v:{n}}" for v, n in zip(row, widths, strict=True)).rstrip())
    typer.echo(f"\nkept in {known.folder()} ({known.CACHE} names another folder)")


@weights_app.command()
def fetch(
    name: Annotated[
        str, typer.Argument(help="As `liif weights list` has it.", autocompletion=known_weights)
    ],
    sha256: Annotated[
        str | None, typer.Option(help="What the file must be, where none was published.")
    ] = None,
) -> None:
    """Fetch weights, check and convert them; `--weights NAME` uses them from then on."""
    from liif.checkpoints import catalog as known

    known.require(name)
    require_writable(known.folder())
    with lock(known.folder() / ".partial" / f"{name}.lock", f"fetching {name}"):
        typer.echo(known.fetch(name, sha256=sha256))


@app.command(rich_help_panel=WEIGHTS)
def export(
    weights: Annotated[
        str,
        typer.Argument(
            help="`bundled`, a name of `liif weights`, or a file: ours, the authors', mmagic's.",
            autocompletion=known_weights,
        ),
    ],
    onnx: Annotated[bool, typer.Option("--onnx", help="As ONNX, the only format so far.")] = False,
    out: Annotated[
        OptionalPath,
        typer.Option(
            "--out", "-o", help="Names without ending, or a folder; default the weights' name here."
        ),
    ] = None,
) -> None:
    """Write OUT.encoder.onnx and OUT.decoder.onnx, for pictures of any size, checked."""
    import importlib.util

    if not onnx:
        raise UserError("say in which format: --onnx")
    missing = [m for m in ("onnx", "onnxruntime", "onnxscript") if not importlib.util.find_spec(m)]
    if missing:
        raise UserError(f"{', '.join(missing)} not installed: pip install 'liif[onnx]'")
    from liif.checkpoints import onnx as stage

    require_writable(out or Path.cwd())
    made = stage.export(weights, out)
    for path in (made.encoder, made.decoder):
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"differs from the original by at most {made.difference:.1e} (onnxruntime)")
