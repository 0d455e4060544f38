"""Records: what is known of each run, kept on disk as it happens.

A run is one model of an experiment: its settings, epochs, images, files, and how it ended. All
of it is appended to ``results/tracking/<model>/<key>/events.jsonl`` in the project's folder, which
takes no longer than a write; `tracking.store` delivers it to MLflow from there, now or later. So
a server that is slow, dead or full holds up no training, and nothing is said twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from liif.images.pixels import RGB8
from liif.system import locks
from liif.system.errors import UserError
from liif.system.files import file_sha256, write_json, write_text
from liif.system.signals import Interrupted, Stopped
from liif.tracking.run import DataSet, Run, Status

Event = dict[str, Any]


@dataclass(frozen=True)
class Address:
    """Where a record goes."""

    id: str
    store: str | None = None
    """MLflow's address, without passwords; None is the project's own database."""
    experiment: str = ""


@dataclass(kw_only=True)
class Delivered:
    """How far a record has gone to a store."""

    store: str | None = None
    experiment: str = ""
    offset: int = 0
    """Of the first event that has not been tried."""
    later: list[int] = field(default_factory=list)
    """Offsets of images and files that could not be stored when it was their turn."""
    run: str | None = None
    model: str | None = None
    """Their identifiers there."""
    version: str | None = None
    """Of the registered model."""


@dataclass
class _Known:
    """What the events of a record amount to."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    epoch: int = 0
    samples: int = 0
    """Of the machine's state."""
    measured: dict[str, tuple[float, int]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    datasets: dict[str, Event] = field(default_factory=dict)
    status: str = ""

    def add(self, event: Event) -> None:
        kind = event["kind"]
        if kind == "params":
            self.params |= event["values"]
        elif kind == "tags":
            self.tags |= event["values"]
        elif kind == "epoch":
            self.epoch = max(self.epoch, event["step"])
        elif kind == "system":
            self.samples = event["step"] + 1
        elif kind == "measured":
            self.measured |= {k: (v, event["step"]) for k, v in event["values"].items()}
        elif kind == "image":
            self.images[event["key"]] = event["step"]
        elif kind == "dataset":
            self.datasets[event["data"]["context"]] = event["data"]
        elif kind == "status":
            self.status = event["status"]
        if "sha256" in event:
            self.files[event["name"]] = event["sha256"]


class Record(Run):
    """A run that is kept in a folder of its own.

    Nothing here raises because of a disk that is full or gone: a training does not fail for want
    of a record. `trouble` is told instead.
    """

    recorded = True

    def __init__(
        self,
        folder: Path,
        changed: Callable[[Record], None] = lambda _: None,
        trouble: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self.folder, self.changed, self.trouble = folder, changed, trouble
        self.name = folder.parent.name
        """The model's."""
        self.is_live = False
        self._known: _Known | None = None

    @property
    def events_path(self) -> Path:
        """One event a line, in the order they happened."""
        return self.folder / "events.jsonl"

    @property
    def _live_lock(self) -> Path:
        return self.folder / "live.lock"

    @property
    def address(self) -> Address | None:
        """Where the record goes, and what tells it from all others there, if that was set."""
        return _read(self.folder / "record.json", Address)

    def send_to(self, store: str | None, experiment: str) -> None:
        """Set where the record goes.

        If it went elsewhere before, all of it goes there, but for files that were delivered.
        """
        before = self.address
        now = replace(before or Address(uuid.uuid4().hex), store=store, experiment=experiment)
        try:
            if now != before:
                write_json(self.folder / "record.json", asdict(now))
        except (OSError, UserError) as error:
            self.trouble(error)

    def delivered(self) -> Delivered:
        """How far it has gone to where it goes."""
        address = self.address or Address("")
        state = _read(self.folder / "delivered.json", Delivered)
        if state is None or (state.store, state.experiment) != (address.store, address.experiment):
            return Delivered(store=address.store, experiment=address.experiment)
        if not self._is_boundary(state.offset):  # events were lost, as in a power cut
            state.offset, state.later = 0, []
        return state

    def note_delivered(self, state: Delivered) -> None:
        """Keep how far it has gone."""
        with self.events_path.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut could leave less than what was delivered
        write_json(self.folder / "delivered.json", asdict(state))

    def _is_boundary(self, offset: int) -> bool:
        """Whether an event begins, or the last one ends, just there."""
        if offset == 0:
            return True
        try:
            with self.events_path.open("rb") as file:
                file.seek(offset - 1)
                return file.read(1) == b"\n"
        except OSError:
            return False

    def waits(self) -> bool:
        """Whether anything is still to be delivered."""
        state = self.delivered()
        return bool(state.later) or next(self.events(state.offset), None) is not None

    @property
    def known(self) -> _Known:
        """What was recorded so far, by whichever process."""
        if self._known is None:
            self._known = _Known()
            for *_, event in self.events(0):
                self._known.add(event)
        return self._known

    def events(self, offset: int) -> Iterator[tuple[int, int, Event]]:
        """The complete events from an offset on, each with its own offset and the next one's."""
        try:
            with self.events_path.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # of a process that was killed, or is writing just now
                    event = _event(line)
                    if event is not None:
                        yield offset, offset + len(line), event
                    offset += len(line)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.trouble(error)

    @property
    def validation(self) -> str:
        """Digest of its validation set; empty while it has none."""
        return str(self.known.datasets.get("validation", {}).get("digest", ""))

    def log_params(self, values: Mapping[str, object]) -> None:
        """See `Run.log_params`."""
        text = {key: str(value) for key, value in values.items()}
        new = {key: value for key, value in text.items() if key not in self.known.params}
        other = {k: v for k, v in text.items() if self.known.params.get(k, v) != v}
        if new:
            self._append({"kind": "params", "values": new})
        self.set_tags({f"resumed.{key}": value for key, value in other.items()})

    def set_tags(self, values: Mapping[str, object]) -> None:
        """See `Run.set_tags`."""
        text = {key: str(value) for key, value in values.items()}
        new = {key: value for key, value in text.items() if self.known.tags.get(key) != value}
        if new:
            self._append({"kind": "tags", "values": new})

    def log_epochs(self, rows: list[dict[str, float]]) -> None:
        """See `Run.log_epochs`. Timestamps come from the history."""
        for row in rows:
            if row["epoch"] > self.known.epoch:
                values = {
                    key: float(f"{value:.10g}")
                    for key, value in row.items()
                    if key not in ("epoch", "step", "timestamp")
                }
                event = {"kind": "epoch", "values": values, "step": int(row["epoch"])}
                self._append({**event, "timestamp": round(row["timestamp"] * 1000)})

    def system(self, values: Mapping[str, float]) -> None:
        """The state of the machine, now."""
        self._append({"kind": "system", "values": dict(values), "step": self.known.samples})

    def log_metrics(self, values: Mapping[str, float], data: DataSet | None = None) -> None:
        """See `Run.log_metrics`. Other values than before are the next point of their curve."""
        by_step: dict[int, dict[str, float]] = {}
        for key, value in values.items():
            before, step = self.known.measured.get(key, (None, -1))
            if value != before:
                by_step.setdefault(step + 1, {})[key] = value
        of = {} if data is None else {"data": [data.name, data.digest]}
        for step, some in by_step.items():
            event = {"kind": "measured", "values": some, "step": step}
            self._append({**event, **of})

    def log_image(self, key: str, pixels: RGB8, *, step: int) -> None:
        """See `Run.log_image`."""
        if step <= self.known.images.get(key, -1):
            return

        def write(path: Path) -> None:
            Image.fromarray(pixels).save(path, compress_level=1)

        self._append_with({"kind": "image", "key": key, "step": step}, "image.png", write)

    def log_sample(self, key: str, path: Path) -> None:
        """See `Run.log_sample`."""
        step = self.known.images.get(key, -1) + 1
        event = {"kind": "image", "key": key, "step": step, "name": f"images/{key}.png"}
        self._append_copy(event, path)

    def log_file(self, path: Path, name: str) -> None:
        """See `Run.log_file`."""
        self._append_copy({"kind": "file", "name": name}, path)

    def log_text(self, name: str, text: str) -> None:
        """See `Run.log_text`."""
        digest = sha256(text.encode()).hexdigest()
        if self.known.files.get(name) != digest:
            event = {"kind": "file", "name": name, "sha256": digest}
            self._append_with(event, Path(name).name, lambda copy: write_text(copy, text))

    def log_model(self, weights: Path, step: int = 0) -> None:
        """See `Run.log_model`."""
        event = {"kind": "model", "name": "model/weights.safetensors", "step": step}
        self._append_copy(event, weights)

    def log_dataset(self, data: DataSet) -> None:
        """See `Run.log_dataset`."""
        if self.known.datasets.get(data.context) != asdict(data):
            self._append({"kind": "dataset", "data": asdict(data)})

    def set_status(self, status: Status, ended: str = "") -> None:
        """See `Run.set_status`."""
        if self.known.status != status:
            self._append({"kind": "status", "status": status})
        self.set_tags({"ended": ended})

    def report_problem(self, error: Exception) -> None:
        """See `Run.report_problem`."""
        self.trouble(error)

    @contextmanager
    def active(self) -> Iterator[None]:
        """See `Run.active`. The lock that it holds tells others that it is alive."""
        with self._holding():
            self.is_live = True
            self.set_status("RUNNING")
            try:
                yield
            except Interrupted as stop:
                self.set_status("KILLED", f"stopped on request: {stop}")
                raise
            except (KeyboardInterrupt, Stopped):
                self.set_status("KILLED", "stopped at once, by a second request")
                raise
            except UserError as error:
                self.set_status("FAILED", str(error))
                raise
            except Exception as error:
                self.set_status("FAILED", f"{type(error).__name__}: {error}")
                raise
            finally:
                self.is_live = False

    @contextmanager
    def _holding(self) -> Iterator[None]:
        """Hold the lock of a living run; others have it for moments only."""
        held, end = None, time.monotonic() + 5
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while (held := locks.attempt(self._live_lock)) is None and time.monotonic() < end:
                time.sleep(0.05)
        except OSError as error:
            self.trouble(error)
        try:
            yield
        finally:
            if held is not None:
                with suppress(OSError):
                    self._live_lock.unlink(missing_ok=True)
                held.close()

    def is_alive(self) -> bool:
        """Whether a process is at work on the run."""
        return locks.is_held(self._live_lock)

    def mark_killed(self) -> bool:
        """Note that the run's process was killed, if that is so."""
        held = locks.attempt(self._live_lock, create=False)
        if held is None:
            return False
        with held:
            self._known = None  # what the killed process said last
            killed = self.known.status == "RUNNING"
            if killed:
                self.set_status("KILLED", "killed; the same command goes on where it was")
            self._live_lock.unlink(missing_ok=True)
        return killed

    def _append(self, event: Event) -> None:
        event = {"timestamp": _now(), **event}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.events_path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                _mend(file)
                file.write(json.dumps(event).encode() + b"\n")
        except OSError as error:
            self.trouble(error)
            return
        self.known.add(event)
        self.changed(self)

    def _append_copy(self, event: Event, path: Path) -> None:
        """An event with a file that stays as it is now."""
        try:
            digest = file_sha256(path)
        except OSError as error:
            self.trouble(error)
            return
        if self.known.files.get(event["name"]) == digest:
            return

        def write(copy: Path) -> None:
            try:
                os.link(path, copy)  # results are replaced, never changed in place
            except OSError:
                shutil.copyfile(path, copy)

        self._append_with({**event, "sha256": digest}, Path(event["name"]).name, write)

    def _append_with(self, event: Event, name: str, write: Callable[[Path], None]) -> None:
        """An event with a file of that name, which lies in a folder of its own."""
        path = self.folder / "files" / uuid.uuid4().hex / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
        except (OSError, UserError) as error:
            shutil.rmtree(path.parent, ignore_errors=True)
            self.trouble(error)
            return
        self._append({**event, "file": path.relative_to(self.folder).as_posix()})


T = TypeVar("T", Address, Delivered)


def _read(path: Path, kind: type[T]) -> T | None:
    """A small JSON file of ours; None if it is not there, or damaged as by a power cut."""
    try:
        return kind(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _event(line: bytes) -> Event | None:
    """The event of a line; None for what a power cut left of one."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "kind" in event else None


def _now() -> int:
    """Milliseconds, as MLflow counts."""
    return round(time.time() * 1000)


def _mend(file: Any) -> None:
    """Cut off a line that a killed process did not complete."""
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


class Records:
    """All records of a project."""

    def __init__(
        self,
        folder: Path,
        changed: Callable[[Record], None] = lambda _: None,
        trouble: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self.folder, self._changed, self._trouble = folder, changed, trouble

    def all(self) -> list[Record]:
        """Every record."""
        return [self._open(path.parent) for path in sorted(self.folder.glob("*/*/events.jsonl"))]

    def of(
        self, model: str, key: str, *, from_scratch: bool = False, validation: str = ""
    ) -> Record:
        """The record of a model that was made under that key; the newest, if there are several.

        `from_scratch`: trained from the start; a record with epochs is not continued then.
        """
        number = 1
        while self._path(model, key, number + 1).is_dir():
            number += 1
        records = [self._open(self._path(model, key, i)) for i in range(number + 1, 0, -1)]
        of_set = [r for r in records[1:] if r.validation in ("", validation) or not validation]
        record = of_set[0] if of_set else records[0]
        if from_scratch and (record.known.epoch or record.is_alive()):
            record = records[0]
        return record

    def mark_killed(self) -> list[Record]:
        """Mark the runs whose process was killed; returns them."""
        buried = []
        for record in self.all():
            try:
                if record.mark_killed():
                    buried.append(record)
            except Exception as error:  # of one record; the job has nothing to do with it
                self._trouble(error)
        return buried

    def _path(self, model: str, key: str, number: int) -> Path:
        return self.folder / model / (key[:16] + (f".{number}" if number > 1 else ""))

    def _open(self, path: Path) -> Record:
        return Record(path, self._changed, self._trouble)
