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
        help="GB for features and encoding; default half of what is free.",
        rich_help_panel=MACHINE,
    ),
]
BucketOption = Annotated[
    str, typer.Option("--bucket", help="One part, as 0/4.", metavar="I/N", rich_help_panel=JOBS)
]
Manifests = Annotated[
    list[Path] | None,
    typer.Option("--only", help="Its pictures only.", metavar="MANIFEST", rich_help_panel=JOBS),
]
Track = Annotated[
    bool, typer.Option("--track/--no-track", envvar=TRACKING, help="Record it in MLflow.")
]
Scale = Annotated[float, typer.Option(min=1, max=100, help="HR is SCALE times LR.")]
Partial = Annotated[
    Path | None, typer.Option(help="Folder for unfinished files; default .partial beside them.")
]
Manifest = Annotated[
    Path | None,
    typer.Option(help="Write the names and hashes of the output as JSON.", rich_help_panel=JOBS),
]
BucketCount = Annotated[int, typer.Option("--buckets", min=1, help="Files in each folder.")]
ModelsFolder = Annotated[Path, typer.Option(help="The models' weights, which identify their runs.")]
Sources = Annotated[
    list[str] | None,
    typer.Option("--data", help="Version and source of a set.", metavar="SET=HASH@PATH"),
]
MODELS = Path("results/models")


def to_bytes(gigabytes: float | None) -> int | None:
    """`--max-memory` in bytes; refused unless it is finite."""
    if gigabytes is None:
        return None
    if not isfinite(gigabytes):
        raise UserError(f"--max-memory (={gigabytes}) must be a number of GB")
    return int(gigabytes * 1e9)


def a_path(word: str) -> Path:
    """A path; an empty word, which Python takes for the current folder, is refused."""
    if not word:
        raise UserError("an empty word is given for a path (a variable that is not set?)")
    return Path(word)


def require_extra(extra: str, *modules: str) -> None:
    """Refuse missing modules of an optional extra, and name the extra to install."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise UserError(f"{', '.join(missing)} not installed: pip install 'liif[{extra}]'")


def known_weights(incomplete: str) -> list[str]:
    """Weights for the completion of a shell."""
    from liif.checkpoints.catalog import CATALOG

    return [name for name in ("bundled", *CATALOG) if name.startswith(incomplete)]


WeightsArgument = Annotated[
    str,
    typer.Argument(
        help="`bundled`, a name of `liif weights`, or a file: ours, the authors', mmagic's.",
        autocompletion=known_weights,
    ),
]


def parse_sources(texts: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Source and version of each set, from `SET=HASH@PATH`."""
    sources = {}
    for text in texts:
        name, _, rest = text.partition("=")
        version, at, source = rest.partition("@")
        if not (name and at and version and source):
            raise UserError(f"`{text}` must look like SET=HASH@PATH")
        sources[name] = (source, version)
    return sources
