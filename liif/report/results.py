"""The contents of a results folder: pictures, metrics, histories, times."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from liif.checkpoints.outputs import Outputs
from liif.config import Experiment
from liif.data import manifests
from liif.data.collection import open_collection
from liif.images.png import write_png
from liif.inference.evaluate import Result
from liif.inference.upscaler import BICUBIC
from liif.system.errors import UserError

LR, TRUTH = "lr", "truth"
"""The versions of a test picture that are no upscaling."""

Score = tuple[float | None, float | None]
"""PSNR, None for equal pictures, and SSIM, None for very small ones."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a report shows of a results folder."""

    folder: Path
    scale: float
    """Of the upscaled test pictures."""
    models: list[str]
    """In the order of the configuration, without bicubic."""
    names: list[str]
    """The test pictures."""
    evaluations: list[Result]
    """One for each model, set and scale."""
    truth: Path | None
    """Folder of the HR test pictures, as PNG."""
    lr: Path
    """Folder of the LR test pictures, as PNG."""

    @property
    def upscaled(self) -> list[str]:
        """Bicubic and the models."""
        return [BICUBIC, *self.models]

    @property
    def versions(self) -> list[str]:
        """Every version that a picture may have."""
        return [LR, *self.upscaled, TRUTH]

    def path(self, version: str, name: str) -> Path | None:
        """The file of a version of a test picture, if it exists."""
        folders = {LR: self.lr, TRUTH: self.truth}
        folder = folders.get(version, self.folder / "upscaled" / version)
        path = folder / f"{name}.png" if folder else None
        return path if path and path.is_file() else None

    def outputs(self, model: str) -> Outputs:
        """The files of a model; they may not exist."""
        return Outputs(weights=self.folder / "models" / f"{model}.safetensors")

    def on_test(self, model: str) -> Result | None:
        """The evaluation of a model on the test pictures."""
        wanted = (model, "test", self.scale)
        found = (r for r in self.evaluations if (r["model"], r["set"], r["scale"]) == wanted)
        return next(found, None)

    def scores(self, model: str) -> dict[str, Score]:
        """PSNR and SSIM of a model on each test picture."""
        result = self.on_test(model) or {"pictures": {}}
        return {name: (q["psnr"], q["ssim"]) for name, q in result["pictures"].items()}

    def gains(self, model: str) -> dict[str, float]:
        """PSNR above bicubic's, for each test picture where both are known."""
        base = self.scores(BICUBIC)
        return {
            name: psnr - reference
            for name, (psnr, _) in self.scores(model).items()
            if psnr is not None and (reference := base.get(name, (None, None))[0]) is not None
        }

    def history(self, model: str) -> list[dict[str, float]]:
        """A row for each epoch of a model's training; empty if its weights were given."""
        outputs = self.outputs(model)
        return outputs.read_history() if outputs.history.is_file() else []


