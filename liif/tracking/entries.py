"""Runs: what is put on record of a model when it is trained, given, evaluated and used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from liif.checkpoints.format import identity, load_metadata, parameter_count
from liif.checkpoints.outputs import Outputs, name_of
from liif.config import Recipe, flatten
from liif.data.pack import Pack
from liif.data.versions import UNKNOWN, data_version
from liif.inference.upscaler import BICUBIC
from liif.system.project import project
from liif.system.redact import redact
from liif.tracking import environment
from liif.tracking.records import Record
from liif.tracking.run import DataSet, Run
from liif.tracking.tracker import NoTracker

SAMPLES = 4
"""Final outputs that are shown of each model."""

P = ParamSpec("P")


def _on_record(put: Callable[P, None]) -> Callable[P, None]:
    """No job fails for want of a record: what goes wrong is told once, and left."""

    @wraps(put)
    def safely(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            put(*args, **kwargs)
        except Exception as error:
            (where,) = (a for a in args if isinstance(a, Run | NoTracker))
            where.report_problem(error)

    return safely


@_on_record
def log_training_start(
    run: Run,
    recipe: Recipe,
    *,
    parameters: int,
    device: str,
    threads: int,
    data: dict[str, tuple[str, Pack]],
) -> None:
    """Describe a training that begins, or goes on.

    Parameters
    ----------
    parameters
        How many the network has.
    data
        Where the photographs for training and validation come from, and they themselves.
    """
    if not run.recorded:
        return
    here = {"device": device, "threads": threads, **environment.versions()}
    run.log_params({**flatten(recipe.model_dump(mode="json")), "parameters": parameters, **here})
    photographs = data["training"][1]
    _place(run, photographs.data_version)
    run.set_tags({"data.fingerprint": photographs.fingerprint, "model.kind": "trained"})
    for context, (source, photographs) in data.items():
        run.log_dataset(
            DataSet(
                name=Path(source).stem,
                context=context,
                source=source,
                digest=photographs.fingerprint,
                counts={
                    "photographs": len(photographs),
                    "pixels": sum(e.height * e.width for e in photographs.entries),
                },
            )
        )


@_on_record
def log_training_end(run: Run, recipe: Recipe, outputs: Outputs) -> None:
    """Put the end of a training on record, from the files that it left. Twice is once."""
    if not run.recorded:
        return
    run.log_params(flatten(recipe.model_dump(mode="json")))
    run.log_epochs(outputs.read_history())
    sidecar = json.loads(outputs.sidecar.read_text(encoding="utf-8"))
    run.set_tags({"seconds": sidecar["seconds"], "model.kind": "trained"})
    for path, name in (
        (outputs.history, "history.csv"),
        (outputs.sidecar, "run.json"),
        (outputs.weights, "weights/last.safetensors"),
        (outputs.best, "weights/best.safetensors"),
    ):
        run.log_file(path, name)
    run.log_text("recipe.json", json.dumps(recipe.model_dump(mode="json"), indent=1) + "\n")
    run.log_model(outputs.weights, sidecar["steps"])
    run.set_status("FINISHED", f"finished after {sidecar['steps']} steps")


@_on_record
def log_given_weights(tracker: NoTracker, weights: Path, source: str) -> None:
    """Put a model on record whose weights are given."""
    if tracker.enabled:
        run = tracker.run(name_of(weights), identity(weights))
        _describe_weights(run, weights)
        run.log_params({"weights": redact(source)})
        _ended_as_given(run, weights)


def _ended_as_given(run: Run, weights: Path) -> None:
    run.log_file(weights, "weights/last.safetensors")
    run.log_model(weights)
    run.set_status("FINISHED", "its weights were given")


@_on_record
def log_evaluation(
    tracker: NoTracker,
    results: Iterable[Mapping[str, Any]],
    *,
    models: Path,
    metrics: Path,
    table: Path,
    data: dict[str, tuple[str, str]],
) -> None:
    """Put on record what models and bicubic reach.

    Parameters
    ----------
    results
        As `evaluate.merge` gives them.
    models
        Folder of the weights.
    metrics, table
        Folder of the results by model, and the table of all.
    data
        Of each set, where its pictures come from and their version.
    """
    if not tracker.enabled:
        return
    by_model: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_model.setdefault(result["model"], []).append(result)
    for model, found in by_model.items():
        run = _of_weights(tracker, model, models)
        for result in found:
            source, version = data.get(result["set"], ("", UNKNOWN))
            pictures = DataSet(
                name=Path(source).stem or result["set"],
                context={"valid": "evaluation"}.get(result["set"], result["set"]),
                source=source,
                digest=version,
                counts={"pictures": len(result["pictures"])},
            )
            run.log_dataset(pictures)
            prefix = f"{result['set']}/x{result['scale']:g}/"
            values = {prefix + name: result[name] for name in ("psnr", "ssim")}
            run.log_metrics({k: v for k, v in values.items() if v is not None}, pictures)
        run.log_file(metrics / f"{model}.json", f"metrics/{model}.json")
        run.log_file(table, "metrics.csv")
        if model == BICUBIC:
            run.set_status("FINISHED", "the baseline: nothing is trained")


@_on_record
def log_samples(
    tracker: NoTracker, models: Iterable[str], *, weights: Path, upscaled: Path
) -> None:
    """Put some of the enlarged pictures on record, the same of each model."""
    for model in (*models, BICUBIC) if tracker.enabled else ():
        pictures = sorted((upscaled / model).glob("*.png"))[:SAMPLES]
        if pictures:
            run = _of_weights(tracker, model, weights)
            for path in pictures:
                run.log_sample(f"sample/{path.stem}", path)


def _of_weights(tracker: NoTracker, model: str, folder: Path) -> Run:
    """The run of the weights that a model has now; described, if nothing was known of it."""
    if model == BICUBIC:
        run = tracker.run(model, BICUBIC)
        if run.recorded:
            _place(run)
            run.log_params({"encoder.name": BICUBIC, "parameters": 0})
        return run
    path = folder / f"{model}.safetensors"
    run = tracker.run(model, identity(path))
    if isinstance(run, Record) and not run.known.params:  # tracking was off, or its records lost
        _describe_weights(run, path)
        outputs, source = Outputs(weights=path), load_metadata(path).get("provenance", {})
        if outputs.exist() and "recipe" in source:
            log_training_end(run, Recipe.model_validate(source["recipe"]), outputs)
        else:
            _ended_as_given(run, path)
    return run


def _describe_weights(run: Run, weights: Path) -> None:
    metadata = load_metadata(weights)
    recipe = metadata.get("provenance", {}).get("recipe") or metadata.get("architecture", {})
    run.log_params(
        {**flatten(recipe), "parameters": parameter_count(weights), **environment.versions()}
    )
    run.set_tags({"model.kind": "trained" if "train" in recipe else "given"})
    _place(run)


def _place(run: Run, version: str | None = None) -> None:
    """Tags of the code and the data that a run was made with; by default those of now."""
    data = data_version(project())
    data = data._replace(actual=version or data.actual)
    tags = {"data.version": data.actual, "data.recorded": data.recorded}
    run.set_tags({**environment.commit(), **tags, "data.matches": str(data.matches).lower()})
