"""Subcommands for your own pictures: parse, build the settings, call.

Everything heavy is imported within the commands, so that `liif --help` answers at once.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from liif.cli.app import PICTURES, app
from liif.cli.options import (
    BucketOption,
    Device,
    Manifest,
    Manifests,
    Memory,
    Threads,
    a_path,
    known_weights,
    require_extra,
    to_bytes,
)
from liif.system.files import require_writable
from liif.system.locks import lock, lock_path


@app.command(rich_help_panel=PICTURES)
def upscale(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Pictures, folders or archives of them.", parser=a_path),
    ],
    out: Annotated[
        Path | None,
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
        str | None, typer.Option(help="Exactly these pixels, as 1920x1080.", metavar="WxH")
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
        bool, typer.Option("--recursive", "-r", help="Also folders within folders.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing output.")
    ] = False,
    self_ensemble: Annotated[
        bool,
        typer.Option(
            "--self-ensemble", help="Mean over 8 flips and rotations: slower, a little better."
        ),
    ] = False,
    name: Annotated[str, typer.Option(help="Name of the job.", hidden=True)] = "upscaling",
    only: Manifests = None,
    bucket: BucketOption = "0/1",
    manifest: Manifest = None,
    device: Device = "auto",
    threads: Threads = None,
    max_memory: Memory = None,
) -> None:
    """Upscale pictures of any kind and size; existing output is kept.

    liif upscale photo.jpg  [dim](makes photo_x8.png beside it)[/dim]

    liif upscale photo.jpg -o large.jpg --width 3840

    liif upscale holiday -r -o enlarged --scale 2.5 --format webp
    """
    from liif.data.manifests import parse_bucket, read_manifests, write_manifest
    from liif.inference import upscale as stage
    from liif.inference.plan import Job, parse_format
    from liif.inference.size import parse_size
    from liif.inference.upscaler import open_upscaler

    asked = parse_size(scale, size, width, height)
    suffix = ".png" if format_ is None else parse_format(format_, out)
    if manifest is not None:
        require_writable(manifest)
    job = Job(
        upscaler=open_upscaler(weights, device, threads, to_bytes(max_memory), self_ensemble),
        size=asked,
        suffix=suffix,
        quality=quality,
        recursive=recursive,
        flat=manifest is not None or only is not None,
        overwrite=overwrite,
        title=name,
        bucket=parse_bucket(bucket),
        names=None if only is None else read_manifests(only),
    )
    with lock(lock_path(manifest), f"upscaling to {out}") if manifest else nullcontext():
        made = stage.upscale(inputs, out, job)
        if manifest is not None:
            write_manifest(manifest, made, *([out] if out is not None else []))


@app.command(rich_help_panel=PICTURES)
def compare(
    inputs: Annotated[
        list[Path], typer.Argument(help="Versions of a picture; or folders of versions of many.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path(
        "compare.html"
    ),
    truth: Annotated[
        Path | None, typer.Option(help="Reference for PSNR, SSIM and difference maps.")
    ] = None,
) -> None:
    """Write a page that compares pictures by a divider, zoom and difference maps."""
    require_extra("report", "jinja2")
    from liif.report.compare import compare as compare_pictures

    require_writable(out)
    typer.echo(compare_pictures(inputs, out, truth))
