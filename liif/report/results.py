"""Contents of a results folder: pictures, metrics, histories, times."""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import NamedTuple

from liif.checkpoints.outputs import Outputs
from liif.config import Experiment
from liif.data import manifests
from liif.data.collection import open_collection
from liif.data.degrade import parse_set
from liif.images.metrics import Channel, border_width
from liif.images.png import write_png
from liif.inference.evaluate import Result
from liif.inference.upscaler import BICUBIC
from liif.report.render import Score
from liif.system.errors import UserError

LR, TRUTH = "lr", "truth"
"""Versions of a test picture that no upscaler made."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Contents of a results folder that a report shows."""

    folder: Path
    scale: float
    """Scale of the upscaled test pictures."""
    models: list[str]
    """Names of the models in the order of the configuration, without bicubic."""
    names: list[str]
    """Names of the test pictures."""
    evaluations: list[Result]
    """Evaluations, one for each model, set and scale."""
    truth: Path | None
    """Folder of the HR test pictures, as PNG."""
    lr: Path
    """Folder of the LR test pictures, as PNG."""

    @property
    def upscaled(self) -> list[str]:
        """Bicubic and the models."""
        return [BICUBIC, *self.models]

    def pictures(self, version: str) -> dict[str, Path]:
        """Files of a version of the test pictures, of those that exist, by name."""
        folders = {LR: self.lr, TRUTH: self.truth}
        folder = folders.get(version, self.folder / "upscaled" / version)
        paths = {name: folder / f"{name}.png" for name in self.names} if folder else {}
        return {name: path for name, path in paths.items() if path.is_file()}

    def outputs(self, model: str) -> Outputs:
        """Paths of a model's files, whether they exist or not."""
        return Outputs(weights=self.folder / "models" / f"{model}.safetensors")

    def on_test(self, model: str) -> Result | None:
        """Evaluation of a model on the test pictures."""
        wanted = (model, "test", self.scale)
        found = (r for r in self.evaluations if (r["model"], r["set"], r["scale"]) == wanted)
        return next(found, None)

    @property
    def convention(self) -> tuple[Channel, int]:
        """Channel and border of the evaluations on the test pictures; by default DIV2K's."""
        found = next((r for r in self.evaluations if r["set"] == "test"), None)
        if found is None:
            return "rgb", border_width("scale+6", self.scale)
        return found["channel"], int(found["border"])

    def scores(self, model: str) -> dict[str, Score]:
        """PSNR and SSIM of a model on each test picture."""
        result = self.on_test(model) or {"pictures": {}}
        return {name: (q["psnr"], q["ssim"]) for name, q in result["pictures"].items()}

    def psnrs(self, model: str) -> dict[str, float]:
        """PSNR of a model on each test picture, except on those that it restores exactly."""
        return {n: psnr for n, (psnr, _) in self.scores(model).items() if psnr is not None}

    def gains(self, model: str) -> dict[str, float]:
        """PSNR above bicubic's, for each test picture where both are known."""
        base = self.psnrs(BICUBIC)
        return {n: psnr - base[n] for n, psnr in self.psnrs(model).items() if n in base}

    def history(self, model: str) -> list[dict[str, float]]:
        """A row for each epoch of a model's training; empty if its weights were given."""
        outputs = self.outputs(model)
        return outputs.read_history() if outputs.history.is_file() else []


