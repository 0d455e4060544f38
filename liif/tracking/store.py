"""Tracking: records → MLflow. The only module that imports it, and only when it is needed."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liif.system import locks
from liif.tracking.records import Delivered, Event, Record

MODEL_CODE = "from liif.tracking.store import serve\n\nserve()\n"
"""All that MLflow runs to load a model; the rest is the copy of this package beside it."""
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # It would print the address of every run, with the password in it, into the job's log.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A dead server must be noticed soon; what it misses goes there later anyway. And a request
    # that is repeated unseen may create a run twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
_REFUSAL = "INVALID_PARAMETER_VALUE"
"""The answer that asking again does not change, unless the run is deleted."""
_BATCH = 90
"""Values in one request, which may hold 100 parameters, 100 tags and 1000 metrics."""
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Which of MLflow's pages show the experiment: those of trained models."""
_SMALL = {"params", "tags", "epoch", "system", "measured"}
_WITH_FILE = {"image", "file", "model"}
_STALE = 3600
"""Seconds after which a file without an event is one of a process that was killed."""
_DIGEST = 36
"""Characters of a data set's digest that MLflow keeps."""
_SPARE = 1 << 20
"""Bytes that must be left on a local disk after an artifact is written."""


def _mlflow() -> Any:
    """MLflow, quiet: no telemetry, no lines of its own between the job's."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow
    import mlflow.pyfunc

    logging.getLogger("alembic").setLevel(logging.ERROR)
    return mlflow


class Store:
    """An experiment in MLflow, created if it is not there.

    Parameters
    ----------
    project
        Folder of the database and artifacts, when `uri` is None.
    uri
        MLflow's address.
    experiment
        The experiment's name.

    Raises
    ------
    Exception
        Whatever MLflow raises when it cannot be reached.
    """

    def __init__(self, project: Path, uri: str | None, experiment: str) -> None:
        self.mlflow = _mlflow()
        self.uri = uri or f"sqlite:///{project / 'mlflow.db'}"
        with _alone(self.uri):
            self.client = self.mlflow.MlflowClient(self.uri)
            found = self.client.get_experiment_by_name(experiment)
            if found is None:
                # Where a bare `mlflow ui` in the project's folder looks for them.
                folder = None if uri else (project / "mlruns" / experiment).as_uri()
                self.experiment = self._create(experiment, folder)
            else:
                if found.lifecycle_stage != "active":
                    raise RuntimeError(f"experiment {experiment} was deleted; restore it there")
                self.experiment = found.experiment_id
        self.runs: set[str] = set()
        """Those that are known to be there."""

    def _create(self, name: str, folder: str | None) -> str:
        try:
            return str(self.client.create_experiment(name, folder, tags=_KIND))
        except self.mlflow.MlflowException:  # another process was faster
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """For calls that take no client. MLflow notes such an address in the environment."""
        before = os.environ.get("MLFLOW_TRACKING_URI")
        self.mlflow.set_tracking_uri(self.uri)
        try:
            yield
        finally:
            if before is None:
                os.environ.pop("MLFLOW_TRACKING_URI", None)
            else:
                os.environ["MLFLOW_TRACKING_URI"] = before

    def run(self, identity: str, name: str, known: str | None, start: int) -> tuple[str, bool]:
        """The run of that identity, and whether it was created just now."""
        if known in self.runs:
            return str(known), False
        tag = "liif.record"
        first = ["attributes.start_time ASC"]
        found = self.client.search_runs(
            [self.experiment], f"tags.`{tag}` = '{identity}'", order_by=first
        )
        if found:
            run = str(found[0].info.run_id)
        else:
            tags = {tag: identity, "mlflow.source.name": "liif", "mlflow.source.type": "LOCAL"}
            created = self.client.create_run(self.experiment, start, tags, name)
            run = str(created.info.run_id)
        self.runs.add(run)
        return run, not found


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Nobody else creates the same database meanwhile, which would fail for one of us."""
    scheme, _, path = uri.partition(":///")
    if not scheme.startswith("sqlite") or not path:
        yield
        return
    database = Path(path.partition("?")[0])
    with database.with_name(f".{database.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def deliver(record: Record, store: Store) -> tuple[int, Exception | None]:
    """Deliver what a record holds; what was delivered before is not repeated.

    Returns
    -------
    How many events went out, and what kept images or files from being stored: they are tried
    again the next time, while all the rest goes on.

    Raises
    ------
    Exception
        Whatever MLflow raises when it cannot be reached.
    """
    held = locks.attempt(record.folder / "delivery.lock")
    if held is None:
        return 0, None  # another process does
    with held:
        return _Delivery(record, store).all()


class _Delivery:
    """One attempt to deliver what is left of a record."""

    def __init__(self, record: Record, store: Store) -> None:
        self.record, self.store, self.client = record, store, store.client
        self.state = record.delivered()
        self.count = 0
        self.trouble: Exception | None = None
        """Why something must be tried again."""
        self.refusal: Exception | None = None
        """Why something was left out."""
        # The event that a process was killed over may have been delivered by it.
        self.doubt = True

    def all(self) -> tuple[int, Exception | None]:
        """Deliver what is left."""
        first = next(self.record.events(0), None)
        if first is None:
            return 0, None
        address = self.record.address
        if address is None:
            return 0, None
        start, identity = first[2]["timestamp"], address.id
        self.run, created = self.store.run(identity, self.record.name, self.state.run, start)
        if created and self.state.run is not None:  # it was deleted there
            self.state = Delivered(store=self.state.store, experiment=self.state.experiment)
        if self.run != self.state.run:
            self.state.run = self.run
            outputs = self.client.get_run(self.run).outputs
            models = outputs.model_outputs if outputs is not None else []
            self.state.model = models[0].model_id if models else None
            self._save()
        self._news()
        # The one that waited longest first; if it fails again, it is the last of the next time.
        self.doubt = True  # all of these were tried before
        for offset in list(self.state.later):
            if self.trouble is not None:
                break
            event = next((e for *_, e in self.record.events(offset)), None)
            self.state.later.remove(offset)
            if event is not None and not self._stored(event):
                self.state.later.append(offset)
            self._save()
        if not self.state.later and not self.record.is_alive():
            self._tidy()
        return self.count, self.trouble or self.refusal

    def _news(self) -> None:
        """The events that were not tried yet: small ones together, the others one by one."""
        batch: list[Event] = []
        end = self.state.offset
        for offset, after, event in self.record.events(self.state.offset):
            if event["kind"] in _SMALL:
                batch.append(event)
                end = after
                if sum(len(e["values"]) for e in batch) < _BATCH:
                    continue
            self._log(batch, end)
            batch = []
            if event["kind"] in _SMALL:
                continue
            if event["kind"] in _WITH_FILE:
                # After the first that fails, the others wait for the next time.
                if self.trouble is not None or not self._stored(event):
                    self.state.later.append(offset)
            else:
                send = self._dataset if event["kind"] == "dataset" else self._status
                self._unless_refused(send, event)
            self._advance(after)
        self._log(batch, end)

    def _advance(self, offset: int) -> None:
        self.state.offset = offset
        self.doubt = False
        self._save()

    def _save(self) -> None:
        self.record.note_delivered(self.state)

    def _unless_refused(self, send: Any, *what: Any) -> None:
        """Send something that MLflow may refuse for good; then it is left out."""
        try:
            send(*what)
        except self.store.mlflow.MlflowException as error:
            self._require_refusal(error)
            self.refusal = self.refusal or error
        self.count += 1

    def _require_refusal(self, error: Any) -> None:
        """Raise anything but a refusal for good. A run that was deleted refuses all."""
        if error.error_code != _REFUSAL:
            raise error
        if self.client.get_run(self.run).info.lifecycle_stage != "active":
            self.store.runs.discard(self.run)  # the next time another is made
            raise error

    def _log(self, batch: list[Event], end: int) -> None:
        """Parameters, tags and metrics in one request."""
        if not batch:
            return
        try:
            self._send(batch)
            self.count += len(batch)
        except self.store.mlflow.MlflowException as error:
            self._require_refusal(error)
            for event in batch:  # so that only what is refused is left out
                for key, value in event["values"].items():
                    self._unless_refused(self._send, [{**event, "values": {key: value}}])
        self._advance(end)

    def _send(self, batch: list[Event], of_model: str | None = None) -> None:
        from mlflow.entities import Param, RunTag

        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        metrics = []
        for event in batch:
            if event["kind"] == "params":
                params |= event["values"]
            elif event["kind"] == "tags":
                tags |= event["values"]
            else:
                mine = self.state.model if event["kind"] == "measured" else None
                metrics += _metrics(event, of_model or mine)
        self.client.log_batch(
            self.run,
            metrics=metrics,
            params=[Param(key, value) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        if self.state.version is not None:  # whose page shows its tags
            for event in batch:
                for key, value in event["values"].items() if event["kind"] == "measured" else ():
                    self.client.set_model_version_tag(
                        self._model_name, self.state.version, key, f"{value:.4f}"
                    )

    def _status(self, event: Event) -> None:
        if event["status"] == "RUNNING":
            self.client.update_run(self.run, status="RUNNING")
        else:
            self.client.set_terminated(self.run, event["status"], event["timestamp"])

    def _dataset(self, event: Event) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = event["data"]
        dataset = Dataset(
            name=data["name"],
            digest=data["digest"][:_DIGEST],
            source_type="local",
            source=json.dumps({"uri": data["source"]}),
            profile=json.dumps({**data["counts"], "version": data["digest"]}),
        )
        tags = [InputTag("mlflow.data.context", data["context"])]
        self.client.log_inputs(self.run, [DatasetInput(dataset, tags)])

    def _stored(self, event: Event) -> bool:
        """Whether the event's file is stored now, or never will be."""
        path = self.record.folder / event["file"]
        if not path.is_file():
            return True  # delivered elsewhere before the record moved
        try:
            self._require_room(path)
            store = {"image": self._image, "file": self._file, "model": self._model}
            store[event["kind"]](event, path)
        except Exception as error:  # a full disk has many faces
            self.trouble = self.trouble or error
            return False
        shutil.rmtree(path.parent, ignore_errors=True)
        self.count += 1
        return True

    @cached_property
    def _artifacts(self) -> Path | None:
        """The run's folder of artifacts, where that is on a disk of this machine."""
        address = urlsplit(self.client.get_run(self.run).info.artifact_uri)
        on_disk = address.scheme in ("", "file")
        return Path(url2pathname(unquote(address.path))) if on_disk else None

    def _require_room(self, path: Path) -> None:
        """MLflow leaves half a file behind when a local disk becomes full."""
        folder = self._artifacts
        if folder is not None:
            while not folder.exists():
                folder = folder.parent
            if shutil.disk_usage(folder).free < path.stat().st_size + _SPARE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    def _image(self, event: Event, path: Path) -> None:
        key, step, timestamp = event["key"], event["step"], event["timestamp"]
        with Image.open(path) as image:
            if self.doubt and self._image_is_there(event, image):
                return
            self.client.log_image(
                self.run, image, key=key, step=step, timestamp=timestamp, synchronous=True
            )

    def _image_is_there(self, event: Event, image: Image.Image) -> bool:
        """Whether an attempt that was cut off stored the image; its small version is made up for.

        MLflow stores an image as KEY+step+N+timestamp+T+ID.png and then …+compressed.webp.
        """
        key = event["key"].replace("/", "~")
        name = f"images/{key}+step+{event['step']}+timestamp+{event['timestamp']}+"
        there = [f.path for f in self.client.list_artifacts(self.run, "images")]
        full = [p for p in there if p.startswith(name) and p.endswith(".png")]
        if full and not any(p.startswith(name) and p.endswith(".webp") for p in there):
            with tempfile.TemporaryDirectory() as temporary:
                small = Path(temporary) / f"{Path(full[0]).stem}+compressed.webp"
                image.thumbnail((256, 256))
                image.save(small)
                self.client.log_artifact(self.run, str(small), "images")
        if full:
            self.client.set_tag(self.run, "mlflow.loggedImages", True)
        return bool(full)

    def _file(self, event: Event, path: Path) -> None:
        folder = event["name"].rpartition("/")[0]
        self.client.log_artifact(self.run, str(path), folder or None)

    @property
    def _model_name(self) -> str:
        """In the registry."""
        return f"liif-{self.record.name}"

    def _model(self, event: Event, weights: Path) -> None:
        """The model, its version in the registry, and what was measured of it before."""
        mlflow = self.store.mlflow
        name = self._model_name
        status = None
        if self.state.model is not None:
            status = str(self.client.get_logged_model(self.state.model).status)
            if status not in ("READY", "PENDING"):  # an attempt that came to nothing
                self.client.delete_logged_model(self.state.model)
                self.state.model = None
        if self.state.model is None:
            created = self.client.create_logged_model(
                self.store.experiment, name, self.run, model_type="super-resolution"
            )
            self.state.model = str(created.model_id)
            self._save()
        if status != "READY":
            with self.store.everywhere():
                _log_model(mlflow, self.state.model, self.run, event["step"], weights)
        try:
            self.client.create_registered_model(name)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        versions = self.client.search_model_versions(f"name = '{name}' and run_id = '{self.run}'")
        found = (
            versions[0]
            if versions
            else self.client.create_model_version(
                name,
                source=f"models:/{self.state.model}",
                run_id=self.run,
                model_id=self.state.model,
            )
        )
        self.state.version = str(found.version)
        known = [e for *_, e in self.record.events(0)]
        measured = [e for e in known if e["kind"] == "measured"]
        last_epoch = [e for e in known if e["kind"] == "epoch"][-1:]
        self._send(measured + last_epoch, of_model=self.state.model)

    def _tidy(self) -> None:
        """Remove files that no event names: of processes that were killed."""
        files = self.record.folder / "files"
        for path in files.iterdir() if files.is_dir() and not self.record.waits() else ():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE:
                    shutil.rmtree(path)


def _metrics(event: Event, model: str | None) -> list[Any]:
    """The metrics of an event; with a model they are that one's too."""
    from mlflow.entities import Metric

    name, digest = event.get("data", (None, None))
    return [
        Metric(
            key,
            value,
            event["timestamp"],
            event["step"],
            model_id=model,
            dataset_name=name,
            dataset_digest=digest and digest[:_DIGEST],
        )
        for key, value in event["values"].items()
    ]


def _log_model(mlflow: Any, model: str, run: str, step: int, weights: Path) -> None:
    """Store a model as MLflow serves it: weights, and the code that reads them; no pickle.

    `step` counts the optimiser's, so that MLflow takes no metric of an epoch for the model's.
    """
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    # Of any height and width.
    picture = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, 3))])
    scale = ParamSchema([ParamSpec("scale", "double", 8.0)])
    package = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as temporary:
        code = Path(temporary) / "model.py"
        code.write_text(MODEL_CODE)
        copy = Path(temporary) / "liif"
        # The code alone: the bundled weights and photographs are not needed.
        shutil.copytree(
            package, copy, ignore=shutil.ignore_patterns("__pycache__", "photos", "*.safetensors")
        )
        # MLflow keeps this path in the model's description, where no folder of ours is to be read.
        there = Path(temporary) / weights.name
        shutil.copyfile(weights, there)
        Model.log(
            None,
            mlflow.pyfunc,
            model_id=model,
            run_id=run,
            step=step,
            python_model=str(code),
            code_paths=[str(copy)],
            artifacts={"weights": str(there)},
            pip_requirements=_requirements(),
            signature=ModelSignature(picture, picture, scale),
            input_example=_example(),
        )


