"""Records: everything known about each run, written to disk as it happens.

Events are appended to ``results/tracking/<model>/<key>/events.jsonl`` in the project's folder,
which takes no longer than a write. `tracking.delivery` sends them to MLflow, now or later, so a
slow, dead or full server never blocks a training.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from liif.system import locks
from liif.system.files import file_sha256, write_json
from liif.tracking.pages import NAMES
from liif.tracking.problems import never_failing
from liif.tracking.run import Event, Known, Run


class Address(BaseModel, frozen=True):
    """The place to which a record is delivered."""

    id: str
    """Identifies the record among all others there."""
    store: str | None = None
    """MLflow's address, without passwords; None is the project's own database."""
    experiment: str = ""


class Delivered(BaseModel):
    """How much of a record was delivered, and where."""

    store: str | None = None
    experiment: str = ""
    offset: int = 0
    """Byte of the first event to be sent. A file waits for as long as its copy exists."""
    run: str | None = None
    """MLflow's run."""
    run_experiment: str = ""
    """MLflow's identifier of the run's experiment."""
    description: str = ""
    """The run's description; one that a user has edited is kept."""
    names: int = 1
    """Version of the names in MLflow."""


class Record(Run):
    """A run that is kept in a folder of its own. Problems are reported, never raised."""

    recorded = True
    is_live = False
    """Whether this process works on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.parent.name
        """The model's."""
        self.path = folder / "events.jsonl"
        """One event a line, in the order they happened."""
        self._lock = folder / "live.lock"
        self._known: Known | None = None

    @property
    def address(self) -> Address | None:
        """The place to which it is delivered, if that was set."""
        return _read(self.folder / "record.json", Address)

    def send_to(self, store: str | None, experiment: str) -> Address:
        """Set where it is delivered to: all of it, except files that were delivered elsewhere."""
        before = self.address
        identity = before.id if before else uuid.uuid4().hex
        address = Address(id=identity, store=store, experiment=experiment)
        if address != before:
            with never_failing():
                write_json(self.folder / "record.json", address.model_dump())
        return address

    def delivered(self) -> Delivered:
        """How much was delivered to the current address."""
        address = self.address or Address(id="")
        state = _read(self.folder / "delivered.json", Delivered)
        if state is None or (state.store, state.experiment) != (address.store, address.experiment):
            return Delivered(store=address.store, experiment=address.experiment, names=NAMES)
        if state.names != NAMES:
            state.offset, state.names = 0, NAMES
        with suppress(OSError), self.path.open("rb") as file:
            file.seek(max(0, state.offset - 1))
            if file.read(1) != b"\n":  # a power cut took events
                state.offset = 0
        return state

    def note_delivered(self, state: Delivered) -> None:
        """Save how much was delivered."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut could leave less than was delivered
        write_json(self.folder / "delivered.json", state.model_dump())

    def is_pending(self) -> bool:
        """Whether anything waits to be delivered."""
        return any(self.events(self.delivered().offset)) or any(self.pending_files())

    def pending_files(self) -> Iterator[tuple[Event, Path]]:
        """Events whose file waits to be delivered, each with the file's copy."""
        if any((self.folder / "files").glob("*")):
            for _, event in self.events():
                if "file" in event and (path := self.folder / event["file"]).is_file():
                    yield event, path

    @property
    def known(self) -> Known:
        """See `Run.known`."""
        if self._known is None:
            self._known = Known()
            for _, event in self.events():
                self._known.add(event)
        return self._known

    @property
    def validation(self) -> str:
        """Digest of its validation set; empty while it has none."""
        return str(self.known.datasets.get("validation", {}).get("digest", ""))

    def events(self, offset: int = 0) -> Iterator[tuple[int, Event]]:
        """The complete events from an offset on, each with the offset of the next."""
        with never_failing(), suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # cut off by a kill, or being written at this moment
                offset += len(line)
                with suppress(ValueError):  # the remains of a line after a kill or power cut
                    event = json.loads(line)
                    if isinstance(event, dict) and "kind" in event:
                        yield offset, event

    def append(self, event: Event) -> None:
        """See `Run.append`."""
        event = {"timestamp": round(time.time() * 1000), **event}
        with never_failing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                file.seek(max(0, file.tell() - 1))
                # A line that a kill cut off is ended here, and skipped by readers.
                end = b"\n" if file.read(1) not in (b"", b"\n") else b""
                file.write(end + json.dumps(event).encode() + b"\n")
            self.known.add(event)

    def append_file(self, event: Event, write: Callable[[Path], object]) -> None:
        """See `Run.append_file`. The copy is deleted when it was delivered."""
        path = self.folder / "files" / uuid.uuid4().hex / Path(event.get("name", "image.png")).name
        with never_failing(), ExitStack() as unless_kept:
            unless_kept.callback(shutil.rmtree, path.parent, ignore_errors=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
            if "name" in event:
                event["sha256"] = file_sha256(path)
                if self.known.files.get(event["name"]) == event["sha256"]:
                    return
            unless_kept.pop_all()
            self.append({**event, "file": path.relative_to(self.folder).as_posix()})

    @contextmanager
    def active(self) -> Iterator[None]:
        """See `Run.active`. Its lock shows other processes that the run is alive."""
        with ExitStack() as stack:
            with never_failing():
                self.folder.mkdir(parents=True, exist_ok=True)
                # Others hold the lock for moments.
                stack.enter_context(locks.claim(self._lock, wait=5))
            self.is_live = True
            stack.callback(setattr, self, "is_live", False)
            with super().active():
                yield

    def is_alive(self) -> bool:
        """Whether a process works on the run."""
        return locks.is_held(self._lock)

    def mark_killed(self) -> bool:
        """Log that the run's process was killed; returns whether it was."""
        with locks.claim(self._lock) as is_dead:
            self._known = None  # read what the killed process logged last
            killed = is_dead and self.known.status == "RUNNING"
            if killed:
                end = self.known.end  # not the time at which that is noticed
                self.set_status("KILLED", "killed; run the same command to resume", at=end)
        return killed


T = TypeVar("T", Address, Delivered)


def _read(path: Path, kind: type[T]) -> T | None:
    """A small JSON file of ours; None if it is missing, or damaged as by a power cut."""
    with suppress(OSError, ValueError):
        return kind.model_validate_json(path.read_bytes())
    return None


class Records:
    """All records of a project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[Record]:
        """Every record."""
        return [Record(path.parent) for path in sorted(self.folder.glob("*/*/events.jsonl"))]

    def of(
        self, model: str, key: str, *, from_scratch: bool = False, validation: str = ""
    ) -> Record:
        """The newest record of a model under a key; a new one if a training starts anew.

        With `validation`, the digest of the validation set, never a record of another set.
        """
        number = 1
        while self._path(model, key, number + 1).is_dir():
            number += 1
        new, *records = [Record(self._path(model, key, i)) for i in range(number + 1, 0, -1)]
        if validation:
            records = [r for r in records if r.validation in ("", validation)]
        record = records[0] if records else new
        if from_scratch and ("epoch" in record.known.steps or record.is_alive()):
            return new
        return record

    def mark_killed(self) -> list[Record]:
        """Mark the runs whose process was killed; returns them."""
        killed = []
        for lock in sorted(self.folder.glob("*/*/live.lock")):
            with never_failing():
                if (record := Record(lock.parent)).mark_killed():
                    killed.append(record)
        return killed

    def _path(self, model: str, key: str, number: int) -> Path:
        return self.folder / model / (key[:16] + (f".{number}" if number > 1 else ""))
