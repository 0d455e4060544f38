"""The application that all subcommands belong to."""

from __future__ import annotations

from typing import Annotated

import typer

from liif import __version__

app = typer.Typer(
    name="liif",
    help="Super-resolution with local implicit image functions (LIIF).",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

PICTURES = "Your pictures"
WEIGHTS = "Weights"
STAGES = "Stages of the workflow"
"""Where `liif --help` lists a command."""


@app.callback(invoke_without_command=True)
def _liif(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[  # read by `main`, which shows errors
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    if version:
        typer.echo(f"liif {__version__}")
        raise typer.Exit
