"""Origin of the results: code, machine, weights, runs, and the commands that repeat them."""

from __future__ import annotations

import json
import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml

from liif.checkpoints.format import identity, load_metadata, parameter_count
from liif.config import Experiment
from liif.data.manifests import agreed
from liif.data.versions import UNKNOWN
from liif.inference.evaluate import back_projection_of, precision_of
from liif.network.device import cores
from liif.network.precision import joined
from liif.report.results import Results
from liif.system import environment
from liif.system.files import file_sha256
from liif.system.project import records_folder
from liif.system.redact import redact
from liif.tracking.pages import LOCAL, run_page
from liif.tracking.records import Records


def models(results: Results, project: Path) -> list[dict[str, Any]]:
    """The origin of each model whose weights exist, as the page shows it."""
    found = []
    for model in results.models:
        weights, sidecar = results.outputs(model).weights, results.outputs(model).sidecar
        if weights.is_file():
            metadata = load_metadata(weights)
            recipe = metadata.get("provenance", {}).get("recipe")
            evaluations = [r for r in results.evaluations if r["model"] == model]
            origin = {
                "model": model,
                "parameters": parameter_count(weights),
                "precision": joined(map(precision_of, evaluations)),
                "back_projection": agreed(map(back_projection_of, evaluations)),
                "sha256": file_sha256(weights),
                "training": _training(sidecar, recipe or {}) if sidecar.exists() else None,
                "recipe": _as_yaml(recipe or metadata.get("architecture", {})),
                "run": _run_page(project, model, identity(weights)),
            }
            found.append(origin)
    return found


def _training(sidecar: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """The sidecar; before 0.2.0 it lacks the precision, which was the recipe's."""
    precision = recipe.get("train", {}).get("precision", "float32")
    return {"precision": precision, **json.loads(sidecar.read_bytes())}


def _run_page(project: Path, model: str, identity: str) -> str | None:
    """The page of a model's run in MLflow, if it was delivered there."""
    delivered = Records(records_folder(project)).of(model, identity).delivered()
    if delivered.run is None:
        return None
    store = delivered.store or ""
    pages = redact(store).rstrip("/") if re.match("https?://", store) else LOCAL
    return run_page(pages, delivered.run_experiment, delivered.run)


def software() -> str:
    """Versions of the libraries that compute and of those that orchestrate."""
    found = {key.partition(".")[2]: value for key, value in environment.versions().items()}
    for name in ("scipy", "snakemake", "dvc", "mlflow"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return ", ".join(f"{name} {value}" for name, value in found.items())


def machine() -> dict[str, Any]:
    """The machine that made the report; memory in GB."""
    name = None
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": name[1].strip() if name else platform.processor() or platform.machine(),
        "cores": cores(),
        "memory": psutil.virtual_memory().total / 1e9,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def configuration(settings: Experiment) -> str:
    """The settings that differ from the documented ones, as YAML without passwords."""
    return _as_yaml(settings.model_dump(mode="json", by_alias=True, exclude_unset=True))


def _as_yaml(values: Any) -> str:
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return redact(text)


def is_documented(settings: Experiment) -> bool:
    """Whether the results are those of the experiment that a bare `snakemake` runs."""
    return _resolved(settings) == _resolved(Experiment())


def _resolved(settings: Experiment) -> list[object]:
    """Everything that determines the results."""
    recipes = {name: settings.recipe(name) for name in settings.trained}
    given = {name: settings.models[name] for name in settings.given}
    scales = {name: settings.scales(name) for name in settings.models}
    used = [settings.scale, settings.precision, settings.back_projection, settings.evaluate]
    return [settings.data, recipes, given, scales, *used]


def commands(settings: Experiment | None, data_version: str) -> list[str]:
    """The commands that repeat the experiment in a clone of the project."""
    head = environment.commit()["mlflow.source.git.commit"]
    lines = [f"git checkout {head}"] if head != UNKNOWN else []
    lines.append("make install")
    if data_version not in (UNKNOWN, "missing"):
        lines.append(f"dvc checkout    # or dvc pull; data version {data_version}")
    documented = settings is None or is_documented(settings)
    own = "" if documented else " --configfile experiment.yaml"
    lines.append(f".venv/bin/snakemake --cores all results/sr_800{own}")
    return lines
