"""Subcommands for your own pictures: parse, build the settings, call."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from liif.cli.options import (
    PICTURES,
    BucketOption,
    Device,
    Manifest,
    Manifests,
    Memory,
    NoBackProjection,
    Precision,
    Threads,
    a_path,
    app,
    known_weights,
    require_extra,
    to_bytes,
)
from liif.system.files import require_writable
from liif.system.locks import lock, lock_path


@app.command(rich_help_panel=PICTURES)
def upscale(
    inputs: Annotated[
        list[Path], Argument(help="Pictures, folders or archives of them.", parser=a_path)
    ],
    out: Annotated[
        Path | None,
        Option(
            *("--out", "-o"),
            help="Output folder, or file for a single picture.",
            show_default="beside each input",
            parser=a_path,
            metavar="PATH",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        Option(
            *("--scale", "-s"),
            min=1,
            max=100,
            help="Scale factor; any number, such as 2.5.",
            show_default="8",
        ),
    ] = None,
    size: Annotated[
        str | None, Option(help="Exact output size, such as 1920x1080.", metavar="WxH")
    ] = None,
    width: Annotated[int | None, Option(min=1, help="Output width; the height follows.")] = None,
    height: Annotated[int | None, Option(min=1, help="Output height; the width follows.")] = None,
    weights: Annotated[
        str,
        Option(
            "--weights",
            "-w",
            help="`bundled`, a name of `liif weights list`, a file, or `bicubic`.",
            autocompletion=known_weights,
        ),
    ] = "bundled",
    format_: Annotated[
        str | None,
        Option(
            "--format",
            help="Format: png, jpg, webp, tif or bmp. The suffix of a single output file also "
            "sets it.",
            show_default="png",
        ),
    ] = None,
    quality: Annotated[
        int, Option(min=1, max=100, help="JPEG and WebP quality; 100 is lossless WebP.")
    ] = 95,
    recursive: Annotated[bool, Option("--recursive", "-r", help="Include subfolders.")] = False,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace existing output.")] = False,
    self_ensemble: Annotated[
        bool,
        Option(
            "--self-ensemble",
            help="Average over 8 flips and rotations: 8 times the work, slightly better.",
        ),
    ] = False,
    no_back_projection: NoBackProjection = False,
    name: Annotated[str, Option(help="Name of the job.", hidden=True)] = "upscaling",
    only: Manifests = None,
    bucket: BucketOption = "0/1",
    manifest: Manifest = None,
    precision: Precision = "auto",
    device: Device = "auto",
    threads: Threads = None,
    max_memory: Memory = None,
) -> None:
    """Upscale pictures of any format to any size; existing output is kept.

    liif upscale photo.jpg  [dim](writes photo_x8.png beside it)[/dim]

    liif upscale photo.jpg -o large.jpg --width 3840

    liif upscale holiday -r -o enlarged --scale 2.5 --format webp
    """
    from liif.data.manifests import parse_bucket, read_manifests, write_manifest
    from liif.inference import upscale as stage
    from liif.inference.plan import Job, parse_format
    from liif.inference.size import parse_size
    from liif.inference.upscaler import open_upscaler
    from liif.network.precision import parse

    require_writable(manifest)
    memory, asked = to_bytes(max_memory), parse(precision)
    job = Job(
        size=parse_size(scale, size, width, height),
        suffix=".png" if format_ is None else parse_format(format_, out),
        upscaler=open_upscaler(
            weights, device, threads, memory, self_ensemble, asked, not no_back_projection
        ),
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
            folders = [out] if out is not None else []
            write_manifest(
                manifest,
                made,
                *folders,
                precision=job.upscaler.precision,
                back_projection=job.upscaler.back_projection,
            )


@app.command(rich_help_panel=PICTURES)
def compare(
    inputs: Annotated[
        list[Path], Argument(help="Versions of one picture, or folders with versions of many.")
    ],
    out: Annotated[Path, Option("--out", "-o", help="The page to write.")] = Path("compare.html"),
    truth: Annotated[
        Path | None, Option(help="Reference picture or folder for PSNR, SSIM and difference maps.")
    ] = None,
) -> None:
    """Compare versions of pictures on a page with a divider, zoom and difference maps.

    liif compare photo.png photo_x8.png

    liif compare folder-a folder-b --truth originals -o page.html
    """
    require_extra("report", "jinja2")
    from liif.report.compare import compare as compare_pictures

    require_writable(out)
    typer.echo(compare_pictures(inputs, out, truth))
