"""Evaluation: PSNR and SSIM of upscaled pictures, for each picture and on average."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from math import isfinite
from operator import itemgetter
from pathlib import Path
from typing import Any

from liif.data.collection import Collection, open_collection
from liif.data.manifests import agreed, bucket_files
from liif.images.metrics import Border, Channel, border_width, quality
from liif.images.pixels import RGB8, Pixels
from liif.inference.upscaler import BICUBIC, Upscaler
from liif.network import precision as precisions
from liif.system.errors import UserError
from liif.system.files import write_json, write_text
from liif.system.progress import Progress

Result = dict[str, Any]
"""Return value of `evaluate` and content of the JSON files."""
_SET_AND_SCALE = itemgetter("set", "scale")
"""The order of tables, in which models stay in their order."""


def evaluate(
    hr: Path,
    *,
    lr: Path | None = None,
    upscaler: Upscaler | None = None,
    sr: Path | None = None,
    sr_precision: str | None = None,
    sr_back_projection: bool | None = None,
    scale: float,
    channel: Channel = "rgb",
    border: Border = "scale+6",
    model: str = "model",
    set_name: str = "set",
    names: Iterable[str] | None = None,
) -> Result:
    """Measure an upscaler on pairs of HR and LR pictures, or pictures upscaled before.

    Parameters
    ----------
    hr, lr, sr
        Folders or archives; either `lr` and an upscaler, or `sr`. LR and SR pictures have the
        names of the HR ones, or those with the benchmarks' suffix (`babyx4` for `baby`).
    sr_precision, sr_back_projection
        The precision in which `sr` was upscaled, and whether it was corrected by back-projection,
        if known.
    scale
        HR is cropped (top left kept) to `scale` times the LR size.
    channel, border
        "rgb" and "scale+6" are DIV2K's convention, "y" and "scale" the benchmarks'.
    names
        Only these; all of `hr` by default.

    Returns
    -------
    {"model", "set", "scale", "channel", "border", "precision", "back_projection", "psnr", "ssim",
    "pictures": {name: {"psnr", "ssim"}}}. The average PSNR is the mean of the pictures' PSNRs. A
    model's output is clipped but not rounded to levels. PSNR is null for equal pictures, SSIM for
    very small ones. Precision and back-projection are null for bicubic, or if unknown.

    Raises
    ------
    UserError
        A picture is missing, unreadable or of the wrong size.
    """
    chosen = None if names is None else sorted(names)
    width = border_width(border, scale)
    if sr is not None or upscaler is None:
        used = {"precision": sr_precision, "back_projection": sr_back_projection}
    else:
        used = {"precision": upscaler.precision, "back_projection": upscaler.back_projection}
    head = {"model": model, "set": set_name, "scale": scale, "channel": channel, "border": width}
    head |= used
    if chosen == []:  # an empty bucket, whose folder may not even exist
        return head | _average({})
    truths = open_collection(hr)
    if (other := sr or lr) is None or (sr is None and upscaler is None):
        raise ValueError("pass either `lr` with an upscaler, or `sr`")
    others = open_collection(other)
    chosen = chosen or truths.names
    progress = Progress(
        f"evaluating {model} on {set_name} ×{scale:g}", len(chosen), unit="pictures"
    )
    pictures: dict[str, dict[str, float | None]] = {}
    for name in chosen:
        picture: Pixels = others.read(_partner(name, others, scale))
        truth = truths.read(name)
        try:
            if upscaler is None or sr is not None:
                truth, picture = _common(truth, picture, scale)
            else:
                truth = _crop(truth, picture, scale)
                picture = upscaler.to_size(picture, truth.shape[:2])
            psnr, ssim = quality(truth, picture, channel=channel, border=width)
        except ValueError as error:
            raise UserError(f"{truths.label(name)}: {error}") from None
        pictures[name] = {"psnr": psnr if isfinite(psnr) else None, "ssim": ssim}
        progress.advance()
    return head | _average(pictures)


def _partner(name: str, others: Collection, scale: float) -> str:
    """The name of the LR or SR picture of an HR one."""
    for candidate in (name, f"{name}x{scale:g}"):
        if candidate in others.names:
            return candidate
    raise UserError(f"{others.path}: has neither {name} nor {name}x{scale:g}")


def _common(truth: RGB8, sr: RGB8, scale: float) -> tuple[RGB8, RGB8]:
    """The common part; with fractional scales, sizes may differ by less than an LR pixel."""
    (h, w), (rows, cols) = truth.shape[:2], sr.shape[:2]
    if max(abs(h - rows), abs(w - cols)) >= scale:
        raise ValueError(
            f"is {h}×{w}, the upscaled picture {rows}×{cols}: not the same picture at scale "
            f"{scale:g}"
        )
    return truth[:rows, :cols], sr[:h, :w]


def _crop(truth: RGB8, lr: RGB8, scale: float) -> RGB8:
    """The part of the HR picture that the LR picture shows."""
    sizes = []
    for have, small in zip(truth.shape[:2], lr.shape[:2], strict=True):
        want = round(small * scale) if float(scale).is_integer() else have
        if want > have or abs(have - small * scale) >= max(scale, 1):
            raise ValueError(
                f"is {truth.shape[0]}×{truth.shape[1]}, which does not fit an LR picture of "
                f"{lr.shape[0]}×{lr.shape[1]} at scale {scale:g}"
            )
        sizes.append(want)
    return truth[: sizes[0], : sizes[1]]


def _average(pictures: dict[str, dict[str, float | None]]) -> Result:
    """The pictures and their means: infinite (None) if one PSNR is; SSIM of those that have one."""
    psnrs = [q["psnr"] for q in pictures.values() if q["psnr"] is not None]
    ssims = [q["ssim"] for q in pictures.values() if q["ssim"] is not None]
    return {
        "psnr": sum(psnrs) / len(psnrs) if psnrs and len(psnrs) == len(pictures) else None,
        "ssim": sum(ssims) / len(ssims) if ssims else None,
        "pictures": pictures,
    }


def precision_of(result: Mapping[str, Any]) -> str | None:
    """The precision of an evaluation; results from before 0.2.0 lack it, which means float32."""
    used: str | None = result.get("precision", None if result["model"] == BICUBIC else "float32")
    return used


def back_projection_of(result: Mapping[str, Any]) -> bool | None:
    """Whether an evaluation used back-projection; earlier results lack it, which means not."""
    used: bool | None = result.get("back_projection", None if result["model"] == BICUBIC else False)
    return used


def merge(parts: Iterable[Path], count: int = 1) -> list[Result]:
    """Join the results of several jobs, with the buckets of one (model, set, scale) in one.

    A part is a file, or a folder of `count` buckets: 0.json and so on.
    """
    merged: dict[tuple[str, str, float], Result] = {}
    used: dict[tuple[str, str, float], list[tuple[str | None, bool | None]]] = {}
    for path in bucket_files(parts, count):
        try:
            part = json.loads(path.read_text(encoding="utf-8"))
            key = (part["model"], part["set"], part["scale"])
            whole = merged.setdefault(key, part)
            whole["pictures"] |= part["pictures"]
            used.setdefault(key, []).append((precision_of(part), back_projection_of(part)))
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{path}: is not an evaluation; delete it and rerun") from None
    for key, whole in merged.items():
        computed, corrected = zip(*used[key], strict=True)
        whole["precision"] = precisions.joined(computed)
        whole["back_projection"] = agreed(corrected)
        whole |= _average(dict(sorted(whole["pictures"].items())))
    return list(merged.values())


def write_tables(
    results: list[Result], metrics: Path, table: Path, summary: Path | None = None
) -> None:
    """Write `metrics/<model>.json` for each model, one CSV table of all, and a summary.

    A model's file begins with its averages, which `dvc metrics show` reads: `test.x8.psnr`.
    """
    ordered = sorted(results, key=_SET_AND_SCALE)
    for model in {r["model"]: None for r in results}:
        own = [r for r in results if r["model"] == model]
        averages: dict[str, Any] = {}
        for r in sorted(own, key=_SET_AND_SCALE):
            averages.setdefault(r["set"], {})[f"x{r['scale']:g}"] = _averages(r)
        write_json(metrics / f"{model}.json", {**averages, "model": model, "results": own})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "scale", "model", "pictures", "psnr", "ssim"])
    for r in ordered:
        writer.writerow([r["set"], f"{r['scale']:g}", r["model"], len(r["pictures"]), *_figures(r)])
    write_text(table, text.getvalue())
    if summary is not None:
        by_set: dict[str, dict[str, dict[str, Any]]] = {}
        for r in ordered:
            of_scale = by_set.setdefault(r["set"], {}).setdefault(f"x{r['scale']:g}", {})
            of_scale[r["model"]] = _averages(r)
        write_json(summary, by_set)


def _averages(result: Result) -> dict[str, float | None]:
    return {"psnr": result["psnr"], "ssim": result["ssim"]}


def _figures(result: Result) -> list[str]:
    psnr, ssim = result["psnr"], result["ssim"]
    return ["inf" if psnr is None else f"{psnr:.3f}", "" if ssim is None else f"{ssim:.4f}"]


def print_table(results: list[Result]) -> None:
    """Print results as a table.

    It has a column of precision if one is not float32, and one of back-projection if it was used.
    """
    from rich.console import Console
    from rich.table import Column, Table

    numbers = [Column(name, justify="right") for name in ("pictures", "PSNR (dB)", "SSIM")]
    low = any(precision_of(r) not in (None, "float32") for r in results)
    corrected = any(map(back_projection_of, results))
    more = [*["precision"] * low, *["back-projection"] * corrected]
    table = Table("set", "scale", "model", *numbers, *more)
    for (set_, scale), group in groupby(sorted(results, key=_SET_AND_SCALE), _SET_AND_SCALE):
        head = (set_, f"×{scale:g}")
        for r in group:
            used = [precision_of(r) or ""] * low
            used += ["yes" if back_projection_of(r) else ""] * corrected
            table.add_row(*head, r["model"], str(len(r["pictures"])), *_figures(r), *used)
            head = ("", "")
        table.add_section()
    Console().print(table)


def test_set_table(table: Path) -> str:
    """PSNR and SSIM on the test pictures, from `metrics.csv`; on all sets if there is no test."""
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    tests = [row for row in rows if row["set"] == "test"]
    return "\n".join(_summary_lines(tests or rows))


def _summary_lines(rows: list[dict[str, str]]) -> Iterator[str]:
    width = max((len(row["model"]) for row in rows), default=0)
    width = max(width, 26)
    for (name, scale), group in groupby(rows, lambda row: (row["set"], row["scale"])):
        ranked = sorted(group, key=lambda row: float(row["psnr"]))
        pictures = f"{name} ×{scale}, {ranked[0]['pictures']} pictures"
        yield f"{pictures:{width}}  PSNR (dB)    SSIM"
        for row in ranked:
            yield f"{row['model']:{width}}  {row['psnr']:>9}  {row['ssim']:>6}"
