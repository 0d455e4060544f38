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
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from liif.system import locks
from liif.tracking.records import Delivered, Record
from liif.tracking.run import Event
from liif.tracking.served_model import model_of, register, registered
from liif.tracking.store import Store

_REFUSAL = "INVALID_PARAMETER_VALUE"
"""MLflow's error that repeating does not change, unless the run was deleted."""
_BATCH = 90
"""Values in one request, which may hold 100 parameters, 100 tags and 1000 metrics."""
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
    held = locks.attempt(record.folder / "delivery.lock")
    if held is None:
        return 0, None  # another process is delivering it
    with held:
        return _Delivery(record, store).run()


class _Delivery:
    """One attempt to deliver what is pending."""

    def __init__(self, record: Record, store: Store) -> None:
        self.record, self.store, self.client = record, store, store.client
        self.state = record.delivered()
        self.count = 0
        self.refusal: Exception | None = None

    def run(self) -> tuple[int, Exception | None]:
        """Deliver values first, then files."""
        first, address = next(self.record.events(), None), self.record.address
        if first is None or address is None:
            return 0, None
        info = self.store.run(address.id, self.record.name, first[1]["timestamp"]).info
        self.run_id, self.artifacts = info.run_id, info.artifact_uri
        if self.run_id != self.state.run:
            # The run was deleted, or created by a process that was killed before it noted so.
            self.state = Delivered(
                store=address.store, experiment=address.experiment, run=self.run_id
            )
            self._save()
        batch: list[Event] = []
        for offset, event in self.record.events(self.state.offset):
            batch.append(event)
            self.state.offset = offset
            if sum(len(e.get("values", ())) for e in batch) >= _BATCH:
                self._send(batch)
                self._save()
                batch = []
        if batch:
            self._send(batch)
            self._save()
        try:
            for event, path in self.record.pending_files():
                self._send_file(event, path)
                shutil.rmtree(path.parent)
                self.count += 1
        except Exception as error:  # a full disk has many faces
            return self.count, error
        if not self.record.is_alive():
            self._tidy()
        return self.count, self.refusal

    def _save(self) -> None:
        self.record.note_delivered(self.state)

    def _send(self, batch: list[Event]) -> None:
        try:
            self._log(batch)
        except self.store.mlflow.MlflowException as error:
            info = self.client.get_run(self.run_id).info
            if error.error_code != _REFUSAL or info.lifecycle_stage != "active":
                raise
            parts = batch
            if len(batch) == 1:
                values = batch[0].get("values", {})
                parts = [{**batch[0], "values": {k: v}} for k, v in values.items()]
            if len(parts) > 1:
                for part in parts:
                    self._send([part])
                return
            self.refusal = self.refusal or error
        self.count += len([e for e in batch if "file" not in e])

    def _log(self, batch: list[Event]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

        def merged(kind: str) -> dict[str, Any]:
            return {k: v for e in batch if e["kind"] == kind for k, v in e["values"].items()}

        measured = [e for e in batch if e["kind"] == "measured"]
        version = registered(self.client, self.record.name, self.run_id) if measured else None
        metrics = [m for e in batch if e["kind"] in ("epoch", "system") for m in _metrics(e)]
        for event in measured:
            metrics += _metrics(event, version and model_of(version))
        self.client.log_batch(
            self.run_id,
            metrics=metrics,
            params=[Param(key, value) for key, value in merged("params").items()],
            tags=[RunTag(key, value) for key, value in merged("tags").items()],
        )
        if version is not None:
            for key, value in merged("measured").items():  # to be seen on the version's page
                self.client.set_model_version_tag(
                    version.name, version.version, key, f"{value:.4f}"
                )
        for event in batch:
            if event["kind"] == "dataset":
                data = event["data"]
                dataset = Dataset(
                    name=data["name"],
                    digest=data["digest"][:_DIGEST],
                    source_type="local",
                    source=json.dumps({"uri": data["source"]}),
                    profile=json.dumps({**data["counts"], "version": data["digest"]}),
                )
                tags = [InputTag("mlflow.data.context", data["context"])]
                self.client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])
            elif event["kind"] == "status" and event["status"] == "RUNNING":
                self.client.update_run(self.run_id, status="RUNNING")
            elif event["kind"] == "status":
                self.client.set_terminated(self.run_id, event["status"], event["timestamp"])

    def _send_file(self, event: Event, path: Path) -> None:
        self._require_room(path)
        if event["kind"] == "image":
            self._send_image(event, path)
        elif event["kind"] == "file":
            folder = event["name"].rpartition("/")[0]
            self.client.log_artifact(self.run_id, str(path), folder or None)
        else:
            with self.store.as_default():
                version = register(self.store, self.record.name, self.run_id, event["step"], path)
            events = [e for _, e in self.record.events()]
            known = [e for e in events if e["kind"] == "measured"]
            known += [e for e in events if e["kind"] == "epoch"][-1:]
            metrics = [m for e in known for m in _metrics(e, model_of(version))]
            self.client.log_batch(self.run_id, metrics=metrics)

    def _require_room(self, path: Path) -> None:
        """MLflow leaves half a file behind when a local disk becomes full."""
        from mlflow.utils.file_utils import local_file_uri_to_path
        from mlflow.utils.uri import is_local_uri

        if is_local_uri(self.artifacts):
            folder = Path(local_file_uri_to_path(self.artifacts))
            while not folder.exists():
                folder = folder.parent
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
