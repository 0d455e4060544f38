"""Gathering: the upscaled pictures of all models side by side, by hard links."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from liif.data.manifests import (
    Manifest,
    back_projection_of,
    bucket_files,
    precision_of,
    read_manifests,
)
from liif.system.errors import UserError
from liif.system.files import atomic_write


def manifests_by_model(paths: Iterable[Path], count: int = 1) -> dict[str, Manifest]:
    """Join manifests MODEL/BUCKET.json (or folders of that many buckets) to one for each model."""
    return {model: read_manifests(found) for model, found in _by_model(paths, count).items()}


def precision_by_model(paths: Iterable[Path], count: int = 1) -> dict[str, str | None]:
    """The precision of each model's pictures, from the same manifests; None if unknown."""
    return {model: precision_of(found) for model, found in _by_model(paths, count).items()}


def back_projection_by_model(paths: Iterable[Path], count: int = 1) -> dict[str, bool | None]:
    """Whether each model's pictures were corrected, from the same manifests; None if unknown."""
    return {model: back_projection_of(found) for model, found in _by_model(paths, count).items()}


def _by_model(paths: Iterable[Path], count: int) -> dict[str, list[Path]]:
    by_model: dict[str, list[Path]] = {}
    for path in bucket_files(paths, count):
        by_model.setdefault(path.parent.name, []).append(path)
    return by_model


def gather(models: dict[str, Manifest], upscaled: Path, out: Path) -> None:
    """Link `upscaled/<model>/<name>.png` as `out/<model>/<name>.png`; `out` is replaced whole."""
    foreign = [p for p in out.rglob("*") if p.is_file() and p.suffix != ".png"]
    if foreign:
        raise UserError(
            f"{out}: would be replaced, but contains {foreign[0]}; choose another folder"
        )
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    try:
        for model, manifest in models.items():
            (part / model).mkdir(parents=True)
            for name in manifest:
                source, target = upscaled / model / f"{name}.png", part / model / f"{name}.png"
                try:
                    os.link(source, target)
                except FileNotFoundError:
                    raise UserError(f"{source}: is missing; upscale it again") from None
                except OSError:  # another file system, or one without hard links
                    with atomic_write(target) as copy:
                        shutil.copyfile(source, copy)
        if out.exists():
            shutil.rmtree(out)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
