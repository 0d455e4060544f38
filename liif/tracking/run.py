"""A run: what there is to say of one model of an experiment, whether it is kept or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from liif.images.pixels import RGB8

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Photographs or pictures that a run has seen."""

    name: str
    context: str
    """What for: training, validation or test."""
    source: str
    """Where they came from."""
    digest: str
    """The version of the data."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many there are, of what."""


class Run:
    """A run of which nothing is kept: it stands in when tracking is off."""

    recorded = False
    """Whether anything is; images need not be drawn for a run that keeps none."""

    def log_params(self, values: Mapping[str, object]) -> None:
        """Settings. What is known with another value already is kept as a tag."""

    def set_tags(self, values: Mapping[str, object]) -> None:
        """What may change: the last value counts."""

    def log_epochs(self, rows: list[dict[str, float]]) -> None:
        """The history so far; rows that are known already are left out."""

    def log_metrics(self, values: Mapping[str, float], data: DataSet | None = None) -> None:
        """What the model reaches on a data set; equal values are left out."""

    def log_image(self, key: str, pixels: RGB8, *, step: int) -> None:
        """A picture (H, W, 3) at a step, unless there is one; those of one key get a slider."""

    def log_sample(self, key: str, path: Path) -> None:
        """A final output, a picture file; an equal one is left out, another is the next step."""

    def log_file(self, path: Path, name: str) -> None:
        """A file, by its name in the run's artifacts; an equal one is left out."""

    def log_text(self, name: str, text: str) -> None:
        """A file with that text, likewise."""

    def log_dataset(self, data: DataSet) -> None:
        """Photographs that the run has seen."""

    def log_model(self, weights: Path, step: int = 0) -> None:
        """The weights after so many steps, to be served and registered."""

    def set_status(self, status: Status, ended: str = "") -> None:
        """How it goes, or how it ended."""

    def report_problem(self, error: Exception) -> None:
        """Something could not be put on record."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """While the run is at work; however the block ends is noted, unless it ends well."""
        yield
