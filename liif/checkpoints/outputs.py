"""The files of a finished training: weights, best weights, history, sidecar."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass
from pathlib import Path

from liif.system.files import atomic_write


def name_of(weights: Path) -> str:
    """The name of a weights file without its suffix; rdn.v1 has none."""
    known = weights.suffix in (".safetensors", ".pth", ".pt")
    return weights.stem if known else weights.name


_COLUMNS = (
    *("epoch", "step", "loss", "valid_psnr", "learning_rate", "patches_per_second"),
    "timestamp",
)
"""Columns of the history, in whichever order its rows were saved."""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Paths of a training's results."""

    weights: Path
    """The last weights: the result."""
    validation: str = ""
    """Fingerprint of the validation photographs, in the names of all files but the weights."""

    def beside(self, suffix: str) -> Path:
        """The path of the weights with `suffix` in place of `.safetensors`, or else appended."""
        return self.weights.with_name(self.weights.name.removesuffix(".safetensors") + suffix)

    def _record(self, suffix: str) -> Path:
        return self.beside(f".{self.validation[:16]}{suffix}" if self.validation else suffix)

    @property
    def best(self) -> Path:
        """The weights best by validation, for inspection."""
        return self._record(".best.safetensors")

    @property
    def history(self) -> Path:
        """A CSV table with a row per epoch."""
        return self._record(".history.csv")

    @property
    def sidecar(self) -> Path:
        """When, where and how long: what differs between equal trainings."""
        return self._record(".run.json")

    @property
    def all(self) -> list[Path]:
        """Every file."""
        return [self.weights, self.best, self.history, self.sidecar]

    def exist(self) -> bool:
        """Whether every file exists."""
        return all(path.is_file() for path in self.all)

    def read_history(self) -> list[dict[str, float]]:
        """The rows of the history."""
        rows = csv.DictReader(io.StringIO(self.history.read_text(encoding="utf-8")))
        return [{key: float(value) for key, value in row.items()} for row in rows]

    def copy_to(self, other: Outputs) -> None:
        """Copy every file, the weights last: where they are, the others are complete."""
        for source, target in reversed(list(zip(self.all, other.all, strict=True))):
            with atomic_write(target) as part:
                shutil.copyfile(source, part)


def history_csv(rows: list[dict[str, float]]) -> str:
    """The history as CSV text, a row per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: v if isinstance(v, int) else f"{v:.10g}" for k, v in row.items()}
        | {"timestamp": f"{row['timestamp']:.3f}"}
        for row in rows
    )
    return text.getvalue()
