"""MLflow: its client, the experiment, the runs. MLflow is imported only when it is needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from liif.tracking.pages import EXPERIMENT

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # It would print the address of every run, with the password in it, into the job's log.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A dead server must be noticed soon; records are delivered later anyway. And a request that
    # is repeated unseen may create a run twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
DESCRIPTION = "mlflow.note.content"
"""Tag that MLflow shows as the description of an experiment or a run."""
_RECORD = "liif.record"
"""Tag of a run: the record's identifier."""
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # on its pages for trained models


def import_mlflow() -> Any:
    """MLflow without telemetry and log lines of its own."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow
    import mlflow.pyfunc

    logging.getLogger("alembic").setLevel(logging.ERROR)
    return mlflow


def system_monitor() -> Any:
    """MLflow's monitor of CPU, memory, disk, network and GPUs."""
    import_mlflow()
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    # It sends nothing by itself; for any other address it would create a database.
    return SystemMetricsMonitor("", tracking_uri="http://localhost")


class Store:
    """An experiment in MLflow, created if it is missing; without `uri`, in the project's folder."""

    def __init__(self, project: Path, uri: str | None, experiment: str) -> None:
        from filelock import FileLock

        self.mlflow = import_mlflow()
        # Where a bare `mlflow ui` in the project's folder looks for them.
        artifacts = None if uri else (project / "mlruns" / experiment).as_uri()
        self.uri = uri or f"sqlite:///{project / 'mlflow.db'}"
        file = Path(self.uri.removeprefix("sqlite:///"))
        # Of two processes that create the same database at once, one would fail.
        alone = FileLock(file.with_name(f".{file.name}.lock")) if "sqlite:" in self.uri else None
        with alone or nullcontext():
            self.client = self.mlflow.MlflowClient(self.uri)
            if self.client.get_experiment_by_name(experiment) is None:
                with suppress(self.mlflow.MlflowException):  # another machine may be faster
                    self.client.create_experiment(experiment, artifacts, tags=_KIND)
        found = self.client.get_experiment_by_name(experiment)
        if found is None or found.lifecycle_stage != "active":
            raise RuntimeError(f"experiment {experiment} was deleted, or cannot be created")
        self.experiment = str(found.experiment_id)
        if DESCRIPTION not in found.tags:
            self.client.set_experiment_tag(self.experiment, DESCRIPTION, EXPERIMENT)

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """For functions that take no address. MLflow notes it in the environment, too."""
        before = os.environ.get("MLFLOW_TRACKING_URI")
        self.mlflow.set_tracking_uri(self.uri)
        try:
            yield
        finally:
            if before is None:
                os.environ.pop("MLFLOW_TRACKING_URI", None)
            else:
                os.environ["MLFLOW_TRACKING_URI"] = before

    def run(self, record: str, name: str, start: int) -> Any:
        """The run of a record, created if it is missing or was deleted."""
        found = self.client.search_runs(
            [self.experiment], f"tags.`{_RECORD}` = '{record}'", order_by=["start_time ASC"]
        )
        if found:
            return found[0]
        tags = {_RECORD: record, "mlflow.source.name": "liif", "mlflow.source.type": "LOCAL"}
        return self.client.create_run(self.experiment, start, tags, name)
