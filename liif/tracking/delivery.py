"""Delivery: a record → its run in MLflow.

Whatever is sent twice changes nothing in MLflow: parameters, tags and points of curves have keys,
and files have names. So a delivery that was killed is simply repeated.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from liif.system import locks
from liif.tracking.pages import METRICS, PARAMETERS, description
from liif.tracking.records import Delivered, Record
from liif.tracking.run import Event
from liif.tracking.served_model import crown, model_of, register, registered
from liif.tracking.store import DESCRIPTION, Store

_REFUSAL = "INVALID_PARAMETER_VALUE"
"""MLflow's error that repeating does not change, unless the run was deleted."""
_BATCH = 100
"""Events after which progress is saved."""
_STALE = 3600
"""Seconds after which a file without an event was left by a killed process."""
_DIGEST = 36
"""Characters that MLflow keeps of a data set's digest."""
_SPARE = 1 << 20
"""Bytes to be left on a local disk after an artifact is written."""


def deliver(record: Record, store: Store) -> tuple[int, Exception | None]:
    """Deliver what is pending in a record; returns the number of events and the first problem.

    A file that cannot be stored is tried again the next time, a value that MLflow refuses for
    good is left out. Raises whatever MLflow raises when it cannot be reached.
    """
    with locks.claim(record.folder / "delivery.lock") as is_mine:
        # Otherwise another process is delivering it.
        return _Delivery(record, store).run() if is_mine else (0, None)