def _requirements() -> list[str]:
    """What the served code needs, in the versions that are here."""
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in requires("liif") or []]
    names = [r.name for r in needed if r.marker is None]
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


def _example() -> NDArray[np.uint8]:
    """A small picture (12, 16, 3): slopes of colour."""
    rows, cols = np.mgrid[0:12, 0:16]
    return np.stack([rows * 20, cols * 15, 255 - rows * 10], axis=-1).astype(np.uint8)


class Enlarger:
    """What a served model does. MLflow advises on type hints only in classes of its own."""

    def load_context(self, context: Any) -> None:
        """Read the weights that lie in the served model."""
        from liif.checkpoints.load import load
        from liif.network import device as devices

        self.model = load(context.artifacts["weights"], device=devices.choose())

    def predict(  # type: ignore[no-untyped-def]
        self,
        context: Any,
        model_input,  # noqa: ANN001 (MLflow would read a hint as a list of inputs)
        params: dict[str, Any] | None = None,
    ) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 → the same enlarged by `scale`, 8 if not given."""
        scale = float((params or {}).get("scale", 8.0))
        return np.asarray(self.model.upscale(model_input, scale=scale))


def serve() -> None:
    """Give MLflow the model that it is loading: picture in, enlarged picture out."""
    import mlflow

    class Served(Enlarger, mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        pass

    mlflow.models.set_model(Served())


class Monitors:
    """The state of the machine: processor, memory, disk, network, GPUs, as MLflow measures it."""

    def __init__(self) -> None:
        _mlflow()
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        self._monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        with suppress(Exception):  # no GPU, no driver, no library
            self._monitors.append(GPUMonitor())
        for monitor in self._monitors:
            monitor.collect_metrics()  # the first reading only starts the count
            monitor.clear_metrics()
        self._start = time.monotonic()
        self._next = self._start + 5

    def sample(self, records: list[Record]) -> float:
        """Note the state in the records if it is time; returns the seconds to the next time."""
        now = time.monotonic()
        if now >= self._next:
            # Every 10 s at first; a training of days needs no more than a point a minute.
            self._next = now + min(60.0, max(10.0, (now - self._start) / 100))
            if records:
                values: dict[str, float] = {}
                for monitor in self._monitors:
                    monitor.collect_metrics()
                    values |= monitor.aggregate_metrics()
                    monitor.clear_metrics()
                for record in records:
                    record.system({f"system/{key}": value for key, value in values.items()})
        return max(0.1, self._next - now)
