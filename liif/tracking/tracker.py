"""Trackers: keep a job's records, and deliver them in a thread beside it."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from pathlib import Path
from typing import Any

from liif.system.errors import UserError
from liif.system.project import records_folder
from liif.system.redact import redact
from liif.tracking import problems
from liif.tracking.problems import never_failing
from liif.tracking.records import Record, Records
from liif.tracking.run import Run

EXPERIMENT = "sr_800"
"""MLflow's experiment, unless MLFLOW_EXPERIMENT_NAME names another."""
_PAUSE, _LONGEST_PAUSE = 5.0, 30.0
"""Seconds between deliveries, and at most while a store does not respond."""


def installed() -> bool:
    """Whether MLflow is installed; only tracking needs it."""
    return importlib.util.find_spec("mlflow") is not None


class NoTracker:
    """A tracker that keeps nothing: tracking is off."""

    enabled = False
    """Whether records are kept."""

    def run(self, model: str, key: str, *, from_scratch: bool = False, validation: str = "") -> Run:
        """The run of a model under a key; see `Records.of`."""
        return Run()

    def start(self) -> None:
        """Start delivering. Call it after data-loader workers were forked."""

    def close(self, seconds: float = 60) -> None:
        """Deliver what is pending, within a time limit."""


class Tracker(NoTracker):
    """Keeps records in a project's folder and delivers them to MLflow; one per process.

    MLFLOW_TRACKING_URI is MLflow's address; by default, the database in the project's folder
    that a bare `mlflow ui` there shows.
    """

    enabled = True

    def __init__(self, project: Path) -> None:
        self.project = project
        self.records = Records(records_folder(project))
        self.cpu_seconds = 0.0
        """CPU time that delivering took."""
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or None
        self._address = self._uri and redact(self._uri)
        self._experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        self._stores: dict[tuple[str | None, str], Any] = {}
        self._mine: dict[Path, Record] = {}
        self._monitor: Any = None
        self._begun, self._next_sample = time.monotonic(), 0.0
        self._closing, self._deadline = threading.Event(), 0.0
        self._thread: threading.Thread | None = None

    def run(self, model: str, key: str, *, from_scratch: bool = False, validation: str = "") -> Run:
        """See `NoTracker.run`."""
        with never_failing():
            record = self.records.of(model, key, from_scratch=from_scratch, validation=validation)
            record.send_to(self._address, self._experiment)
            return self._mine.setdefault(record.folder, record)
        return Run()

    def start(self) -> None:
        """See `NoTracker.start`."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
            self._thread.start()

    def close(self, seconds: float = 60) -> None:
        """See `NoTracker.close`. The next job delivers what is left."""
        self._deadline = time.monotonic() + seconds
        self._closing.set()
        if self._thread or any(record.is_pending() for record in self.records.all()):
            self.start()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                problems.report(TimeoutError("takes too long to respond"))

    def deliver(self) -> int:
        """Deliver everything pending now, or raise a `UserError`; returns the number of events."""
        try:
            count = self._round()
        except Exception as error:
            raise UserError(problems.sentence(error)) from None
        if any(record.is_pending() for record in self.records.all()):
            raise UserError(f"{self.records.folder}: another job is delivering records right now")
        return count

    def _round(self) -> int:
        """Deliver what is pending, the records of this job first."""
        from liif.tracking.delivery import deliver

        mine = dict(self._mine)
        others = [record for record in self.records.all() if record.folder not in mine]
        count, problem, failed = 0, None, set()
        for record in (*mine.values(), *others):
            where = None
            try:
                if not record.is_pending():
                    continue
                # It has no address if the disk was full when the record began.
                address = record.address or record.send_to(self._address, self._experiment)
                where = address.store, address.experiment
                if where not in failed:  # so that a dead store is waited for only once
                    done, trouble = deliver(record, self._store(*where))
                    count, problem = count + done, problem or trouble
            except Exception as error:
                failed.add(where)
                problem = problem or error
        if problem is not None:
            raise problem
        return count

    def _store(self, address: str | None, experiment: str) -> Any:
        from liif.tracking.store import Store

        if (address, experiment) not in self._stores:
            # The address with its passwords, where it is the one set now.
            uri = self._uri if address == self._address else address
            self._stores[address, experiment] = Store(self.project, uri, experiment)
        return self._stores[address, experiment]

    def _work(self) -> None:
        pause = _PAUSE
        while True:
            closing, done = self._closing.is_set(), False
            with never_failing():
                self._sample()
            with never_failing():
                self._round()
                done = True
            self.cpu_seconds = time.thread_time()
            if not closing:
                pause = _PAUSE if done else min(_LONGEST_PAUSE, 2 * pause)
                self._closing.wait(pause)
            elif not done or time.monotonic() > self._deadline or not self._left():
                return
            else:
                time.sleep(0.1)  # another job is delivering ours, and may end before it sees all

    def _left(self) -> bool:
        """Whether anything of this job is pending."""
        return any(record.is_pending() for record in self._mine.values())

    def _sample(self) -> None:
        """Log MLflow's system metrics every 10 s at first, once a minute in long trainings."""
        live, now = [r for r in list(self._mine.values()) if r.is_live], time.monotonic()
        if not live or now < self._next_sample:
            return
        self._next_sample = now + min(60.0, max(10.0, (now - self._begun) / 100))
        if self._monitor is None:
            from liif.tracking.store import system_monitor

            self._monitor, live = system_monitor(), []  # the first reading starts the counts
        self._monitor.collect_metrics()
        values = self._monitor.aggregate_metrics()
        for record in live:
            record.log_system({f"system/{key}": value for key, value in values.items()})
        for monitor in self._monitor.monitors:
            monitor.clear_metrics()


def make_tracker(wanted: bool | None, project: Path) -> NoTracker:
    """A tracker if it is wanted; None means if MLflow is installed."""
    if wanted and not installed():
        raise UserError("tracking needs MLflow: pip install mlflow, or pass --no-track")
    wanted = installed() if wanted is None else wanted
    return Tracker(project) if wanted else NoTracker()
