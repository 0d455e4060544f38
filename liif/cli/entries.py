"""Records that commands log of models with existing weights, of evaluations and of upscaling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from liif.checkpoints.format import identity, load_metadata, parameter_count
from liif.checkpoints.outputs import Outputs, name_of
from liif.data.degrade import parse_set
from liif.data.manifests import agreed
from liif.inference.evaluate import back_projection_of, precision_of
from liif.inference.upscaler import BICUBIC
from liif.network.precision import joined
from liif.recipe import Recipe
from liif.system.redact import redact
from liif.tracking.problems import never_failing
from liif.tracking.run import DataSet, Run
from liif.tracking.tracker import NoTracker
from liif.training.entries import log_origin, log_settings, log_training_end

SAMPLES = 4
"""Number of upscaled pictures logged of each model."""


def log_given_weights(tracker: NoTracker, weights: Path, source: str) -> None:
    """Log a model whose weights were given rather than trained."""
    if tracker.enabled:
        with never_failing():
            run = tracker.run(name_of(weights), identity(weights))
            _log_given(run, weights)
            run.log_params({"weights": redact(source)})


def log_evaluation(
    tracker: NoTracker,
    results: Iterable[Mapping[str, Any]],
    *,
    models: Path,
    metrics: Path,
    table: Path,
    data: dict[str, tuple[str, str]],
) -> None:
    """Log the metrics of models and bicubic.

    `models` is the folder of the weights; `metrics` that of the results by model; `table` the table
    of all. `data` has the source and version of each set.
    """
    if not tracker.enabled:
        return
    with never_failing():
        runs: dict[str, Run] = {}
        used: dict[str, list[str | None]] = {}
        corrected: dict[str, list[bool | None]] = {}
        results = list(results)
        bicubic = {(r["set"], r["scale"]): r["psnr"] for r in results if r["model"] == BICUBIC}
        for result in results:
            model, name = result["model"], result["set"]
            if model not in runs:
                runs[model] = _run_of(tracker, model, models)
            used.setdefault(model, []).append(precision_of(result))
            corrected.setdefault(model, []).append(back_projection_of(result))
            clean, case = parse_set(name)
            source, version = data.get(clean, ("", "unknown"))
            pictures = DataSet(
                name=f"{Path(source).stem}-{case}".rstrip("-") if source else name,
                context={"valid": "evaluation"}.get(name, name),
                source=source,
                digest=version,
                counts={"pictures": len(result["pictures"])},
            )
            runs[model].log_dataset(pictures)
            values = {key: result[key] for key in ("psnr", "ssim") if result[key] is not None}
            baseline = bicubic.get((name, result["scale"]))
            if model != BICUBIC and "psnr" in values and baseline is not None:
                values["gain"] = values["psnr"] - baseline
            prefix = f"{name}/x{result['scale']:g}/"
            runs[model].log_metrics({prefix + k: v for k, v in values.items()}, pictures)
        for model, run in runs.items():
            _tag_use(run, "evaluation", joined(used[model]), agreed(corrected[model]))
            run.log_file(metrics / f"{model}.json", f"metrics/{model}.json")
            run.log_file(table, "metrics.csv")


def log_samples(
    tracker: NoTracker,
    models: Mapping[str, str | None],
    corrected: Mapping[str, bool | None],
    *,
    weights: Path,
    upscaled: Path,
) -> None:
    """Log some of the upscaled pictures, the same for each model.

    `models` maps names to the precision in which their pictures were upscaled, `corrected` to
    whether by back-projection, if known.
    """
    with never_failing():
        for model in (*models, BICUBIC) if tracker.enabled else ():
            pictures = sorted((upscaled / model).glob("*.png"))[:SAMPLES]
            if pictures:
                run = _run_of(tracker, model, weights)
                _tag_use(run, "upscaling", models.get(model), corrected.get(model))
                for path in pictures:
                    run.log_sample(f"upscaled/{path.stem}", path)


def log_report(tracker: NoTracker, page: Path, best: str, weights: Path) -> None:
    """Log the report, with its pictures inside, to the run of the best model."""
    if tracker.enabled:
        with never_failing():
            _run_of(tracker, best, weights).log_file(page, "report.html")


def _tag_use(run: Run, stage: str, precision: str | None, corrected: bool | None) -> None:
    if precision is not None:
        run.set_tags({f"precision.{stage}": precision})
    if corrected is not None:
        run.set_tags({f"back_projection.{stage}": str(corrected).lower()})


def _run_of(tracker: NoTracker, model: str, folder: Path) -> Run:
    """The run of a model's present weights; if it is new, they are described."""
    if model == BICUBIC:
        run = tracker.run(model, BICUBIC)
        log_origin(run)
        run.log_params({"encoder.name": BICUBIC, "parameters": 0})
        run.set_status("FINISHED", "the baseline: nothing is trained")
        return run
    path = folder / f"{model}.safetensors"
    run = tracker.run(model, identity(path))
    if run.recorded and not run.known.params:  # tracking was off, or its records lost
        outputs, provenance = Outputs(weights=path), load_metadata(path).get("provenance", {})
        if outputs.exist() and "recipe" in provenance:
            _describe(run, path)
            log_training_end(run, Recipe.model_validate(provenance["recipe"]), outputs)
        else:
            _log_given(run, path)
    return run


def _log_given(run: Run, weights: Path) -> None:
    _describe(run, weights)
    run.log_file(weights, "weights/last.safetensors")
    run.log_model(weights)
    run.set_status("FINISHED", "its weights were given")


def _describe(run: Run, weights: Path) -> None:
    """Log what the weights file says about the model."""
    metadata = load_metadata(weights)
    recipe = metadata.get("provenance", {}).get("recipe") or metadata.get("architecture", {})
    log_settings(run, recipe, parameters=parameter_count(weights))
