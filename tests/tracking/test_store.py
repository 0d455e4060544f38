"""Against the real MLflow: its database, its server, its models."""

import csv
import getpass
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_results import make_results
from mlflow.entities import LoggedModelOutput
from PIL import Image
from samples import ROW, SETTINGS, SMALL, Folder, photograph
from servers import free_port, mlflow_server
from typer.testing import CliRunner

from liif.checkpoints.convert import convert_weights
from liif.checkpoints.format import save_checkpoint
from liif.checkpoints.load import load, read_checkpoint
from liif.checkpoints.outputs import Outputs
from liif.cli import app, entries
from liif.data.pack import pack
from liif.inference.evaluate import write_tables
from liif.network.build import build
from liif.recipe import Recipe
from liif.system.errors import UserError
from liif.tracking import delivery
from liif.tracking.delivery import deliver
from liif.tracking.pages import METRICS
from liif.tracking.run import DataSet
from liif.tracking.served_model import Upscaling, serve
from liif.tracking.store import Store
from liif.tracking.tracker import NoTracker, Tracker
from liif.training import train
from liif.training.entries import log_training_end
from liif.training.trainer import Limits

# MLflow warns of what others will change.
pytestmark = pytest.mark.filterwarnings("ignore:::mlflow", "ignore::DeprecationWarning")

Packs = tuple[Path, Path]


@pytest.fixture
def packs(folder: Folder, tmp_path: Path) -> Packs:
    pack(folder("train", a=(60, 70), b=(64, 64)), tmp_path / "train.pack")
    pack(folder("valid", c=(50, 50)), tmp_path / "valid.pack")
    return tmp_path / "train.pack", tmp_path / "valid.pack"


class MLflow:
    """What MLflow knows, asked as anyone would."""

    def __init__(self, uri: str) -> None:
        import mlflow

        self.uri = uri
        self.client = mlflow.MlflowClient(uri)

    def runs(self, experiment: str = "sr_800") -> dict[str, Any]:
        """Each run by its name; two of one name are an error."""
        found: Any = self.client.get_experiment_by_name(experiment)
        runs = self.client.search_runs([found.experiment_id])
        by_name = {run.info.run_name: run for run in runs}
        assert len(by_name) == len(runs)
        return by_name

    def curve(self, run: Any, key: str) -> list[tuple[int, int, float]]:
        """(step, timestamp, value) of all points, as they lie in the database."""
        points = self.client.get_metric_history(run.info.run_id, key)
        return sorted((p.step, p.timestamp, p.value) for p in points)

    def artifacts(self, run: Any, folder: str = "") -> list[str]:
        return sorted(a.path for a in self.client.list_artifacts(run.info.run_id, folder))

    def images(self, run: Any) -> list[tuple[str, int]]:
        """(key, step) of the images in full size."""
        names = [n for n in self.artifacts(run, "images") if n.endswith(".png")]
        parts = [n.removeprefix("images/").split("+") for n in names]
        return sorted((p[0].replace("~", "/"), int(p[2])) for p in parts)


def here(folder: Path) -> MLflow:
    """What a bare `mlflow ui` in a folder shows."""
    return MLflow(f"sqlite:///{folder / 'mlflow.db'}")


CPU = Limits(device=torch.device("cpu"), save_minutes=0)


def do_train(base: Path, packs: Packs, tracker: NoTracker, **changes: Any) -> Outputs:
    state, store = base / "state", base / "store"
    recipe = Recipe.model_validate({**SETTINGS, **changes})
    return train.train(
        "small",
        recipe,
        data=packs[0],
        valid=packs[1],
        out=base / "models" / "small.safetensors",
        state=state,
        store=store,
        limits=CPU,
        tracker=tracker,
    )


def expected_points(outputs: Outputs, key: str) -> list[tuple[int, int, float]]:
    rows = csv.DictReader(outputs.history.read_text().splitlines())
    return [(int(r["epoch"]), round(float(r["timestamp"]) * 1000), float(r[key])) for r in rows]


