"""What a results folder holds: pictures, metrics, histories, times."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from liif.checkpoints.outputs import Outputs
from liif.config import Experiment, TestLR
from liif.data import manifests as buckets
from liif.data.collection import open_collection
from liif.images.png import write_png
from liif.inference.evaluate import Result
from liif.inference.upscaler import BICUBIC
from liif.system.errors import UserError

LR, TRUTH = "lr", "truth"
"""The versions of a test picture that no model made."""

Score = tuple[float | None, float | None]
"""PSNR, None for equal pictures; and SSIM, None where it cannot be."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """A results folder, and what its report is to show of it."""

    folder: Path
    scale: float
    """How much the test pictures were enlarged."""
    models: list[str]
    """In the order of the configuration; without bicubic."""
    names: list[str]
    """The test pictures."""
    evaluations: list[Result] = field(default_factory=list)
    """Each of a model on a set at a scale."""
    truth: Path | None = None
    lr: Path | None = None
    """Folders of the test pictures, as PNG."""

    @property
    def versions(self) -> list[str]:
        """LR, bicubic, the models, the truth: those that there may be of a picture."""
        return [LR, *self.enlarged, TRUTH]

    @property
    def enlarged(self) -> list[str]:
        """Bicubic and the models."""
        return [BICUBIC, *self.models]

    def path(self, version: str, name: str) -> Path | None:
        """The file of a test picture's version, if there is one."""
        folders = {LR: self.lr, TRUTH: self.truth}
        folder = folders[version] if version in folders else self.folder / "upscaled" / version
        path = None if folder is None else folder / f"{name}.png"
        return path if path is not None and path.is_file() else None

    def weights(self, model: str) -> Path | None:
        """A model's weights, if they are there."""
        path = self.folder / "models" / f"{model}.safetensors"
        return path if path.is_file() else None

    def on_test(self, model: str) -> Result | None:
        """The evaluation of a model on the test pictures."""
        wanted = (model, "test", self.scale)
        for result in self.evaluations:
            if (result["model"], result["set"], result["scale"]) == wanted:
                return result
        return None

    def scores(self, model: str) -> dict[str, Score]:
        """PSNR and SSIM of a model on each test picture."""
        result = self.on_test(model) or {"pictures": {}}
        return {name: (q["psnr"], q["ssim"]) for name, q in result["pictures"].items()}

    def gains(self, model: str) -> dict[str, float]:
        """PSNR above bicubic's, of each test picture where both are known."""
        mine, base = self.scores(model), self.scores(BICUBIC)
        return {
            name: psnr - reference
            for name, (psnr, _) in mine.items()
            if psnr is not None and (reference := base.get(name, (None, None))[0]) is not None
        }

    def history(self, model: str) -> list[dict[str, float]]:
        """A row for each epoch of a model's training; nothing if it was given."""
        outputs = Outputs(weights=self.folder / "models" / f"{model}.safetensors")
        return outputs.read_history() if outputs.history.is_file() else []


def collect(folder: Path, settings: Experiment | None = None) -> Results:
    """What there is in a results folder.

    Parameters
    ----------
    folder
        As the workflow makes it: `metrics`, `upscaled`, `lr`, `hr`, `models`, `benchmarks`.
    settings
        The experiment that it is of; without it, all that is found is taken.

    Raises
    ------
    UserError
        There is no such folder, nothing in it, or a damaged file.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of results")
    models = _models(folder) if settings is None else list(settings.models)
    evaluations = [r for m in [BICUBIC, *models] for r in _evaluations(folder, m)]
    given = settings.data.test if settings is not None else None
    if isinstance(given, TestLR):  # what was measured on other test pictures before
        evaluations = [r for r in evaluations if r["set"] != "test"]
    test = [r for r in evaluations if r["set"] == "test"]
    scale = settings.scale if settings is not None else _scale(folder, test)
    test = [r for r in test if r["scale"] == scale]
    made = folder / "lr" / "test" / f"x{scale:g}"
    if isinstance(given, TestLR):
        # A page may not link to what is outside of its folder.
        lr: Path | None = folder / "report" / "lr"
        names = _copy(given.lr, folder / "report" / "lr")
    else:
        lr = made if made.is_dir() else None
        names = sorted({n for r in test for n in r["pictures"]} or _listed(folder, models))
    truth = folder / "hr" / "test" / f"x{scale:g}"
    if not names and not evaluations:
        raise UserError(f"{folder}: holds no enlarged pictures and no metrics; run the workflow")
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
    """Every model of which there is anything."""
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
    """At which the test pictures were enlarged, as far as the folder tells; else 8."""
    scales = [r["scale"] for r in test]
    for path in sorted((folder / "lr" / "test").glob("x*")):
        try:
            scales.append(float(path.name[1:]))
        except ValueError:
            continue
    return float(scales[0]) if scales else 8.0


def _listed(folder: Path, models: Iterable[str]) -> set[str]:
    """Pictures that were enlarged."""
    folders = [folder / "upscaled" / model for model in (BICUBIC, *models)]
    return {path.stem for f in folders for path in f.glob("*.png") if path.name[0] != "."}


def _copy(source: Path, to: Path) -> list[str]:
    """Copy LR pictures of one's own, as PNG; those that are there already stay."""
    pictures = open_collection(source)
    for name in pictures.names:
        tag = buckets.tag_of("report", pictures.digest(name))
        if not buckets.is_current(to / f"{name}.png", tag):
            write_png(to / f"{name}.png", pictures.read(name), text={buckets.TAG: tag})
    return pictures.names


@dataclass
class Step:
    """What the jobs of a step took, when each last ran."""

    name: str
    """As `train rdn`."""
    jobs: int = 0
    seconds: float = 0.0
    """Of all jobs together."""
    processor_seconds: float = 0.0
    memory: float = 0.0
    """Largest resident set of a job, in MB."""

    def add(self, row: dict[str, str]) -> None:
        """One more job, as Snakemake's benchmark has it."""
        self.jobs += 1
        self.seconds += _number(row.get("s"))
        self.processor_seconds += _number(row.get("cpu_time"))
        self.memory = max(self.memory, _number(row.get("max_rss")))


_STAGES = ("download", "pack", "degrade", "train", "import", "evaluate", "upscale")


def steps(results: Results) -> list[Step]:
    """Time and memory of each step, in the order of the stages."""
    root = results.folder / "benchmarks"
    known = {*results.models, BICUBIC, "train", "valid", "test"}
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
    """A figure of Snakemake's; a job that was too short to be measured has none."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if value == value else 0.0
