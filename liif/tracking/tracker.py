"""The courier: a thread that delivers records while the job goes on, and gives up in time."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from liif.system.errors import UserError
from liif.system.progress import log
from liif.system.project import records_folder
from liif.system.redact import redact
from liif.tracking.records import Record, Records
from liif.tracking.run import Run

if TYPE_CHECKING:
    from liif.tracking.store import Monitors, Store

EXPERIMENT = "sr_800"
"""MLflow's experiment, unless MLFLOW_EXPERIMENT_NAME names another."""
_LONGEST_PAUSE = 30.0
"""Seconds between attempts to reach a store that does not answer."""


def installed() -> bool:
    """Whether MLflow is there; nothing else needs it."""
    return importlib.util.find_spec("mlflow") is not None


class NoTracker:
    """Stands in when tracking is off: its runs keep nothing."""

    enabled = False
    """Whether anything is put on record."""

    def run(self, model: str, key: str, *, from_scratch: bool = False, validation: str = "") -> Run:
        """The run of a model that is made under that key; `from_scratch` if from the start.

        With `validation`, the digest of the validation set, never a run of another set.
        """
        return Run()

    def report_problem(self, error: Exception) -> None:
        """Something could not be put on record."""

    def start(self) -> None:
        """Start delivering. Only after a job has forked its helpers: they need no thread."""

    def close(self, seconds: float = 60) -> None:
        """Deliver what is left, for so many seconds at most."""


class Tracker(NoTracker):
    """Keeps records in a project's folder and delivers them to MLflow; one for each process.

    Where MLflow is: MLFLOW_TRACKING_URI, by default the database in the project's folder that a
    bare `mlflow ui` there shows. The experiment: MLFLOW_EXPERIMENT_NAME, by default `sr_800`.
    """

    enabled = True
    warned = False
    """Whether this process has said that something is wrong."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.records = Records(records_folder(project), self._changed, self.report_problem)
        self.cpu_seconds = 0.0
        """Processor time that delivering took."""
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or None
        self._address = self._uri and redact(self._uri)
        self._experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        self._stores: dict[tuple[str | None, str], Store] = {}
        self._mine: set[Record] = set()
        self._monitors: Monitors | None = None
        self._deadline = 0.0
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, model: str, key: str, *, from_scratch: bool = False, validation: str = "") -> Run:
        """See `NoTracker.run`."""
        try:
            record = self.records.of(model, key, from_scratch=from_scratch, validation=validation)
            record.send_to(self._address, self._experiment)
        except Exception as error:  # no job fails for want of a record
            self.report_problem(error)
            return Run()
        self._mine.add(record)
        return record

    def start(self) -> None:
        """See `NoTracker.start`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="courier", daemon=True)
            self._thread.start()

    def close(self, seconds: float = 60) -> None:
        """See `NoTracker.close`. What is left after it goes with the next job."""
        self._deadline = time.monotonic() + seconds
        self._closing.set()
        self._news.set()
        if self._thread is not None and not self._thread.is_alive():
            self._thread = None
        if self._thread is None and any(r.waits() for r in self.records.all()):
            self.start()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                self.report_problem(TimeoutError("takes too long to answer"))

    def deliver(self) -> int:
        """Deliver all that waits, now; returns how many events.

        Raises
        ------
        UserError
            Something could not be delivered.
        """
        try:
            count = self._round()
        except Exception as error:
            raise UserError(self._sentence(error)) from None
        if any(record.waits() for record in self.records.all()):
            raise UserError(f"{self.records.folder}: another job delivers at this moment")
        return count

    def _round(self) -> int:
        """Deliver what waits, the records of this job first."""
        from liif.tracking import store as tracking

        count = 0
        trouble: Exception | None = None
        dead: set[tuple[str | None, str]] = set()
        others = [r for r in self.records.all() if r.folder not in {m.folder for m in self._mine}]
        for record in (*self._mine, *others):
            try:
                if not record.waits():
                    continue
                address = record.address
                if address is None:  # there was no room for it when the record began
                    record.send_to(self._address, self._experiment)
                    address = record.address
                where = (address.store, address.experiment) if address else (None, "")
                if where in dead:
                    continue  # so that a store that is gone is waited for only once
                dead.add(where)
                done, wrong = tracking.deliver(record, self._store(*where))
                dead.discard(where)
                count, trouble = count + done, trouble or wrong
            except Exception as error:  # of one record or store; the others go on
                trouble = trouble or error
        if trouble is not None:
            raise trouble
        return count

    def _store(self, address: str | None, experiment: str) -> Store:
        from liif.tracking.store import Store

        key = (address, experiment)
        if key not in self._stores:
            # With its passwords, where it is the one that is set now.
            uri = self._uri if address == self._address else address
            self._stores[key] = Store(self.project, uri, experiment)
        return self._stores[key]

    def _work(self) -> None:
        pause = 1.0
        while True:
            self._news.clear()
            last, failed = self._closing.is_set(), False
            self._sample()
            try:
                self._round()
                pause, idle, wake = 1.0, 60.0, self._news
            except Exception as error:  # whatever MLflow does, the job goes on
                self.report_problem(error)
                failed = True
                idle, wake, pause = pause, self._closing, min(_LONGEST_PAUSE, 2 * pause)
            self.cpu_seconds = time.thread_time()
            if last and (failed or time.monotonic() > self._deadline or not self._left()):
                return
            if last:  # another job delivers ours just now, and may end before it sees all
                time.sleep(0.1)
                continue
            end = time.monotonic() + idle
            while (left := end - time.monotonic()) > 0:
                if wake.wait(min(left, self._sample())):
                    break

    def _left(self) -> bool:
        """Whether anything of this job still waits."""
        return any(record.waits() for record in self._mine)

    def _sample(self) -> float:
        """Note the machine's state if it is time; returns the seconds to the next time."""
        try:
            if self._monitors is None:
                from liif.tracking.store import Monitors

                self._monitors = Monitors()
            return self._monitors.sample([r for r in self._mine if r.is_live])
        except Exception as error:
            self.report_problem(error)
            return _LONGEST_PAUSE

    def _changed(self, _: Record) -> None:
        self._news.set()

    def report_problem(self, error: Exception) -> None:
        """Say what is wrong, once in the life of the process."""
        if not Tracker.warned:
            Tracker.warned = True
            with suppress(ValueError, OSError):  # standard error may be closed, or its disk full
                log(f"{self._sentence(error)}; work goes on without it")

    def _sentence(self, error: Exception) -> str:
        lines = redact(str(error)).strip().splitlines() or [type(error).__name__]
        text = lines[0] if len(lines[0]) <= 200 else f"{lines[0][:200]} …"
        where = self._address or "the project's database"
        return (
            f"MLflow ({where}): {text}; what it misses waits in {self.records.folder} and goes "
            "there when it answers again, or by: liif deliver"
        )


def make_tracker(wanted: bool | None, project: Path) -> NoTracker:
    """A tracker, if it is wanted; None means if MLflow is installed.

    Raises
    ------
    UserError
        It is wanted, and MLflow is not installed.
    """
    if wanted and not installed():
        raise UserError("tracking needs MLflow: pip install mlflow, or give --no-track")
    wanted = installed() if wanted is None else wanted
    return Tracker(project) if wanted else NoTracker()
