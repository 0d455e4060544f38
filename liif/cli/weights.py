"""Subcommands for weights: import, describe, list, fetch, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from liif.cli.options import (
    WEIGHTS,
    Partial,
    Track,
    WeightsArgument,
    app,
    known_weights,
    require_extra,
)
from liif.cli.tracking import job_tracker
from liif.system.errors import UserError
from liif.system.files import require_writable
from liif.system.locks import lock, lock_path


@app.command(name="import", rich_help_panel=WEIGHTS)
def import_(
    source: Annotated[
        str,
        Argument(help="`bundled`, a name of `liif weights list`, a file of any format, or a URL."),
    ],
    out: Annotated[Path, Argument(help="The safetensors file to write.")],
    sha256: Annotated[str | None, Option(help="Expected checksum; required for a URL.")] = None,
    partial: Partial = None,
    track: Track = False,
) -> None:
    """Convert weights to liif's format; no code in the file is executed.

    liif import epoch-1000.pth rdn.safetensors
    """
    from liif.checkpoints.convert import convert_weights
    from liif.cli.entries import log_given_weights

    require_writable(out)
    with lock(lock_path(out), f"importing {out.name}"):
        convert_weights(source, out, sha256=sha256, partial=partial or out.parent / ".partial")
    with job_tracker(track) as tracker:
        log_given_weights(tracker, out, source)


@app.command(rich_help_panel=WEIGHTS)
def info(
    weights: WeightsArgument, as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False
) -> None:
    """Describe weights: network, origin, training and metrics.

    liif info bundled
    """
    import json

    from liif.checkpoints.describe import describe

    facts = describe(weights)
    if as_json:
        typer.echo(json.dumps(dict(facts), indent=1, ensure_ascii=False))
    else:
        width = max(len(what) for what, _ in facts)
        for what, value in facts:
            typer.echo(f"{what:{width}}  {value}")


weights_app = typer.Typer(
    help="List and fetch weights by name: liif's own and published ones.",
    no_args_is_help=True,
)
app.add_typer(weights_app, name="weights", rich_help_panel=WEIGHTS)


@weights_app.command(name="list")
def list_() -> None:
    """List weights by name, with size, time and PSNR."""
    from liif.checkpoints.catalog import CACHE, CATALOG, folder, measurements

    models = measurements()["models"]
    head = ("name", "from", "for", "MB", "parameters", "time", "×4, dB", "×8, dB", "here")
    rows = [head, *(_row(name, models.get(name, {})) for name in CATALOG)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        aligned = (f"{v:{'<' if i < 3 else '>'}{widths[i]}}" for i, v in enumerate(row))
        typer.echo("  ".join(aligned))
    typer.echo(
        "\n`bundled` is edsr-baseline. Time: of upscaling by 8 in float32, relative to "
        "edsr-baseline.\ndB: PSNR on the bundled test pictures, clean; `docs/models.md` has more."
        f"\nFetched weights are kept in {folder()} ({CACHE} sets another folder)."
    )


def _row(name: str, measured: dict[str, Any]) -> tuple[str, ...]:
    """A row of the list; a dash where nothing was measured."""
    from liif.checkpoints.catalog import CATALOG, as_used, local_path

    entry, path = CATALOG[name], local_path(name)
    here, count = path.is_file(), measured.get("parameters")
    size = path.stat().st_size if here else count and 4 * count
    numbers = (
        size and f"{size / 1e6:.1f}",
        count and f"{count:,}",
        measured and f"{measured['time']:.2f}",
        *("quality" in measured and f"{as_used(measured, 'clean', s)['psnr']:.2f}" for s in (4, 8)),
    )
    shown = (text or "–" for text in numbers)
    return (name, entry.origin, entry.purpose, *shown, "yes" if here else "no")


@weights_app.command()
def fetch(
    name: Annotated[
        str,
        Argument(
            help="A name of `liif weights list`; or a URL, with --sha256 and --out.",
            autocompletion=known_weights,
        ),
    ],
    sha256: Annotated[str | None, Option(help="Expected checksum, if none was published.")] = None,
    out: Annotated[
        Path | None, Option("--out", "-o", help="Where to save the file of a URL, unconverted.")
    ] = None,
    partial: Partial = None,
) -> None:
    """Download, verify and convert weights, once; `--weights NAME` uses them afterwards.

    liif weights fetch rdn
    """
    from liif.checkpoints import catalog, convert

    if name.startswith(("http://", "https://")):
        if sha256 is None or out is None:
            raise UserError("a URL needs --sha256 and --out")
        with lock(lock_path(out), f"fetching {out.name}"):
            convert.download_weights(name, out, sha256, partial or out.parent / ".partial")
        return
    catalog.local_path(name)  # refuses unknown names before anything is written
    require_writable(catalog.folder())
    with lock(catalog.folder() / ".partial" / f"{name}.lock", f"fetching {name}"):
        typer.echo(convert.fetch_weights(name, sha256=sha256))


@app.command(rich_help_panel=WEIGHTS)
def export(
    weights: WeightsArgument,
    onnx: Annotated[bool, Option("--onnx", help="Export to ONNX, the only format.")] = False,
    out: Annotated[
        Path | None,
        Option(
            *("--out", "-o"),
            help="Output name without suffix, or a folder.",
            show_default="the weights' name",
        ),
    ] = None,
) -> None:
    """Export to ONNX, for pictures of any size: OUT.encoder.onnx and OUT.decoder.onnx, verified.

    liif export bundled --onnx -o edsr
    """
    if not onnx:
        raise UserError("choose a format: --onnx")
    require_extra("onnx", "onnx", "onnxruntime", "onnxscript")
    from liif.checkpoints.onnx import export_onnx

    require_writable(out or Path.cwd())
    made = export_onnx(weights, out)
    for path in (made.encoder, made.decoder):
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"differs from the original by at most {made.difference:.1e} (onnxruntime)")
