"""Runs: what a job logs about one model of an experiment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from liif.images.pixels import RGB8
from liif.system.errors import UserError
from liif.system.signals import Interrupted, Stopped

Event = dict[str, Any]
Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Photographs or pictures that a run used."""

    name: str
    context: str
    """Training, validation or test."""
    source: str
    """Source of the pictures."""
    digest: str
    """The version of the data."""
    counts: dict[str, int] = field(default_factory=dict)
    """Number of photographs, pixels or pictures."""


@dataclass
class Known:
    """State of a run according to its events so far."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    measured: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Metric → value and step."""
    files: dict[str, str] = field(default_factory=dict)
    """Name → SHA-256."""
    steps: dict[str, int] = field(default_factory=dict)
    """Kind of event, or key of an image → last step."""
    datasets: dict[str, Event] = field(default_factory=dict)
    status: str = ""
    ran: bool = False
    """Whether it was ever running, rather than only described."""
    start: int | None = None
    """Time of its first event in ms."""
    end: int | None = None
    """Time of its last event."""

    def add(self, event: Event) -> None:
        """Add an event."""
        kind, step, time = event["kind"], event.get("step", -1), event["timestamp"]
        self.start = time if self.start is None else min(self.start, time)
        self.end = time if self.end is None else max(self.end, time)
        if kind == "params":
            self.params |= event["values"]
        elif kind == "tags":
            self.tags |= event["values"]
        elif kind == "measured":
            self.measured |= {key: (value, step) for key, value in event["values"].items()}
        elif kind == "dataset":
            self.datasets[event["data"]["context"]] = event["data"]
        elif kind == "status":
            self.status = event["status"]
            self.ran |= self.status == "RUNNING"
        if "sha256" in event:
            self.files[event["name"]] = event["sha256"]
        key = str(event.get("key", kind))
        self.steps[key] = max(step, self.steps.get(key, -1))


class Run:
    """A run that keeps nothing, as when tracking is off. `Record` keeps its events."""

    recorded = False
    """Whether it keeps anything; else previews need not be drawn."""

    @property
    def known(self) -> Known:
        """State of the run as logged so far, by any process."""
        return Known()

    def append(self, event: Event) -> None:
        """Keep an event."""

    def append_file(self, event: Event, write: Callable[[Path], object]) -> None:
        """Keep an event with a file, unless the last of its name was the same."""

    def log_params(self, values: Mapping[str, object]) -> None:
        """Log settings. A value that differs from the first is kept as a tag `resumed.KEY`."""
        known, text = self.known.params, {key: str(value) for key, value in values.items()}
        if new := {key: value for key, value in text.items() if key not in known}:
            self.append({"kind": "params", "values": new})
        self.set_tags({f"resumed.{k}": v for k, v in text.items() if known.get(k, v) != v})

    def set_tags(self, values: Mapping[str, object]) -> None:
        """Set tags, whose last value counts."""
        text = {key: str(value) for key, value in values.items()}
        if new := {k: v for k, v in text.items() if self.known.tags.get(k) != v}:
            self.append({"kind": "tags", "values": new})

    def log_epochs(self, rows: list[dict[str, float]]) -> None:
        """Log the rows of the history that are new, at their time."""
        for row in rows:
            if row["epoch"] > self.known.steps.get("epoch", 0):
                rest = {k: v for k, v in row.items() if k not in ("epoch", "step", "timestamp")}
                values = {key: float(f"{value:.10g}") for key, value in rest.items()}
                event = {"kind": "epoch", "values": values, "step": int(row["epoch"])}
                self.append({**event, "timestamp": round(row["timestamp"] * 1000)})

    def log_system(self, values: Mapping[str, float]) -> None:
        """Log system metrics of this moment."""
        step = self.known.steps.get("system", -1) + 1
        self.append({"kind": "system", "values": dict(values), "step": step})

    def log_metrics(self, values: Mapping[str, float], data: DataSet | None = None) -> None:
        """Log metrics on a data set; one that has changed is the next point of its curve."""
        of = {} if data is None else {"data": [data.name, data.digest]}
        for key, value in values.items():
            before, step = self.known.measured.get(key, (None, -1))
            if value != before:
                self.append({"kind": "measured", "values": {key: value}, "step": step + 1, **of})

    def log_image(self, key: str, pixels: RGB8, *, step: int) -> None:
        """Log a picture (H, W, 3), unless the key has one at this step."""
        if step > self.known.steps.get(key, -1):
            event, image = {"kind": "image", "key": key, "step": step}, Image.fromarray(pixels)
            self.append_file(event, lambda copy: image.save(copy, compress_level=1))

    def log_sample(self, key: str, path: Path) -> None:
        """Log a picture file as the next step of its key, unless it is unchanged."""
        step = self.known.steps.get(key, -1) + 1
        event = {"kind": "image", "key": key, "step": step, "name": f"images/{key}.png"}
        self.append_file(event, lambda copy: _link(path, copy))

    def log_file(self, path: Path, name: str) -> None:
        """Log a file under a name among the run's artifacts, unless it is unchanged."""
        self.append_file({"kind": "file", "name": name}, lambda copy: _link(path, copy))

    def log_text(self, name: str, text: str) -> None:
        """Log a file of that text, likewise."""
        self.append_file({"kind": "file", "name": name}, lambda copy: copy.write_text(text))

    def log_dataset(self, data: DataSet) -> None:
        """Log photographs or pictures that the run used."""
        if self.known.datasets.get(data.context) != asdict(data):
            self.append({"kind": "dataset", "data": asdict(data)})

    def log_model(self, weights: Path, step: int = 0) -> None:
        """Log the weights after `step` steps, to be served and registered."""
        event = {"kind": "model", "name": "model/weights.safetensors", "step": step}
        self.append_file(event, lambda copy: _link(weights, copy))

    def set_status(self, status: Status, ended: str = "", at: int | None = None) -> None:
        """Set the status and how the run ended, at a time in ms; by default now."""
        if self.known.status != status:
            time = {} if at is None else {"timestamp": at}
            self.append({"kind": "status", "status": status, **time})
        self.set_tags({"ended": ended})

    @contextmanager
    def active(self) -> Iterator[None]:
        """Mark the run as running within the block, and log how it fails or is stopped."""
        self.set_status("RUNNING")
        try:
            yield
        except Interrupted as stop:
            self.set_status("KILLED", f"stopped on request: {stop}")
            raise
        except (KeyboardInterrupt, Stopped):
            self.set_status("KILLED", "stopped at once, by a second request")
            raise
        except Exception as error:
            name = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            self.set_status("FAILED", f"{name}{error}")
            raise


def _link(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy)  # results are replaced, never changed in place
    except OSError:
        shutil.copyfile(path, copy)
