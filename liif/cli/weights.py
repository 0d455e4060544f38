"""Subcommands for weights: import, describe, list, fetch, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    sha256: Annotated[str | None, Option(help="Checksum of the file; needed for a URL.")] = None,
    partial: Partial = None,
    track: Track = False,
) -> None:
    """Convert weights to our format; nothing in the file is executed."""
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
    """Describe a checkpoint: network, origin, training, metrics."""
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
    help="Published weights by name, fetched once and kept.", no_args_is_help=True
)
app.add_typer(weights_app, name="weights", rich_help_panel=WEIGHTS)


@weights_app.command(name="list")
def list_() -> None:
    """List the weights that are available by name."""
    from liif.checkpoints.catalog import CACHE, CATALOG, folder, local_path

    columns = [("name", "network", "from", "sha256", "here")]
    for name, weights in CATALOG.items():
        digest = f"{weights.sha256[:8]}…" if weights.sha256 else "not published"
        here = "yes" if local_path(name).is_file() else "no"
        columns.append((name, weights.network, weights.origin, digest, here))
    widths = [max(len(row[i]) for row in columns) for i in range(5)]
    for row in columns:
        typer.echo("  ".join(f"{v:{n}}" for v, n in zip(row, widths, strict=True)).rstrip())
    typer.echo(f"\nkept in {folder()} ({CACHE} sets another folder)")


@weights_app.command()
def fetch(
    name: Annotated[
        str,
        Argument(
            help="A name of `liif weights list`; or a URL, with --sha256 and --out.",
            autocompletion=known_weights,
        ),
    ],
    sha256: Annotated[str | None, Option(help="Checksum, if none was published.")] = None,
    out: Annotated[
        Path | None, Option("--out", "-o", help="Where to keep the file of a URL, as it is.")
    ] = None,
    partial: Partial = None,
) -> None:
    """Fetch weights, check and convert them; `--weights NAME` uses them from then on."""
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
    onnx: Annotated[bool, Option("--onnx", help="Export to ONNX, the only format so far.")] = False,
    out: Annotated[
        Path | None,
        Option(
            "--out", "-o", help="Output name without ending, or folder; default the weights' name."
        ),
    ] = None,
) -> None:
    """Write OUT.encoder.onnx and OUT.decoder.onnx in float32, for any picture size, checked."""
    if not onnx:
        raise UserError("give the format: --onnx")
    require_extra("onnx", "onnx", "onnxruntime", "onnxscript")
    from liif.checkpoints.onnx import export_onnx

    require_writable(out or Path.cwd())
    made = export_onnx(weights, out)
    for path in (made.encoder, made.decoder):
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"differs from the original by at most {made.difference:.1e} (onnxruntime)")
