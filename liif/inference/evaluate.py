"""Evaluation: pictures against the truth → PSNR and SSIM, for each picture and on average."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Any

from liif.config import Border, Channel
from liif.data.collection import Collection, open_collection
from liif.data.manifests import bucket_files
from liif.images.metrics import Quality, border_width, quality
from liif.images.pixels import RGB8, Pixels
from liif.inference.upscaler import Upscaler
from liif.system.errors import UserError
from liif.system.files import write_json, write_text
from liif.system.progress import Progress

Result = dict[str, Any]
"""What `evaluate` returns and the JSON files hold."""


def evaluate(
    hr: Path,
    *,
    lr: Path | None = None,
    upscaler: Upscaler | None = None,
    sr: Path | None = None,
    scale: float,
    channel: Channel = "rgb",
    border: Border = "scale+6",
    model: str = "model",
    set_name: str = "set",
    names: Iterable[str] | None = None,
) -> Result:
    """Measure a model on pairs of HR and LR pictures, or pictures that are enlarged already.

    Parameters
    ----------
    hr, lr, sr
        Folders or archives. Give `lr` with an upscaler, or `sr`. LR and SR pictures are named as
        the HR ones, or with the benchmarks' suffix (`babyx4` for `baby`).
    scale
        HR is cropped (top left kept) to `scale` times the LR size.
    channel, border
        "rgb" and "scale+6" are DIV2K's convention, "y" and "scale" the benchmarks'.
    names
        Only these; all that `hr` has when not given.

    Returns
    -------
    {"model", "set", "scale", "channel", "border", "psnr", "ssim", "pictures": {name: {"psnr",
    "ssim"}}}. The average PSNR is that of the pictures' PSNRs. A model's output is clipped but
    not rounded to grey levels. PSNR is null for equal pictures, SSIM for very small ones.

    Raises
    ------
    UserError
        A picture that is missing, unreadable or of the wrong size.
    """
    chosen = None if names is None else sorted(names)
    width = border_width(border, scale)
    head = {"model": model, "set": set_name, "scale": scale, "channel": channel, "border": width}
    if chosen == []:  # an empty bucket, whose folder may not even exist
        return {**head, "psnr": None, "ssim": None, "pictures": {}}
    truths = open_collection(hr)
    others = open_collection(sr if sr is not None else _given(lr))
    chosen = chosen or truths.names
    progress = Progress(
        f"evaluating {model} on {set_name} ×{scale:g}", len(chosen), unit="pictures"
    )
    pictures: dict[str, Quality] = {}
    for name in chosen:
        other = others.read(_partner(name, others, scale))
        truth = truths.read(name)
        try:
            if sr is None:
                assert upscaler is not None
                truth = _crop(truth, other, scale)
                other_big: Pixels = upscaler.to_size(other, truth.shape[:2])
            else:
                truth, other_big = _common(truth, other, scale)
            pictures[name] = quality(truth, other_big, channel=channel, border=width)
        except ValueError as error:
            raise UserError(f"{truths.label(name)}: {error}") from None
        progress.advance()
    return {
        **head,
        **_average(pictures.values()),
        "pictures": {name: _json(q.psnr, q.ssim) for name, q in pictures.items()},
    }


def _given(lr: Path | None) -> Path:
    if lr is None:
        raise ValueError("give either `lr` with an upscaler, or `sr`")
    return lr


def _partner(name: str, others: Collection, scale: float) -> str:
    """The name of the LR or SR picture of a truth."""
    for candidate in (name, f"{name}x{scale:g}"):
        if candidate in others.names:
            return candidate
    raise UserError(f"{others.path}: has neither {name} nor {name}x{scale:g}")


def _common(truth: RGB8, sr: RGB8, scale: float) -> tuple[RGB8, RGB8]:
    """What both show; sizes may differ by less than an LR pixel, as fractional scales bring."""
    if any(abs(a - b) >= scale for a, b in zip(truth.shape[:2], sr.shape[:2], strict=True)):
        raise ValueError(
            f"is {truth.shape[0]}×{truth.shape[1]}, the enlarged picture {sr.shape[0]}×"
            f"{sr.shape[1]}: not the same picture at scale {scale:g}"
        )
    rows, cols = (min(a, b) for a, b in zip(truth.shape[:2], sr.shape[:2], strict=True))
    return truth[:rows, :cols], sr[:rows, :cols]


def _crop(truth: RGB8, lr: RGB8, scale: float) -> RGB8:
    """The part of the truth that the LR picture shows."""
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


def _average(qualities: Iterable[Quality]) -> dict[str, float | None]:
    """Means over pictures; SSIM over those that have one."""
    qualities = list(qualities)
    ssims = [q.ssim for q in qualities if q.ssim is not None]
    if not qualities:
        return {"psnr": None, "ssim": None}
    psnr = sum(q.psnr for q in qualities) / len(qualities)
    return _json(psnr, sum(ssims) / len(ssims) if ssims else None)


def _json(psnr: float, ssim: float | None) -> dict[str, float | None]:
    return {"psnr": None if psnr == inf else psnr, "ssim": ssim}


def merge(parts: Iterable[Path], count: int = 1) -> list[Result]:
    """Results of several jobs, the buckets of one (model, set, scale) put together.

    A part is a file, or a folder of so many buckets, 0.json and so on.
    """
    merged: dict[tuple[str, str, float], Result] = {}
    for path in bucket_files(parts, count):
        try:
            part = json.loads(path.read_text(encoding="utf-8"))
            key = (part["model"], part["set"], part["scale"])
            whole = merged.setdefault(key, part)
            whole["pictures"] |= part["pictures"]
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{path}: is no evaluation; delete it and run the same again") from None
    for whole in merged.values():
        pictures = whole["pictures"] = dict(sorted(whole["pictures"].items()))
        whole |= _average(
            Quality(inf if q["psnr"] is None else q["psnr"], q["ssim"]) for q in pictures.values()
        )
    return list(merged.values())


def write_tables(
    results: list[Result], metrics: Path, table: Path, summary: Path | None = None
) -> None:
    """Write `metrics/<model>.json` for each model, one CSV table of all, and a summary."""
    for model in {r["model"]: None for r in results}:
        write_json(
            metrics / f"{model}.json",
            {"model": model, "results": [r for r in results if r["model"] == model]},
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "scale", "model", "pictures", "psnr", "ssim"])
    for r in _ordered(results):
        writer.writerow([r["set"], f"{r['scale']:g}", r["model"], len(r["pictures"]), *_figures(r)])
    write_text(table, text.getvalue())
    if summary is not None:
        averages: dict[str, dict[str, dict[str, Any]]] = {}
        for r in _ordered(results):
            of_set = averages.setdefault(r["set"], {}).setdefault(f"x{r['scale']:g}", {})
            of_set[r["model"]] = {"psnr": r["psnr"], "ssim": r["ssim"]}
        write_json(summary, averages)


def _figures(result: Result) -> list[str]:
    psnr, ssim = result["psnr"], result["ssim"]
    return ["inf" if psnr is None else f"{psnr:.3f}", "" if ssim is None else f"{ssim:.4f}"]


def _ordered(results: list[Result]) -> list[Result]:
    """By set and scale; the models as they came."""
    return sorted(results, key=lambda r: (r["set"], r["scale"]))


def print_table(results: list[Result]) -> None:
    """Print results for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("set", "scale", "model"):
        table.add_column(column)
    for column in ("pictures", "PSNR (dB)", "SSIM"):
        table.add_column(column, justify="right")
    before = None
    for r in _ordered(results):
        here = (r["set"], f"×{r['scale']:g}")
        if before is not None and here != before:
            table.add_section()
        shown = here if here != before else ("", "")
        table.add_row(*shown, r["model"], str(len(r["pictures"])), *_figures(r))
        before = here
    Console().print(table)