def collect(folder: Path, settings: Experiment | None = None) -> Results:
    """Collect the contents of the workflow's results folder, all or those of an experiment."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of results")
    found = {path.stem for path in (folder / "metrics").glob("*.json")}
    found |= {path.name for path in (folder / "upscaled").glob("*") if path.is_dir()}
    models = sorted(found - {BICUBIC}) if settings is None else list(settings.models)
    evaluations = [r for model in [BICUBIC, *models] for r in _evaluations(folder, model)]
    given = settings.data.test.lr if settings is not None else None
    if given is not None:  # without HR, so any metrics are of other test pictures
        evaluations = [r for r in evaluations if parse_set(r["set"])[0] != "test"]
    test = [r for r in evaluations if r["set"] == "test"]
    scale = settings.scale if settings is not None else _scale(folder, test)
    test = [r for r in test if r["scale"] == scale]
    lr, truth = (folder / kind / "test" / f"x{scale:g}" for kind in ("lr", "hr"))
    if given is not None:
        lr = folder / "report" / "lr"  # a page cannot link to files outside its folder
        names = _copy(given, lr)
    else:
        folders = [folder / "upscaled" / model for model in (BICUBIC, *models)]
        upscaled = {path.stem for f in folders for path in f.glob("[!.]*.png")}
        names = sorted({n for r in test for n in r["pictures"]} or upscaled)
    if not names and not evaluations:
        raise UserError(f"{folder}: contains no upscaled pictures and no metrics; run the workflow")
    return Results(
        folder=folder,
        scale=scale,
        models=models,
        names=names,
        evaluations=evaluations,
        truth=truth if test and truth.is_dir() else None,
        lr=lr,
    )


_NEEDED = ("model", "set", "scale", "channel", "border", "psnr", "ssim", "pictures")


def _evaluations(folder: Path, model: str) -> list[Result]:
    path = folder / "metrics" / f"{model}.json"
    if not path.is_file():
        return []
    try:
        results: list[Result] = json.loads(path.read_text(encoding="utf-8"))["results"]
        return [r for r in results if [r[key] for key in _NEEDED]]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: contains no metrics; delete it and rerun the command") from None


def _scale(folder: Path, test: list[Result]) -> float:
    """The scale of the first evaluation or LR folder of test pictures; 8 if there is none."""
    for result in test:
        return float(result["scale"])
    for path in sorted((folder / "lr" / "test").glob("x*")):
        with suppress(ValueError):
            return float(path.name[1:])
    return 8.0


def _copy(source: Path, to: Path) -> list[str]:
    """Copy given LR pictures as PNG, unless current copies exist; return their names."""
    pictures = open_collection(source)
    for name in pictures.names:
        tag = manifests.tag_of("report", pictures.digest(name))
        if not manifests.is_current(to / f"{name}.png", tag):
            write_png(to / f"{name}.png", pictures.read(name), text={manifests.TAG: tag})
    return pictures.names


class Step(NamedTuple):
    """Time and memory of a step's jobs, of the last time each ran."""

    name: str
    """Name such as `train rdn`."""
    jobs: int
    seconds: float
    """Time of all jobs together."""
    processor_seconds: float
    memory: float
    """Largest resident set of a job, in MB."""


_STAGES = ("download", "pack", "degrade", "train", "import", "evaluate", "upscale")


def steps(results: Results) -> list[Step]:
    """Read Snakemake's benchmarks of each step, in the order of the stages."""
    root = results.folder / "benchmarks"
    known = {*results.upscaled, "train", "valid", "test", *(r["set"] for r in results.evaluations)}
    jobs: dict[str, list[dict[str, str]]] = {}
    for path in sorted(root.rglob("*.tsv")):
        parts = path.relative_to(root).with_suffix("").parts
        if len(parts) > 1 and parts[0] != "download" and parts[1] not in known:
            continue  # of a model or degradation that is no longer in the experiment
        with suppress(OSError, ValueError):
            table = csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t")
            for job in list(table)[-1:]:
                jobs.setdefault(" ".join(parts[:2]), []).append(job)
    order = {stage: i for i, stage in enumerate(_STAGES)}
    found = []
    for name in sorted(jobs, key=lambda n: (order.get(n.split()[0], len(order)), n)):
        seconds, processor, memory = (
            [_number(job.get(column)) for job in jobs[name]]
            for column in ("s", "cpu_time", "max_rss")
        )
        found.append(Step(name, len(jobs[name]), sum(seconds), sum(processor), max(memory)))
    return found


def _number(text: str | None) -> float:
    """A benchmark's number; 0 for jobs too short to be measured."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return 0.0 if isnan(value) else value
