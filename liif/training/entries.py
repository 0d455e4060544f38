"""Records that a training logs to its run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from liif.checkpoints.outputs import Outputs
from liif.config_file import flatten
from liif.data.pack import Pack
from liif.data.versions import data_version
from liif.recipe import Recipe
from liif.system import environment
from liif.system.project import project
from liif.tracking.problems import never_failing
from liif.tracking.run import DataSet, Run


def log_training_start(
    run: Run,
    recipe: Recipe,
    data: dict[str, tuple[str, Pack]],
    *,
    precision: str,
    **machine: object,
) -> None:
    """Log settings, data (as for `log_data`), precision and machine as a training starts."""
    if not run.recorded:
        return
    with never_failing():
        photographs = data["training"][1]
        log_settings(run, recipe.model_dump(mode="json"), photographs.data_version, **machine)
        tags = {"data.fingerprint": photographs.fingerprint, "precision.training": precision}
        run.set_tags(tags)
    log_data(run, data)


def log_data(run: Run, data: dict[str, tuple[str, Pack]]) -> None:
    """Log the photographs for `training` and `validation`: their source and the pack."""
    with never_failing():
        for context, (source, photographs) in data.items():
            pixels = sum(entry.height * entry.width for entry in photographs.entries)
            run.log_dataset(
                DataSet(
                    name=Path(source).stem,
                    context=context,
                    source=source,
                    digest=photographs.fingerprint,
                    counts={"photographs": len(photographs), "pixels": pixels},
                )
            )


def log_training_end(run: Run, recipe: Recipe, outputs: Outputs) -> None:
    """Log the results of a training from its files. Logging them again changes nothing."""
    if not run.recorded:
        return
    with never_failing():
        settings = recipe.model_dump(mode="json")
        history = outputs.read_history()
        sidecar = json.loads(outputs.sidecar.read_text(encoding="utf-8"))
        end = round(1000 * history[-1]["timestamp"])
        if not run.known.ran:  # tracking was off
            run.set_status("RUNNING", at=end - round(1000 * sidecar["seconds"]))
        run.log_params(flatten(settings))
        run.log_epochs(history)
        used = sidecar.get("precision", recipe.train.precision)  # lacking before 0.2.0
        tags = {"seconds": sidecar["seconds"], "model.kind": "trained", "precision.training": used}
        run.set_tags(tags)
        run.log_file(outputs.history, "history.csv")
        run.log_file(outputs.sidecar, "run.json")
        run.log_file(outputs.weights, "weights/last.safetensors")
        run.log_file(outputs.best, "weights/best.safetensors")
        run.log_text("recipe.json", json.dumps(settings, indent=1) + "\n")
        run.log_model(outputs.weights, sidecar["steps"])
        run.set_status("FINISHED", f"finished after {sidecar['steps']} steps", at=end)


def log_settings(
    run: Run, settings: dict[str, Any], data_version: str | None = None, **more: object
) -> None:
    """Log the settings of a model and more of it, the libraries, and what `log_origin` does."""
    run.log_params({**flatten(settings), **more, **environment.versions()})
    run.set_tags({"model.kind": "trained" if "train" in settings else "given"})
    log_origin(run, data_version)


def log_origin(run: Run, version: str | None = None) -> None:
    """Tag a run with the user, the code's commit and the data's version, by default the current."""
    data = data_version(project())
    data = data._replace(actual=version or data.actual)
    tags = {"data.version": data.actual, "data.recorded": data.recorded}
    tags |= {"data.matches": str(data.matches).lower(), "mlflow.user": environment.user()}
    run.set_tags(environment.commit() | tags)
