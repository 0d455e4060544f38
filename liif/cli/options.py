"""Options that several subcommands have."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from liif.system.errors import UserError
from liif.system.project import TRACKING

MACHINE = "Machine"
JOBS = "Parts of a larger job"
"""Where the help of a command lists an option."""

Device = Annotated[
    str,
    typer.Option(
        help="auto (a free GPU, else the CPU), cpu, cuda, cuda:1.", rich_help_panel=MACHINE
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads; all cores when not given.", rich_help_panel=MACHINE),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--max-memory",
        min=0,
        help="GB that features and encoding may take; half of what is free.",
        rich_help_panel=MACHINE,
    ),
]
BucketOption = Annotated[
    str,
    typer.Option(
        "--bucket",
        help="Only this part of the pictures, as 0/4.",
        metavar="I/N",
        rich_help_panel=JOBS,
    ),
]
Manifests = Annotated[
    list[Path] | None,
    typer.Option(
        "--only",
        help="Only the pictures that these manifests list.",
        metavar="MANIFEST",
        rich_help_panel=JOBS,
    ),
]
Track = Annotated[
    bool,
    typer.Option("--track/--no-track", envvar=TRACKING, help="Put it on record in MLflow."),
]
OptionalPath = Path | None


def to_bytes(gigabytes: float | None) -> int | None:
    """What `--max-memory` says, in bytes.

    Raises
    ------
    UserError
        It is endless, or no number.
    """
    if gigabytes is None:
        return None
    if not isfinite(gigabytes):
        raise UserError(f"--max-memory (={gigabytes}) must be a number of GB")
    return int(gigabytes * 1e9)


def a_path(word: str) -> Path:
    """A path; an empty word is none, which Python would take for the current folder.

    Raises
    ------
    UserError
        The word is empty.
    """
    if not word:
        raise UserError("an empty word is given for a path (a variable that is not set?)")
    return Path(word)


def require_extra(extra: str, *modules: str) -> None:
    """Check that the modules of an optional extra are installed.

    Raises
    ------
    UserError
        Some are missing; the message names the extra to install.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise UserError(f"{', '.join(missing)} not installed: pip install 'liif[{extra}]'")


def known_weights(incomplete: str) -> list[str]:
    """What a shell may complete to."""
    from liif.checkpoints.catalog import CATALOG

    return [name for name in ("bundled", *CATALOG) if name.startswith(incomplete)]


def parse_sources(texts: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Source and version of each set, from `SET=HASH@PATH`.

    Raises
    ------
    UserError
        A text has another form.
    """
    sources = {}
    for text in texts:
        name, _, rest = text.partition("=")
        version, at, source = rest.partition("@")
        if not (name and at and version and source):
            raise UserError(f"`{text}` must look like SET=HASH@PATH")
        sources[name] = (source, version)
    return sources
