"""The table of the test pictures that ends a workflow's output."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path


def summary(table: Path) -> str:
    """PSNR and SSIM on the test pictures, from `metrics.csv`; on all sets if there is no test."""
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    tests = [row for row in rows if row["set"] == "test"]
    return "\n".join(_lines(tests or rows))


def _lines(rows: list[dict[str, str]]) -> Iterator[str]:
    width = max((len(row["model"]) for row in rows), default=0)
    width = max(width, 26)
    for (name, scale), group in groupby(rows, lambda row: (row["set"], row["scale"])):
        ranked = sorted(group, key=lambda row: float(row["psnr"]))
        pictures = f"{name} ×{scale}, {ranked[0]['pictures']} pictures"
        yield f"{pictures:{width}}  PSNR (dB)    SSIM"
        for row in ranked:
            yield f"{row['model']:{width}}  {row['psnr']:>9}  {row['ssim']:>6}"