def collect(folder: Path, settings: Experiment | None = None) -> Results:
    """Collect what a results folder holds.

    Parameters
    ----------
    folder
        With the workflow's `metrics`, `upscaled`, `lr`, `hr`, `models`, `benchmarks`.
    settings
        Restricts the results to this experiment.

    Raises
    ------
    UserError
        The folder is missing, empty or damaged.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of results")
    models = _models(folder) if settings is None else list(settings.models)
    evaluations = [r for model in [BICUBIC, *models] for r in _evaluations(folder, model)]
    given = settings.data.test.lr if settings is not None else None
    if given is not None:  # without HR, so what was measured is of other test pictures
        evaluations = [r for r in evaluations if r["set"] != "test"]
    test = [r for r in evaluations if r["set"] == "test"]
    scale = settings.scale if settings is not None else _scale(folder, test)
    test = [r for r in test if r["scale"] == scale]
    lr, truth = (folder / kind / "test" / f"x{scale:g}" for kind in ("lr", "hr"))
    if given is not None:
        lr = folder / "report" / "lr"  # a page may not link to what is outside of its folder
        names = _copy(given, lr)
    else:
        names = sorted({n for r in test for n in r["pictures"]} or _upscaled(folder, models))
    if not names and not evaluations:
        raise UserError(f"{folder}: holds no upscaled pictures and no metrics; run the workflow")
    return Results(
        folder=folder,
        scale=scale,
        models=models,
        names=names,
        evaluations=evaluations,
        truth=truth if test and truth.is_dir() else None,
        lr=lr,
    )


def _models(folder: Path) -> list[str]:
    """Every model that left metrics or pictures."""
    found = {path.stem for path in (folder / "metrics").glob("*.json")}
    found |= {path.name for path in (folder / "upscaled").glob("*") if path.is_dir()}
    return sorted(found - {BICUBIC})


_NEEDED = ("model", "set", "scale", "channel", "border", "psnr", "ssim", "pictures")


def _evaluations(folder: Path, model: str) -> list[Result]:
    path = folder / "metrics" / f"{model}.json"
    if not path.is_file():
        return []
    try:
        results: list[Result] = json.loads(path.read_text(encoding="utf-8"))["results"]
        for result in results:
            _ = [result[key] for key in _NEEDED]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: holds no metrics; delete it and run the same again") from None
    return results


def _scale(folder: Path, test: Iterable[Result]) -> float:
    """The scale of the first evaluation or LR folder of test pictures; 8 if there is none."""
    scales = [float(r["scale"]) for r in test]
    for path in sorted((folder / "lr" / "test").glob("x*")):
        with suppress(ValueError):
            scales.append(float(path.name[1:]))
    return scales[0] if scales else 8.0


def _upscaled(folder: Path, models: Iterable[str]) -> set[str]:
    """The names of all upscaled pictures."""
    folders = [folder / "upscaled" / model for model in (BICUBIC, *models)]
    return {path.stem for f in folders for path in f.glob("*.png") if path.name[0] != "."}


def _copy(source: Path, to: Path) -> list[str]:
    """Copy given LR pictures as PNG, unless current copies exist; return their names."""
    pictures = open_collection(source)
    for name in pictures.names:
        tag = manifests.tag_of("report", pictures.digest(name))
        if not manifests.is_current(to / f"{name}.png", tag):
            write_png(to / f"{name}.png", pictures.read(name), text={manifests.TAG: tag})
    return pictures.names


@dataclass
class Step:
    """What the jobs of a step took when each last ran."""

    name: str
    """Such as `train rdn`."""
    jobs: int = 0
    seconds: float = 0.0
    """Of all jobs together."""
    processor_seconds: float = 0.0
    memory: float = 0.0
    """Largest resident set of a job, in MB."""

    def add(self, row: dict[str, str]) -> None:
        """Add a job, as a row of Snakemake's benchmark."""
        self.jobs += 1
        self.seconds += _number(row.get("s"))
        self.processor_seconds += _number(row.get("cpu_time"))
        self.memory = max(self.memory, _number(row.get("max_rss")))


_STAGES = ("download", "pack", "degrade", "train", "import", "evaluate", "upscale")


def steps(results: Results) -> list[Step]:
    """Time and memory of each step, in the order of the stages."""
    root = results.folder / "benchmarks"
    known = {*results.upscaled, "train", "valid", "test"}
    found: dict[str, Step] = {}
    for path in sorted(root.rglob("*.tsv")):
        parts = path.relative_to(root).with_suffix("").parts
        if len(parts) > 1 and parts[0] != "download" and parts[1] not in known:
            continue  # of a model that is no longer in the experiment
        name = " ".join(parts[:2])
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            continue
        for row in list(csv.DictReader(lines, delimiter="\t"))[-1:]:
            found.setdefault(name, Step(name)).add(row)
    order = {stage: i for i, stage in enumerate(_STAGES)}
    return sorted(found.values(), key=lambda s: (order.get(s.name.split()[0], len(order)), s.name))


def _number(text: str | None) -> float:
    """A benchmark's number; 0 for a job too short to be measured."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return 0.0 if isnan(value) else value
