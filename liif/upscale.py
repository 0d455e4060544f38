"""Upscaling: pictures of any size → larger ones, by a model or by bicubic."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from liif import buckets, images
from liif.buckets import EVERYTHING, Bucket, Manifest
from liif.errors import PictureError, UserError
from liif.files import file_sha256
from liif.images import Picture
from liif.pictures import PictureSet, open_set
from liif.progress import Progress, say
from liif.resize import enlarged_size, imresize

BICUBIC = "bicubic"
"""What to give as weights for MATLAB's bicubic imresize, the baseline."""

Unit = NDArray[np.float32]


class Upscaler(NamedTuple):
    """A way of enlarging pictures."""

    identity: str
    """What tells it from all others: the hash of its weights."""
    to_size: Callable[[images.RGB8, tuple[int, int]], Unit]
    """LR (h, w, 3) and the size asked for (rows, cols) → (H, W, 3) in 0..1."""


def open_upscaler(
    weights: str | Path,
    device: str = "auto",
    threads: int | None = None,
    max_memory: int | None = None,
) -> Upscaler:
    """An upscaler from weights (`bundled`, or a file) or `bicubic`.

    `max_memory` in bytes bounds what encoding takes; half of what is free when not given.
    """
    if str(weights) == BICUBIC:
        return Upscaler(BICUBIC, _bicubic)

    from liif import checkpoint
    from liif import device as devices

    devices.use_threads(threads)
    devices.keep_freed_memory()
    model = checkpoint.load(weights, device=devices.choose(device))
    path = checkpoint.BUNDLED if str(weights) == "bundled" else Path(weights)

    def to_size(lr: images.RGB8, size: tuple[int, int]) -> Unit:
        return np.asarray(
            model.upscale(lr.astype(np.float32) / 255, size=size, max_memory=max_memory)
        )

    return Upscaler(file_sha256(path), to_size)


def _bicubic(lr: images.RGB8, size: tuple[int, int]) -> Unit:
    """Rounded to grey levels, as the published bicubic results are."""
    return imresize(lr, size).astype(np.float32) / np.float32(255)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do with the pictures of one call."""

    upscaler: Upscaler
    scale: float
    overwrite: bool = False
    """Replace files that were made from something else."""
    title: str = "upscaling"
    bucket: Bucket = EVERYTHING
    names: Iterable[str] | None = None
    """Only these."""


def upscale(inputs: Iterable[Path], out: Path | None, job: Job) -> Manifest:
    """Enlarge pictures, folders and archives of them, as PNG.

    A picture that the same weights made from the same input is skipped. One that cannot be read is
    told, and the others are made all the same.

    Parameters
    ----------
    out
        A folder; or a file ending in .png, for a single picture. None puts `photo_x8.png` beside
        `photo.jpg`, and the pictures of `folder` into `folder_x8`.

    Raises
    ------
    UserError
        Pictures cannot be read, or outputs exist and were made from something else: all of them
        are listed, after the others were made. Or something that no other picture would escape.
    """
    todo: dict[Path, tuple[PictureSet, str]] = {}
    for source in inputs:
        wanted = None if job.names is None else [n for n in sorted(job.names) if n in job.bucket]
        if wanted == []:  # an empty bucket, whose folder may not even exist
            continue
        pictures = open_set(source)
        for name in wanted or [n for n in pictures.names if n in job.bucket]:
            target = _target(source, name, out, job.scale)
            if target in todo:
                raise UserError(f"{target}: would be made twice; give the inputs one by one")
            todo[target] = (pictures, name)
    if out is not None and _is_picture(out) and len(todo) > 1:
        raise UserError(f"{out}: cannot hold {len(todo)} pictures; give a folder")
    progress = Progress(job.title, len(todo), unit="pictures")
    manifest: Manifest = {}
    failed: list[PictureError] = []
    for target, (pictures, name) in todo.items():
        try:
            _make(pictures, name, target, job)
            manifest[name] = file_sha256(target)
        except PictureError as error:
            failed.append(error)
            if len(todo) > 1:
                say(f"{error}; going on with the others")
        progress.advance()
    if failed:
        raise _of_all(failed, len(todo))
    return manifest


def _of_all(failed: list[PictureError], count: int) -> UserError:
    """What to tell at the end of pictures that could not be enlarged."""
    if count == 1:
        return failed[0]
    lines = "".join(f"\n  {error}" for error in failed)
    return UserError(f"{len(failed)} of {count} pictures were not enlarged:{lines}")


def _target(source: Path, name: str, out: Path | None, scale: float) -> Path:
    """Where the enlarged picture goes."""
    if out is not None:
        if not _is_picture(out):
            return out / f"{name}.png"
        if out.suffix.lower() != ".png":
            raise UserError(f"{out}: pictures are written as .png; give such a name or a folder")
        return out
    source = source.resolve()
    if _is_picture(source):
        return source.with_name(f"{name}_x{scale:g}.png")
    base = source.name if source.is_dir() else source.stem
    return source.with_name(f"{base}_x{scale:g}") / f"{name}.png"


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in images.SUFFIXES and not path.is_dir()


def _make(pictures: PictureSet, name: str, out: Path, job: Job) -> None:
    tag = buckets.tag_of("upscale", pictures.digest(name), job.upscaler.identity, job.scale)
    if buckets.is_current(out, tag):
        return
    if out.exists() and not job.overwrite:
        raise PictureError(f"{out}: exists already; give --overwrite to replace it")
    small = images.read(BytesIO(pictures.data(name)), pictures.label(name))
    big = enlarge(small, job.upscaler, job.scale)
    images.write_png(out, big.rgb, alpha=big.alpha, icc=big.icc, text={buckets.TAG: tag})


def enlarge(picture: Picture, upscaler: Upscaler, scale: float) -> Picture:
    """A picture enlarged; its transparency by bicubic."""
    size = enlarged_size(picture.rgb.shape[:2], scale)
    rgb = np.floor(upscaler.to_size(picture.rgb, size) * 255 + 0.5).astype(np.uint8)
    alpha = None if picture.alpha is None else imresize(picture.alpha, size)
    return Picture(rgb, alpha, picture.icc)


def manifests_by_model(paths: Iterable[Path], count: int = 1) -> dict[str, Manifest]:
    """Manifests named MODEL/BUCKET.json (or folders of so many), put together for each model."""
    by_model: dict[str, list[Path]] = {}
    for path in buckets.bucket_files(paths, count):
        by_model.setdefault(path.parent.name, []).append(path)
    return {model: buckets.read_manifests(found) for model, found in by_model.items()}


def gather(models: dict[str, Manifest], upscaled: Path, out: Path) -> None:
    """Put the pictures of several models side by side: `out/<model>/<name>.png`, by hard links.

    `out` is replaced whole.
    """
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
                    shutil.copyfile(source, target)
        if out.exists():
            shutil.rmtree(out)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
