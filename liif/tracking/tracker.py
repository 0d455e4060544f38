"""Trackers: keep a job's records, and deliver them in a thread beside it."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from liif.system.errors import UserError
from liif.system.progress import log
from liif.system.project import records_folder
from liif.system.redact import redact
from liif.tracking.records import Record, Records
from liif.tracking.run import Run

EXPERIMENT = "sr_800"
"""MLflow's experiment, unless MLFLOW_EXPERIMENT_NAME names another."""
_LONGEST_PAUSE = 30.0
"""Seconds between attempts to reach a store that does not respond."""


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

    def report_problem(self, error: Exception) -> None:
        """Report that something could not be recorded."""

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
    warned = False
    """Whether this process has reported a problem."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self._news, self._closing = threading.Event(), threading.Event()
        self.records = Records(records_folder(project), self._news.set, self.report_problem)
        self.cpu_seconds = 0.0
        """CPU time that delivering took."""
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or None
        self._address = self._uri and redact(self._uri)
        self._experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        self._stores: dict[tuple[str | None, str], Any] = {}
        self._mine: dict[Path, Record] = {}
        self._monitor: Any = None
        self._begun, self._next_sample = time.monotonic(), 0.0
        self._deadline = 0.0
        self._thread: threading.Thread | None = None

    def run(self, model: str, key: str, *, from_scratch: bool = False, validation: str = "") -> Run:
        """See `NoTracker.run`."""
        try:
            record = self.records.of(model, key, from_scratch=from_scratch, validation=validation)
            record.send_to(self._address, self._experiment)
        except Exception as error:  # a job never fails for want of a record
            self.report_problem(error)
            return Run()
        return self._mine.setdefault(record.folder, record)

    def start(self) -> None:
        """See `NoTracker.start`."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
            self._thread.start()

    def close(self, seconds: float = 60) -> None:
        """See `NoTracker.close`. The next job delivers what is left."""
        self._deadline = time.monotonic() + seconds
        self._closing.set()
        self._news.set()
        if self._thread or any(record.is_pending() for record in self.records.all()):
            self.start()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                self.report_problem(TimeoutError("takes too long to respond"))

    def deliver(self) -> int:
        """Deliver everything pending now, or raise a `UserError`; returns the number of events."""
        try:
            count = self._round()
        except Exception as error:
            raise UserError(self._sentence(error)) from None
        if any(record.is_pending() for record in self.records.all()):
            raise UserError(f"{self.records.folder}: another job is delivering at this moment")
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
                if record.address is None:  # the disk was full when the record began
                    record.send_to(self._address, self._experiment)
                if (address := record.address) is None:
                    continue
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
        pause = 1.0
        while True:
            self._news.clear()
            closing = self._closing.is_set()
            self._try(self._sample)
            done = self._try(self._round)
            self.cpu_seconds = time.thread_time()
            if closing:
                if not done or time.monotonic() > self._deadline or not self._left():
                    return
                time.sleep(0.1)  # another job is delivering ours, and may end before it sees all
            elif done:
                pause = 1.0
                self._news.wait(5)
            else:
                self._closing.wait(pause)
                pause = min(_LONGEST_PAUSE, 2 * pause)

    def _try(self, work: Callable[[], object]) -> bool:
        """Work that reports whatever MLflow raises; the job continues."""
        try:
            work()
        except Exception as error:
            self.report_problem(error)
            return False
        return True

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

    def report_problem(self, error: Exception) -> None:
        """Report the first problem of the process."""
        if not Tracker.warned:
            Tracker.warned = True
            with suppress(ValueError, OSError):  # standard error may be closed, or its disk full
                log(f"{self._sentence(error)}; work continues")

    def _sentence(self, error: Exception) -> str:
        lines = redact(str(error)).strip().splitlines() or [type(error).__name__]
        text = lines[0] if len(lines[0]) <= 200 else f"{lines[0][:200]} …"
        where = self._address or "the project's database"
        return (
            f"MLflow ({where}): {text}; undelivered records queue in {self.records.folder} and are "
            "delivered by the next job, or by: liif deliver"
        )


def make_tracker(wanted: bool | None, project: Path) -> NoTracker:
    """A tracker if it is wanted; None means if MLflow is installed."""
    if wanted and not installed():
        raise UserError("tracking needs MLflow: pip install mlflow, or give --no-track")
    wanted = installed() if wanted is None else wanted
    return Tracker(project) if wanted else NoTracker()
