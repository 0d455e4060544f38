"""Weights that a request may choose: those of the catalog that are here, and trained ones."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from liif.checkpoints.catalog import CATALOG, local_path, measurements
from liif.system.project import project

_TRAINED = Path("results/models")


class Weights(NamedTuple):
    """Weights that may be chosen."""

    path: Path
    purpose: str
    """Purpose of the weights; empty if unknown."""
    time: float = 1.0
    """Time relative to the bundled weights, as measured by `make models`."""


def available() -> dict[str, Weights]:
    """The weights by the name that `liif upscale --weights` takes; the first is the default.

    Requests choose among these alone, so that none can have this server open another file.
    """
    found = {}
    measured = measurements()["models"]
    for name, entry in CATALOG.items():
        if (path := local_path(name)).is_file():
            time = measured.get(name, {}).get("time", 1.0)
            found[name] = Weights(path, entry.purpose, time)
    for path in sorted((project() / _TRAINED).glob("*.safetensors")):
        if not path.stem.endswith(".best"):
            found[_named(path)] = Weights(path, "")
    return found


def _named(path: Path) -> str:
    """The path for a command in the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