def test_a_training_on_record(packs: Packs, tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    outputs = do_train(tmp_path, packs, tracker)
    tracker.close()
    known: Any = here(tmp_path)
    (run,) = known.runs().values()
    assert (run.info.run_name, run.info.status) == ("small", "FINISHED")
    assert run.info.end_time >= run.info.start_time
    model = load(outputs.weights)
    # Image cards have room for six parameters; all other settings are tags.
    assert run.data.params == {
        "encoder.name": "edsr",
        "parameters": str(sum(p.numel() for p in model.parameters())),
        "train.epochs": "4",
        "train.batch": "4",
        "train.patch": "8",
        "train.learning_rate": "0.001",
    }
    assert run.data.tags["train.schedule.every"] == "2"
    assert run.data.tags["device"] == "cpu"
    assert run.data.tags["version.torch"] == torch.__version__
    assert run.data.tags["mean"] == "[0.5, 0.5, 0.5]"
    assert run.data.tags["mlflow.user"] == getpass.getuser()
    assert len(run.data.tags["mlflow.source.git.commit"]) in (40, len("unknown"))
    assert run.data.tags["data.version"] == "unknown"
    assert run.data.tags["ended"] == "finished after 24 steps"
    assert run.data.tags["precision.training"] == "float32"
    for key, metric in METRICS.items():
        assert known.curve(run, metric) == expected_points(outputs, key)
    assert known.images(run) == [("validation/c", epoch) for epoch in range(5)]
    inputs = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
    assert set(inputs) == {"training", "validation"}
    assert json.loads(inputs["training"].profile)["photographs"] == 2
    assert json.loads(inputs["training"].profile)["version"] == pack_fingerprint(packs[0])
    assert known.artifacts(run) == ["history.csv", "images", "recipe.json", "run.json", "weights"]
    assert known.artifacts(run, "weights") == [
        "weights/best.safetensors",
        "weights/last.safetensors",
    ]
    assert (tmp_path / "mlruns" / "sr_800" / run.info.run_id).is_dir()
    assert not list((tmp_path / "results" / "tracking").glob("*/*/files/*"))

    import mlflow

    mlflow.set_tracking_uri(known.uri)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # where it notes that too
    served = mlflow.pyfunc.load_model("models:/liif-small/latest")
    picture = photograph(7, 11)
    big = served.predict(picture)
    np.testing.assert_array_equal(big, model.upscale(picture, scale=8))
    params_of: dict[str, Any] = {"scale": 1.5, "precision": "float32", "back_projection": False}
    exact = model.upscale(picture, **params_of)
    np.testing.assert_array_equal(served.predict(picture, params=params_of), exact)
    logged = known.client.get_logged_model(run.outputs.model_outputs[0].model_id)
    assert {m.key for m in logged.metrics} >= {"train/loss", "valid_patches/psnr"}
    folder = Path(logged.artifact_location.removeprefix("file://"))
    assert not [p for p in folder.rglob("*") if p.suffix in (".pkl", ".pth", ".webp")]

    # The same again is trained already: nothing is added, and nothing twice.
    assert "MLFLOW_TRACKING_URI" not in os.environ
    again = Tracker(tmp_path)
    do_train(tmp_path, packs, again)
    again.close()
    (same,) = known.runs().values()
    assert same.info.run_id == run.info.run_id
    assert known.curve(same, "train/loss") == expected_points(outputs, "loss")


def test_a_served_model_takes_a_scale_and_how_to_compute() -> None:
    asked: list[dict[str, object]] = []

    class Model:
        def upscale(self, picture: np.ndarray, **options: object) -> np.ndarray:
            asked.append(options)
            return picture

    served: Any = Upscaling()
    served.model = Model()
    for params in (None, {"precision": "bf16"}, {"scale": 2}, {"back_projection": False}):
        served.predict(None, photograph(2, 2), params)
    usual = {"scale": 8.0, "precision": "auto", "back_projection": True}
    assert asked == [
        usual,
        usual | {"precision": "bf16"},
        usual | {"scale": 2.0},
        usual | {"back_projection": False},
    ]


def pack_fingerprint(path: Path) -> str:
    from liif.data.pack import Pack

    return Pack(path).fingerprint


def test_evaluation_and_samples_go_to_the_same_runs(packs: Packs, tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    outputs = do_train(tmp_path, packs, tracker)
    tracker.close()
    models = outputs.weights.parent
    given = models / "given.safetensors"
    convert_weights(str(outputs.best), given, sha256=None, partial=tmp_path)
    save_checkpoint(given, *read_checkpoint(given)[:2], {"format": "authors"})
    upscaled = tmp_path / "upscaled"

    def evaluate(psnr: float, grey: int) -> dict[str, Any]:
        results: list[dict[str, Any]] = [
            {"model": m, "set": "test", "scale": 8.0, "psnr": psnr, "ssim": None, "pictures": {}}
            for m in ("small", "given", "bicubic")
        ]
        results[0] |= {"precision": "bf16", "back_projection": True}
        write_tables(results, tmp_path / "metrics", tmp_path / "metrics.csv")
        from liif.images.png import write_png

        for model in ("small", "given", "bicubic"):
            write_png(upscaled / model / "x.png", np.full((8, 8, 3), grey, np.uint8))
        job = Tracker(tmp_path)
        entries.log_given_weights(job, given, "http://me:secret@host/given.pth?token=1")
        entries.log_evaluation(
            job,
            results,
            models=models,
            metrics=tmp_path / "metrics",
            table=tmp_path / "metrics.csv",
            data={"test": ("data/test", "2" * 64)},
        )
        used = {"small": "bf16", "given": None}
        corrected = {"small": False, "given": None}
        entries.log_samples(job, used, corrected, weights=models, upscaled=upscaled)
        job.close()
        return here(tmp_path).runs()

    evaluate(30.0, 1)
    found = evaluate(30.0, 1)  # nothing new
    known = here(tmp_path)
    assert set(found) == {"small", "given", "bicubic"}
    for run in found.values():
        assert [p[::2] for p in known.curve(run, "test/x8/psnr")] == [(0, 30.0)]
        assert ("upscaled/x", 0) in known.images(run)
        assert "metrics.csv" in known.artifacts(run)
        assert run.info.status == "FINISHED"
    assert found["given"].data.tags["weights"] == "http://host/given.pth"
    assert found["bicubic"].data.params["encoder.name"] == "bicubic"
    assert found["small"].data.metrics["train/loss"] > 0  # still that of its training
    used: dict[str, dict[str, dict[str, str]]] = {"precision.": {}, "back_projection.": {}}
    for prefix, of_all in used.items():
        for name, run in found.items():
            tags = run.data.tags.items()
            of_all[name] = {k.removeprefix(prefix): v for k, v in tags if k.startswith(prefix)}
    assert used["precision."] == {
        "small": {"training": "float32", "evaluation": "bf16", "upscaling": "bf16"},
        "given": {"evaluation": "float32"},  # by results of before, which name none
        "bicubic": {},
    }
    assert used["back_projection."] == {
        "small": {"evaluation": "true", "upscaling": "false"},
        "given": {"evaluation": "false"},
        "bicubic": {},
    }
    version: Any = known.client.get_model_version("liif-small", "1")
    logged: Any = known.client.get_logged_model(version.source.removeprefix("models:/"))
    (measured,) = (m for m in logged.metrics if m.key == "test/x8/psnr")
    assert (measured.value, measured.dataset_name) == (30.0, "test")
    assert version.tags["test/x8/psnr"] == "30.0000"

    found = evaluate(31.0, 2)  # other test pictures
    assert [p[::2] for p in known.curve(found["small"], "test/x8/psnr")] == [(0, 30.0), (1, 31.0)]
    assert ("upscaled/x", 1) in known.images(found["bicubic"])
    secret = [p for p in tmp_path.rglob("*.jsonl") if "secret" in p.read_text()]
    assert secret == []


def test_a_model_without_a_record_gets_one(packs: Packs, tmp_path: Path) -> None:
    """Of a training without tracking, evaluation and upscaling put all on record."""
    outputs = do_train(tmp_path, packs, NoTracker())
    job = Tracker(tmp_path)
    result = {"model": "small", "set": "valid", "scale": 2.0, "psnr": 1.0, "ssim": 0.1}
    results = [
        {**result, "pictures": {}},
        {**result, "pictures": {}, "model": "bicubic", "psnr": 0.25},
    ]
    write_tables(results, tmp_path / "metrics", tmp_path / "metrics.csv")
    entries.log_evaluation(
        job,
        results,
        models=outputs.weights.parent,
        metrics=tmp_path / "metrics",
        table=tmp_path / "metrics.csv",
        data={},
    )
    job.close()
    known = here(tmp_path)
    run, bicubic = (known.runs()[name] for name in ("small", "bicubic"))
    assert known.curve(run, "valid/x2/gain")[0][2] == 0.75
    assert "valid/x2/gain" not in bicubic.data.metrics
    assert known.curve(run, "train/loss") == expected_points(outputs, "loss")
    assert run.data.params["train.epochs"] == "4"
    assert run.data.tags["precision.training"] == "float32"
    assert known.client.search_model_versions("name = 'liif-small'")


def test_metrics_of_degraded_sets(tmp_path: Path) -> None:
    job = Tracker(tmp_path)
    sets = ("valid", "valid-jpeg30", "my-set")
    found = [
        {"model": "bicubic", "set": name, "scale": 4.0, "psnr": 30.0 - i, "ssim": 0.5}
        for i, name in enumerate(sets)
    ]
    measured = [{**result, "pictures": {"x": {"psnr": 1, "ssim": 1}}} for result in found]
    write_tables(measured, tmp_path / "metrics", tmp_path / "metrics.csv")
    entries.log_evaluation(
        job,
        measured,
        models=tmp_path,
        metrics=tmp_path / "metrics",
        table=tmp_path / "metrics.csv",
        data={"valid": ("data/photos.zip", "2" * 64)},
    )
    job.close()
    known: Any = here(tmp_path)
    (run,) = known.runs().values()
    assert known.curve(run, "valid-jpeg30/x4/psnr")[0][2] == 29.0
    inputs = {
        i.tags[0].value: i.dataset
        for i in known.client.get_run(run.info.run_id).inputs.dataset_inputs
    }
    assert {context: data.name for context, data in inputs.items()} == {
        "evaluation": "photos",
        "valid-jpeg30": "photos-jpeg30",
        "my-set": "my-set",
    }
    assert inputs["valid-jpeg30"].digest == inputs["evaluation"].digest == "2" * 36


def test_what_was_delivered_is_known_after_a_kill(
    packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies right before or after any request leaves nothing double or missing."""
    tracker = Tracker(tmp_path)
    tracker.run("small", "key").log_params({"train.batch": 1})
    record = tracker.records.of("small", "key")
    record.set_status("RUNNING")
    for epoch in (1, 2):
        row = {"epoch": epoch, "step": 6 * epoch, "loss": 0.5, "timestamp": 1000.0 + epoch}
        record.log_epochs([row])
        picture = np.zeros((8, 8, 3), np.uint8)
        record.log_image("validation/c", picture, step=epoch)
    outputs = do_train(tmp_path, packs, NoTracker())
    record.log_metrics({"valid/x2/psnr": 30.0})
    record.log_model(outputs.weights, 24)
    record.set_status("FINISHED", "well")
    died: set[tuple[str, str]] = set()

    def die(*moment: str) -> None:
        if moment not in died:
            died.add(moment)  # type: ignore[arg-type]
            raise KeyboardInterrupt  # as good as dead

    def mortal(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            die("before", name)
            result = work(*args, **kwargs)
            die("after", name)
            return result

        return wrapped

    store = Store(tmp_path, None, "sr_800")
    requests = {
        *("create_run", "log_batch", "set_terminated", "log_artifacts", "set_tag"),
        *("create_logged_model", "log_model_artifacts", "log_outputs", "finalize_logged_model"),
        *("create_registered_model", "create_model_version"),
    }
    for name in requests:
        monkeypatch.setattr(store.client, name, mortal(name, getattr(store.client, name)))
    record.note_delivered = mortal("note", record.note_delivered)  # type: ignore[method-assign]
    while True:
        try:
            assert deliver(record, store)[1] is None
        except KeyboardInterrupt:
            continue
        break
    assert died == {(when, name) for name in (*requests, "note") for when in ("before", "after")}
    known = here(tmp_path)
    (run,) = known.runs().values()
    assert known.images(run) == [("validation/c", 1), ("validation/c", 2)]
    assert len([n for n in known.artifacts(run, "images") if n.endswith(".webp")]) == 2
    assert [p[0] for p in known.curve(run, "train/loss")] == [1, 2]
    (version,) = known.client.search_model_versions("name = 'liif-small'")
    (logged,) = known.client.search_logged_models([run.info.experiment_id])
    assert {m.key for m in logged.metrics or []} == {"train/loss", "valid/x2/psnr"}
    assert version.source == f"models:/{logged.model_id}"
    assert version.tags == {"valid/x2/psnr": "30.0000"}  # measured before it was registered
    assert run.outputs.model_outputs == [LoggedModelOutput(logged.model_id, 24)]
    assert run.info.status == "FINISHED"
    assert not record.is_pending()


def test_a_model_with_a_version_in_its_name_is_registered(tmp_path: Path) -> None:
    """MLflow refuses dots in names of models."""
    tracker = Tracker(tmp_path)
    weights = tmp_path / "rdn.v1"
    save_checkpoint(weights, build(SMALL["edsr"]), SMALL["edsr"])
    run = tracker.run("rdn.v1", "key")
    run.set_status("FINISHED", "well")
    run.log_model(weights, 24)
    tracker.deliver()
    (version,) = here(tmp_path).client.search_model_versions("name = 'liif-rdn_v1'")
    assert version.run_id == here(tmp_path).runs()["rdn.v1"].info.run_id


def test_models_registered_by_0_1_0_find_their_code() -> None:
    """In a process that has imported this liif, their own copy of the package is not used."""
    code: dict[str, Any] = {}
    exec("from liif.tracking import serve", code)  # its MODEL_CODE
    assert code["serve"] is serve


def test_an_image_that_was_cut_off_is_completed(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    picture = photograph(40, 600)
    tracker.run("small", "key").log_image("validation/c", picture, step=1)
    record = tracker.records.of("small", "key")
    ((_, event),) = record.events()
    file = record.folder / event["file"]
    content = file.read_bytes()
    tracker.deliver()
    (small,) = (tmp_path / "mlruns").rglob("*.webp")
    # The process died before the small version was stored, and before it noted anything.
    small.unlink()
    file.parent.mkdir()
    file.write_bytes(content)
    state = record.delivered()
    state.offset = 0
    record.note_delivered(state)
    tracker.deliver()
    assert small.exists()
    (full,) = (tmp_path / "mlruns").rglob("*.png")
    np.testing.assert_array_equal(np.asarray(Image.open(full)), picture)


def test_a_run_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    record = tracker.run("small", "key")
    record.log_params({"train.batch": 1})
    tracker.close()
    known = here(tmp_path)
    (run,) = known.runs().values()
    known.client.delete_run(run.info.run_id)
    later = Tracker(tmp_path)
    later.run("small", "key").set_tags({"b": "2"})
    later.close()
    (other,) = known.runs().values()
    assert other.info.run_id != run.info.run_id
    assert (other.data.params, other.data.tags["b"]) == ({"train.batch": "1"}, "2")


def test_records_of_version_0_1_are_delivered(tmp_path: Path) -> None:
    """That version listed the offsets of files that it could not store."""
    tracker = Tracker(tmp_path)
    tracker.run("small", "key").log_image("validation/c", photograph(8, 8), step=1)
    record = tracker.records.of("small", "key")
    state: dict[str, Any] = dict.fromkeys(("store", "run", "model", "version"))
    state |= {"experiment": "sr_800", "offset": record.path.stat().st_size, "later": [0]}
    (record.folder / "delivered.json").write_text(json.dumps(state))
    assert record.is_pending()
    assert tracker.deliver() == 1
    assert not record.is_pending()
    known = here(tmp_path)
    (run,) = known.runs().values()
    assert known.images(run) == [("validation/c", 1)]


@pytest.mark.parametrize("during_a_delivery", [False, True])
def test_a_run_that_is_deleted_meanwhile_is_made_again(
    tmp_path: Path, during_a_delivery: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(tmp_path)
    record = tracker.run("small", "key")
    record.log_params({"train.batch": 1})
    assert tracker.deliver() == 1
    known = here(tmp_path)
    (run,) = known.runs().values()
    if during_a_delivery:
        monkeypatch.setattr(Store, "run", lambda *_: run)
    known.client.delete_run(run.info.run_id)
    record.log_params({"train.patch": 2})
    if during_a_delivery:
        with pytest.raises(UserError, match="active"):
            tracker.deliver()
        monkeypatch.undo()
        monkeypatch.setenv("LIIF_PROJECT", str(tmp_path))
    assert tracker.deliver() == 2
    (other,) = known.runs().values()
    assert other.data.params == {"train.batch": "1", "train.patch": "2"}


def test_a_store_that_is_gone_keeps_nothing_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed.getsockname()[1]}")
        for name in ("a", "b"):
            Tracker(tmp_path).run(name, "key").log_params({"train.batch": 1})
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        tracker = Tracker(tmp_path)
        tracker.run("c", "key").log_params({"train.batch": 1})
        (tmp_path / "results/tracking/damaged/key").mkdir(parents=True)
        (tmp_path / "results/tracking/damaged/key/events.jsonl").mkdir()
        with pytest.raises(UserError, match="liif deliver"):
            tracker.deliver()
    assert set(here(tmp_path).runs()) == {"c"}


def test_no_job_fails_for_want_of_a_record(
    packs: Packs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    tracker = Tracker(tmp_path)
    outputs = do_train(tmp_path, packs, tracker)
    tracker.close()
    assert outputs.exist()
    assert capsys.readouterr().err.count("MLflow (") == 1


def test_what_mlflow_refuses_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker(tmp_path)
    record = tracker.run("small", "key")
    record.log_params({"train.batch": 1, "no: such/../name\n": 2})
    record.log_params({"train.patch": 3})
    record.set_tags({"c": 4})
    tracker.close()
    (run,) = here(tmp_path).runs().values()
    assert run.data.params == {"train.batch": "1", "train.patch": "3"}
    assert run.data.tags["c"] == "4"
    assert not tracker.records.of("small", "key").is_pending()
    assert capsys.readouterr().err.count("MLflow (") == 1


def test_more_values_than_one_request_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow takes 100 parameters, 100 tags and 1,000 metrics at once."""
    tracker = Tracker(tmp_path)
    run = tracker.run("small", "key")
    monkeypatch.setattr(delivery, "PARAMETERS", {f"p{n}" for n in range(150)})
    run.log_params({f"p{n}": n for n in range(150)})
    run.set_tags({f"t{n}": n for n in range(150)})
    run.log_system({f"system/m{n}": float(n) for n in range(1100)})
    assert tracker.deliver() == 3
    (found,) = here(tmp_path).runs().values()
    assert (len(found.data.params), len(found.data.metrics)) == (150, 1100)
    assert found.data.tags["t149"] == "149"


def test_settings_of_mlflows_own_are_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    tracker = Tracker(tmp_path)
    tracker.run("small", "key").log_params({"train.batch": 1})
    tracker.close()
    assert set(MLflow(uri).runs("mine")) == {"small"}
    assert not (tmp_path / "mlflow.db").exists()
    # Delivered by hand in another terminal, it goes there too.
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    other = Tracker(tmp_path)
    other.records.of("small", "key").log_params({"train.patch": 2})
    assert other.deliver() == 1
    assert MLflow(uri).runs("mine")["small"].data.params == {"train.batch": "1", "train.patch": "2"}


def test_a_full_disk_for_artifacts(
    packs: Packs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Metrics go on; images and weights follow when there is room."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mount = tmp_path / "mlruns"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(mount)]
    subprocess.run(command, check=True)
    try:
        tracker = Tracker(tmp_path)
        outputs = do_train(tmp_path, packs, tracker)
        tracker.close()
        error = capsys.readouterr().err
        assert error.count("MLflow (") == 1
        assert "No space left on device" in error
        assert "liif deliver" in error
        known = here(tmp_path)
        (run,) = known.runs().values()
        assert known.curve(run, "train/loss") == expected_points(outputs, "loss")
        assert run.info.status == "FINISHED"
        assert known.images(run) == []
        subprocess.run(["mount", "-o", "remount,size=100m", str(mount)], check=True)
        assert Tracker(tmp_path).deliver() > 4
        assert known.images(run) == [("validation/c", epoch) for epoch in range(5)]
        assert "weights" in known.artifacts(run)
        assert known.client.search_model_versions("name = 'liif-small'")
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def command(base: Path, packs: Packs, epochs: int = 40, **changes: Any) -> list[str]:
    settings = {**SETTINGS, "train": {**SETTINGS["train"], "epochs": epochs}, **changes}
    return [
        *[sys.executable, "-m", "liif", "train", "--data", str(packs[0]), "--valid", str(packs[1])],
        *["--out", str(base / "small.safetensors"), "--settings", json.dumps(settings)],
        *["--threads", "1", "--device", "cpu", "--save-minutes", "0"],
    ]


HELD = """
import sys
import time
from pathlib import Path

from liif.cli import main
from liif.tracking.records import Record

write = Record.log_epochs
epoch, until, *sys.argv[1:] = sys.argv[1:]


def epochs(self, rows):
    write(self, rows)
    while rows and rows[-1]["epoch"] >= int(epoch) and not Path(until).exists():
        time.sleep(0.01)


Record.log_epochs = epochs
main()
"""


def held(words: list[str], epoch: int, until: Path) -> list[str]:
    """The command, but its training waits after an epoch until a file is there.

    However fast the machine, it cannot be at its end before the test has done something to it.
    """
    assert words[:3] == [sys.executable, "-m", "liif"]
    return [sys.executable, "-c", HELD, str(epoch), str(until), *words[3:]]


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process is None or process.poll() is None, "ended too soon"
        assert time.monotonic() < end
        time.sleep(0.01)


def wait_for_epochs(folder: Path, number: int, process: subprocess.Popen[str]) -> None:
    wait_for(lambda: len(events(folder, "epoch")) >= number, process)


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [
        json.loads(line)
        for path in folder.glob("results/tracking/*/*/events.jsonl")
        for line in path.read_text().splitlines()
    ]
    return [event for event in lines if event["kind"] == kind]


def delivered(folder: Path) -> int:
    """Bytes of events that have gone out."""
    paths = list(folder.glob("results/tracking/*/*/delivered.json"))
    return sum(json.loads(path.read_text())["offset"] for path in paths)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_and_resumed_is_one_run(packs: Packs, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    words = command(tmp_path, packs, epochs=80)
    for last in (40, 75):
        target = len(events(tmp_path, "epoch")) + rng.randint(5, 30)
        longest = held(words, last, tmp_path / "never")
        process = subprocess.Popen(longest, stderr=subprocess.DEVNULL, text=True)
        wait_for_epochs(tmp_path, target, process)
        wait_for(lambda: delivered(tmp_path) > 0, process)
        process.kill()
        process.communicate()
    known = here(tmp_path)
    (run,) = known.runs().values()
    assert run.info.status == "RUNNING"  # nobody has told otherwise
    # Any job notes it.
    job = [sys.executable, "-m", "liif", "degrade", str(tmp_path / "valid"), "--scale", "2"]
    subprocess.run([*job, "-o", str(tmp_path / "lr")], check=True, capture_output=True)
    (run,) = known.runs().values()
    assert run.info.status == "KILLED"
    assert "killed" in run.data.tags["ended"]
    subprocess.run(words, check=True, capture_output=True)
    (run,) = known.runs().values()
    assert run.info.status == "FINISHED"
    outputs = Outputs(weights=tmp_path / "small.safetensors")
    for key in ("loss", "valid_psnr"):
        points = known.curve(run, METRICS[key])
        assert points == expected_points(outputs, key)
        assert [p[0] for p in points] == list(range(1, 81))
    assert known.images(run) == [("validation/c", epoch) for epoch in range(81)]


@pytest.mark.slow
def test_sigterm_is_noted_with_how_to_go_on(packs: Packs, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path, packs, epochs=100000), stderr=subprocess.PIPE, text=True
    )
    wait_for_epochs(tmp_path, 4, process)
    process.terminate()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    (run,) = here(tmp_path).runs().values()
    assert run.info.status == "KILLED"
    assert "run the same command to resume" in run.data.tags["ended"]


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back(
    packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, work = free_port(), tmp_path / "work"
    work.mkdir()
    uri = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("LIIF_PROJECT", str(work))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    with mlflow_server(tmp_path, port) as process:
        words = held(command(work, packs, epochs=150), 140, tmp_path / "server is dead")
        job = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: delivered(work) > 3000, job)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        (tmp_path / "server is dead").touch()
        _, said = job.communicate(timeout=240)
    assert job.returncode == 0
    assert said.count("MLflow (") == 1
    assert "liif deliver" in said
    assert "secret" not in said
    outputs = Outputs(weights=work / "small.safetensors")
    assert outputs.exist()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with mlflow_server(tmp_path, port):
        deliver = [sys.executable, "-m", "liif", "deliver"]
        done = subprocess.run(deliver, check=True, capture_output=True, text=True)
        assert "delivered" in done.stdout
        again = subprocess.run(deliver, capture_output=True, text=True)
        assert "no records are queued" in again.stdout
        known = MLflow(uri)
        (run,) = known.runs().values()
        assert known.curve(run, "train/loss") == expected_points(outputs, "loss")
        assert known.images(run) == [("validation/c", epoch) for epoch in range(151)]
        assert run.info.status == "FINISHED"
        assert known.client.search_model_versions("name = 'liif-small'")
    refused = subprocess.run(deliver, capture_output=True, text=True)
    assert "no records are queued" in refused.stdout  # all was delivered, so nobody is asked


def test_a_server_that_never_answers_holds_nobody_up(
    packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
        tracker = Tracker(tmp_path)
        outputs = do_train(tmp_path, packs, tracker)
        # The training is over while the first request still waits.
        assert outputs.exist()
        assert tracker.cpu_seconds == 0
        tracker.close(seconds=0.1)
    assert len(events(tmp_path, "epoch")) == 4


def start_at_once(base: Path, packs: Packs) -> None:
    """Two trainings started at the same instant in an empty folder."""
    base.mkdir()
    environment = {**os.environ, "LIIF_PROJECT": str(base)}
    jobs = [
        subprocess.Popen(
            [*command(base / name, packs, epochs=3, hidden=[hidden]), "--name", name],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name, hidden in (("one", 8), ("two", 9))
    ]
    said = [job.communicate(timeout=120)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0]
    assert "MLflow" not in "".join(said)
    found = here(base).runs()
    assert {name: run.info.status for name, run in found.items()} == {
        "one": "FINISHED",
        "two": "FINISHED",
    }
    assert here(base).client.search_model_versions("name = 'liif-two'")


@pytest.mark.slow
def test_two_trainings_at_the_same_instant(packs: Packs, tmp_path: Path) -> None:
    start_at_once(tmp_path / "empty", packs)


@pytest.mark.slow
@pytest.mark.parametrize("n", range(10))
def test_two_trainings_at_the_same_instant_ten_times(packs: Packs, tmp_path: Path, n: int) -> None:
    start_at_once(tmp_path / str(n), packs)


@pytest.mark.slow
def test_a_model_served_over_http(
    packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(tmp_path)
    outputs = do_train(tmp_path, packs, tracker)
    tracker.close()
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    # Not this package is to be used, but the copy that travels with the model.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/liif-small/1"]
    words += ["--port", str(port), "--env-manager", "local"]
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, text=True, start_new_session=True)
    picture = photograph(9, 6)
    body = json.dumps({"inputs": picture.tolist(), "params": {"scale": 3.0}}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
    )

    def answer() -> Any:
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return json.load(reply)
        except ConnectionError:
            return None
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:  # it does not listen yet
            return None

    try:
        wait_for(answer, process)
        big = np.array(answer()["predictions"], np.uint8)
        expected = load(outputs.weights).upscale(picture, scale=3)
        np.testing.assert_array_equal(big, expected)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_older_runs_gain_the_new_names(tmp_path: Path) -> None:
    """Delivered by 0.1.0, which kept the history's names and all settings as parameters."""
    from mlflow.entities import Metric, Param

    tracker = Tracker(tmp_path)
    record: Any = tracker.run("small", "key")
    record.log_params({"train.batch": 16, "mean": "[0.5]"})
    record.log_epochs([{**ROW, "valid_psnr": 30.0}])
    store = Store(tmp_path, None, "sr_800")
    run = store.run(record.address.id, "small", 1000)
    metrics, params = [Metric("loss", 0.5, 1000500, 1)], [Param("train.batch", "16")]
    store.client.log_batch(run.info.run_id, metrics, [*params, Param("mean", "[0.5]")])
    state: dict[str, Any] = {"experiment": "sr_800", "offset": record.path.stat().st_size}
    state["run"] = run.info.run_id
    (record.folder / "delivered.json").write_text(json.dumps(state))
    assert record.is_pending()
    assert Tracker(tmp_path).deliver() == 2
    known = here(tmp_path)
    (found,) = known.runs().values()
    assert found.info.run_id == run.info.run_id
    assert known.curve(found, "train/loss") == known.curve(found, "loss") == [(1, 1000500, 0.5)]
    assert known.curve(found, "valid_patches/psnr") == [(1, 1000500, 30.0)]
    assert found.data.params == {"train.batch": "16", "mean": "[0.5]"}
    assert found.data.tags["mean"] == "[0.5]"
    assert not record.is_pending()


def test_descriptions_are_set_and_edited_ones_kept(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    run = tracker.run("small", "key")
    run.set_tags({"model.kind": "trained", "encoder.name": "edsr"})
    tracker.deliver()
    known: Any = here(tmp_path)
    experiment = known.client.get_experiment_by_name("sr_800")
    assert "test/x8/gain" in experiment.tags["mlflow.note.content"]
    assert note(known) == "**EDSR-LIIF**, trained."
    run.log_metrics({"test/x8/psnr": 30.0})
    tracker.deliver()
    assert "| `test/x8` | 30.00 |" in note(known)
    known.client.set_tag(known.runs()["small"].info.run_id, "mlflow.note.content", "mine")
    run.log_metrics({"test/x8/psnr": 31.0})
    tracker.deliver()
    assert note(known) == "mine"


def note(known: MLflow) -> str:
    (run,) = known.runs().values()
    return str(run.data.tags["mlflow.note.content"])


def test_durations_are_those_of_the_work(packs: Packs, tmp_path: Path) -> None:
    """Of a training without tracking, and of runs that were never running."""
    outputs = do_train(tmp_path, packs, NoTracker())
    sidecar = json.loads(outputs.sidecar.read_text())
    outputs.sidecar.write_text(json.dumps({**sidecar, "seconds": 90.5}))
    tracker = Tracker(tmp_path)
    log_training_end(tracker.run("small", "key"), Recipe.model_validate(SETTINGS), outputs)
    tracker.run("bicubic", "bicubic").set_status("FINISHED", "the baseline: nothing is trained")
    tracker.deliver()
    runs = here(tmp_path).runs()
    end = expected_points(outputs, "loss")[-1][1]
    assert (runs["small"].info.start_time, runs["small"].info.end_time) == (end - 90500, end)
    assert (runs["bicubic"].info.status, runs["bicubic"].info.end_time) == ("FINISHED", None)


def test_the_best_version_is_champion(tmp_path: Path) -> None:
    """By PSNR on the same test pictures, at the largest scale."""
    tracker = Tracker(tmp_path)
    weights = tmp_path / "small.safetensors"
    save_checkpoint(weights, build(SMALL["edsr"]), SMALL["edsr"])

    def measured(key: str, psnr: float, digest: str) -> str:
        """The run of the champion, after a model was measured."""
        run = tracker.run("small", key)
        pictures = DataSet(name="t", context="test", source="t", digest=digest)
        run.log_metrics({"test/x4/psnr": 90 - psnr, "test/x8/psnr": psnr}, pictures)
        run.log_model(weights)
        tracker.deliver()
        client: Any = here(tmp_path).client
        best = client.get_model_version_by_alias("liif-small", "champion")
        record: Any = tracker.records.of("small", key)
        return "this" if best.run_id == record.delivered().run else "another"

    assert measured("a", 30.0, "1" * 64) == "this"
    assert measured("b", 29.0, "1" * 64) == "another"
    assert measured("b", 31.0, "1" * 64) == "this"
    assert measured("a", 25.0, "2" * 64) == "this"  # other pictures, which b was not measured on


def test_the_report_is_an_artifact_of_the_best_model(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", ["a", "b"], 64)
    words = ["report", str(results), "--embed", "--track"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    known = here(tmp_path)
    ((name, run),) = known.runs().items()
    assert name == "better"
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    page = (results / "report-embedded.html").read_bytes()
    assert (folder / "report.html").read_bytes() == page
