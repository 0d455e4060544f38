"""The project: the folder that a job works in."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = "LIIF_PROJECT"
"""Environment variable by which the workflow passes its folder to its jobs."""

TRACKING = "LIIF_TRACKING"
"""Environment variable for --track (true) or --no-track (false)."""


def project() -> Path:
    """The project's folder, where `mlflow ui` shows its records.

    In the workflow its folder; else the nearest one, from the current one up, that has records or
    a Snakefile; else the current one.
    """
    if given := os.environ.get(PROJECT):
        return Path(given).absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "mlflow.db").is_file() or (folder / "Snakefile").is_file():
            return folder
    return here


def records_folder(folder: Path) -> Path:
    """The folder of a project's records."""
    return folder / "results" / "tracking"