class _Delivery:
    """One attempt to deliver what is pending."""

    def __init__(self, record: Record, store: Store) -> None:
        self.record, self.store, self.client = record, store, store.client
        self.count = 0
        self.refusal: Exception | None = None

    def run(self) -> tuple[int, Exception | None]:
        """Deliver values first, then files."""
        known, address = Record(self.record.folder).known, self.record.address
        if known.start is None or address is None:
            return 0, None
        run = self.store.run(address.id, self.record.name, known.start)
        self.run_id, self.artifacts = run.info.run_id, run.info.artifact_uri
        self.ran = known.ran
        state = self.record.delivered()
        if (self.run_id, self.store.experiment) != (state.run, state.run_experiment):
            # The run was deleted, or created by a process that was killed before it noted so.
            state.run, state.run_experiment = self.run_id, self.store.experiment
            state.offset, state.description = 0, ""
            self.record.note_delivered(state)
        events = self.record.events(state.offset)
        while batch := list(islice(events, _BATCH)):
            self._send([event for _, event in batch])
            state.offset = batch[-1][0]
            self.record.note_delivered(state)
        self._describe(description(known), run.data.tags.get(DESCRIPTION, ""), state)
        try:
            for event, path in self.record.pending_files():
                self._send_file(event, path)
                shutil.rmtree(path.parent)
                self.count += 1
        except Exception as error:  # a full disk has many faces
            return self.count, error
        self._tidy()
        return self.count, self.refusal

    def _send(self, batch: list[Event]) -> None:
        from mlflow.entities import Param, RunTag

        def last(kind: str) -> dict[str, Any]:
            return {k: v for e in batch if e["kind"] == kind for k, v in e["values"].items()}

        kinds = ("epoch", "system", "measured")
        values = [m for event in batch if event["kind"] in kinds for m in _metrics(event)]
        settings, tags = last("params"), last("tags")
        values += [Param(key, settings[key]) for key in settings if key in PARAMETERS]
        tags = {k: v for k, v in settings.items() if k not in PARAMETERS} | tags
        values += [RunTag(key, value) for key, value in tags.items()]
        self._log(values)
        for event in batch:
            if event["kind"] == "dataset":
                self._accepts(partial(self._log_dataset, event["data"]))
            elif event["kind"] == "status" and (event["status"] == "RUNNING" or not self.ran):
                # What never ran has no end, or MLflow would show a duration.
                self.client.update_run(self.run_id, status=event["status"])
            elif event["kind"] == "status":
                self.client.set_terminated(self.run_id, event["status"], event["timestamp"])
        if any(event["kind"] == "measured" for event in batch):
            self._log_to_model()
        self.count += len([event for event in batch if "file" not in event])

    def _describe(self, text: str, present: str, state: Delivered) -> None:
        """Set the run's description, unless a user has edited it."""
        if text != state.description and present in (text, state.description):
            self.client.set_tag(self.run_id, DESCRIPTION, text)
            state.description = text
            self.record.note_delivered(state)

    def _log(self, values: list[Any]) -> None:
        """Log metrics, parameters and tags, one by one if MLflow refuses any of them."""
        from mlflow.entities import Metric, Param, RunTag

        kinds = {"metrics": Metric, "params": Param, "tags": RunTag}
        request = {n: [v for v in values if isinstance(v, kind)] for n, kind in kinds.items()}
        accepted = self._accepts(partial(self.client.log_batch, self.run_id, **request))
        if not accepted and len(values) > 1:
            for value in values:
                self._log([value])

    def _accepts(self, request: Callable[[], object]) -> bool:
        """Whether MLflow accepts a request rather than refusing it for good."""
        try:
            request()
        except self.store.mlflow.MlflowException as error:
            info = self.client.get_run(self.run_id).info
            if error.error_code != _REFUSAL or info.lifecycle_stage != "active":
                raise
            self.refusal = self.refusal or error
            return False
        return True

    def _log_dataset(self, data: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=data["name"],
            digest=data["digest"][:_DIGEST],
            source_type="local",
            source=json.dumps({"uri": data["source"]}),
            profile=json.dumps({**data["counts"], "version": data["digest"]}),
        )
        tags = [InputTag("mlflow.data.context", data["context"])]
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])

    def _log_to_model(self) -> None:
        """Show the metrics on the pages of the model and its version, if it is registered."""
        version = registered(self.client, self.record.name, self.run_id)
        if version is None:
            return
        events = [event for _, event in self.record.events()]
        measured = [event for event in events if event["kind"] == "measured"]
        last = [event for event in events if event["kind"] == "epoch"][-1:]
        self._log([m for event in measured + last for m in _metrics(event, model_of(version))])
        tags = {key: value for event in measured for key, value in event["values"].items()}
        set_tag = partial(self.client.set_model_version_tag, version.name, version.version)
        for key, value in tags.items():
            self._accepts(partial(set_tag, key, f"{value:.4f}"))
        crown(self.client, version, measured)

    def _send_file(self, event: Event, path: Path) -> None:
        self._require_room(path)
        if event["kind"] == "image":
            self._send_image(event, path)
        elif event["kind"] == "file":
            folder = event["name"].rpartition("/")[0]
            self.client.log_artifact(self.run_id, str(path), folder or None)
        else:
            with self.store.as_default():
                register(self.store, self.record.name, self.run_id, event["step"], path)
            self._log_to_model()

    def _require_room(self, path: Path) -> None:
        """MLflow leaves half a file behind when a local disk becomes full."""
        from mlflow.utils.file_utils import local_file_uri_to_path
        from mlflow.utils.uri import is_local_uri

        if is_local_uri(self.artifacts):
            wanted = Path(local_file_uri_to_path(self.artifacts))
            folder = next(f for f in (wanted, *wanted.parents) if f.exists())
            if shutil.disk_usage(folder).free < path.stat().st_size + _SPARE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    def _send_image(self, event: Event, path: Path) -> None:
        """Store an image as `MlflowClient.log_image` does, which would name it at random."""
        key = event["key"].replace("/", "~")
        stem = f"{key}+step+{event['step']}+timestamp+{event['timestamp']}+{path.parent.name}"
        with tempfile.TemporaryDirectory() as folder, Image.open(path) as image:
            shutil.copyfile(path, Path(folder) / f"{stem}.png")
            image.thumbnail((256, 256))
            image.save(Path(folder) / f"{stem}+compressed.webp")
            self.client.log_artifacts(self.run_id, folder, "images")
        self.client.set_tag(self.run_id, "mlflow.loggedImages", True)

    def _tidy(self) -> None:
        """Remove files without an event, left by killed processes."""
        for path in (self.record.folder / "files").glob("*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE:
                    shutil.rmtree(path)


def _metrics(event: Event, model: str | None = None) -> list[Any]:
    """The metrics of an event, also of the model if one is given."""
    from mlflow.entities import Metric

    name, digest = event.get("data", (None, None))
    return [
        Metric(
            METRICS.get(key, key),
            value,
            event["timestamp"],
            event["step"],
            model_id=model,
            dataset_name=name,
            dataset_digest=digest and digest[:_DIGEST],
        )
        for key, value in event["values"].items()
    ]
