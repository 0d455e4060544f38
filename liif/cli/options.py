"""Options that several subcommands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liif.project import TRACKING

Device = Annotated[str, typer.Option(help="auto (a free GPU, else the CPU), cpu, cuda, cuda:1.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores when not given.")]
Memory = Annotated[
    float | None,
    typer.Option(
        "--max-memory", min=0, help="GB that features and encoding may take; half of what is free."
    ),
]
BucketOption = Annotated[
    str, typer.Option("--bucket", help="Only this part of the pictures, as 0/4.", metavar="I/N")
]
Manifests = Annotated[
    list[Path] | None,
    typer.Option("--only", help="Only the pictures that these manifests list.", metavar="MANIFEST"),
]
Track = Annotated[
    bool,
    typer.Option("--track/--no-track", envvar=TRACKING, help="Put it on record in MLflow."),
]
OptionalPath = Path | None


def to_bytes(gigabytes: float | None) -> int | None:
    """What `--max-memory` says, in bytes."""
    return None if gigabytes is None else int(gigabytes * 1e9)
