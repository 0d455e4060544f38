"""How results were made: data, code, machine, weights, runs, and the command that repeats it."""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from liif.checkpoints import provenance
from liif.checkpoints.outputs import Outputs
from liif.config import Experiment
from liif.data.versions import UNKNOWN
from liif.report.results import Results
from liif.system.files import file_sha256
from liif.system.project import records_folder
from liif.system.redact import redact
from liif.tracking import environment
from liif.tracking.records import Records

_LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where a bare `mlflow ui` shows its pages."""


@dataclass(frozen=True, kw_only=True)
class ModelOrigin:
    """Where a model's weights come from."""

    model: str
    parameters: int
    sha256: str
    training: dict[str, Any] | None
    """What its training left beside the weights; None if they were given."""
    recipe: str
    """Its settings, as YAML."""
    run: str | None
    """Address of its run's page in MLflow."""


def models(results: Results, project: Path) -> list[ModelOrigin]:
    """Each model whose weights are there."""
    found = []
    for model in results.models:
        weights = results.weights(model)
        if weights is None:
            continue
        sidecar = Outputs(weights=weights).sidecar
        said = provenance.metadata(weights)
        recipe = said.get("provenance", {}).get("recipe") or said.get("architecture", {})
        origin = ModelOrigin(
            model=model,
            parameters=provenance.parameters(weights),
            sha256=file_sha256(weights),
            training=json.loads(sidecar.read_text(encoding="utf-8")) if sidecar.exists() else None,
            recipe=as_yaml(recipe),
            run=run_page(project, model, provenance.identity(weights)),
        )
        found.append(origin)
    return found


def run_page(project: Path, model: str, identity: str) -> str | None:
    """The page of a model's run in MLflow, if it was delivered there."""
    record = Records(records_folder(project)).of(model, identity)
    run = record.delivered().run
    if run is None:
        return None
    store = record.delivered().store or ""
    pages = redact(store) if re.match("https?://", store) else _LOCAL_PAGES
    return f"{pages.rstrip('/')}/#/runs/{run}"


def commit() -> tuple[str, bool]:
    """The commit of this code, and whether it was changed since."""
    said = environment.commit()
    return said["mlflow.source.git.commit"], said["git.dirty"] == "true"


def software() -> str:
    """Versions of what computes, and of what orchestrates."""
    found = {key.partition(".")[2]: value for key, value in environment.versions().items()}
    for name in ("scipy", "snakemake", "dvc", "mlflow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return ", ".join(f"{name} {value}" for name, value in found.items())


@dataclass(frozen=True)
class Machine:
    """What the report was made on."""

    system: str
    processor: str
    cores: int
    memory: float
    """In GB."""
    gpus: list[str]


def machine() -> Machine:
    """This machine."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Machine(
        f"{platform.system()} {platform.machine()}", _processor(), cores or 1, memory, gpus
    )


def _processor() -> str:
    """The processor's name, where the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return name[1].strip() if name else platform.processor() or platform.machine()


def configuration(settings: Experiment) -> str:
    """What was set, as YAML, without passwords; the rest has the documented values."""
    return as_yaml(settings.model_dump(mode="json", by_alias=True, exclude_unset=True))


def as_yaml(values: Any) -> str:
    """Settings as they are written in a configuration file."""
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return redact(text)


def is_documented(settings: Experiment) -> bool:
    """Whether this is the experiment that a bare `snakemake` runs."""
    return _resolved(settings) == _resolved(Experiment())


def _resolved(settings: Experiment) -> list[object]:
    """All that decides the results."""
    recipes = {name: settings.recipe(name) for name in settings.trained}
    given = {name: settings.models[name] for name in settings.given}
    scales = {name: settings.scales(name) for name in settings.models}
    values = settings.data, recipes, given, scales, settings.scale, settings.evaluate
    return [v.model_dump() if isinstance(v, BaseModel) else v for v in values]


def commands(settings: Experiment | None, data_version: str) -> list[str]:
    """What repeats the experiment, in a clone of the project."""
    lines = []
    head, _ = commit()
    if head != UNKNOWN:
        lines.append(f"git checkout {head}")
    lines.append("make install")
    if data_version not in (UNKNOWN, "missing"):
        lines.append(f"dvc checkout    # or dvc pull; data version {data_version}")
    documented = settings is None or is_documented(settings)
    own = "" if documented else " --configfile experiment.yaml"
    lines.append(f".venv/bin/snakemake --cores all results/sr_800{own}")
    return lines
