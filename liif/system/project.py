"""The project: the folder that a job works in, and what the workflow tells its jobs of it."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = "LIIF_PROJECT"
"""Environment variable in which the workflow says to its jobs which folder it works in."""

TRACKING = "LIIF_TRACKING"
"""Environment variable that stands in for --track (true) or --no-track (false)."""


def project() -> Path:
    """The project's folder, where `mlflow ui` shows its records.

    The workflow says which it is. For a command by hand it is the nearest folder at or above
    the current one with records or a Snakefile, else the current one.
    """
    if said := os.environ.get(PROJECT):
        return Path(said).absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "mlflow.db").is_file() or (folder / "Snakefile").is_file():
            return folder
    return here


def records_folder(folder: Path) -> Path:
    """Where a project's records of its runs are."""
    return folder / "results" / "tracking"
