"""Upscaling: pictures of any size and kind → larger ones, by a model or by bicubic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import chain, pairwise
from os.path import commonpath
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from liif.data.manifests import TAG, Manifest, is_current, tag_of
from liif.images import write
from liif.images.channels import Band, Upscaled, upscale_bands
from liif.images.metadata import resized
from liif.images.read import max_pixels, read_picture
from liif.inference.ahead import Ahead, AheadBands
from liif.inference.plan import Job, Task, plan
from liif.system import memory
from liif.system.errors import PictureError, UserError
from liif.system.files import DiskFull, file_sha256, remove_stale_lock
from liif.system.progress import Progress, duration, log


@dataclass
class _Outcome:
    manifest: Manifest = field(default_factory=dict)
    existing: int = 0
    """Output files that existed before."""
    stale: int = 0
    """Number of these that may differ from what would be made now."""
    failed: list[UserError] = field(default_factory=list)


def upscale(inputs: Iterable[Path], out: Path | None, job: Job) -> Manifest:
    """Upscale pictures, and folders and archives of them.

    Existing output files are skipped. With `overwrite` they are replaced, unless the same weights
    made them from the same input. Unreadable inputs and failed outputs are reported and skipped.

    Parameters
    ----------
    out
        A folder; or, for a single picture, a file whose suffix says the format. None puts
        `photo_x8.png` beside `photo.jpg`, and the pictures of `folder` into `folder_x8`.

    Returns
    -------
    Names of the pictures with the sha256 of their output files.

    Raises
    ------
    UserError
        Some pictures failed; all of them are listed, after the others were made. Or something
        fails that every picture would meet, such as a full disk.
    """
    max_pixels()  # reports a wrong setting before any picture fails by it
    todo = plan(inputs, out, job)
    count = len(todo.tasks) + len(todo.problems)
    outcome = _Outcome(failed=todo.problems)
    if todo.tasks:
        for error in todo.problems:
            log(f"{error}; continuing with the others")
    with (
        Progress(job.title, len(todo.tasks), unit="pictures", closing=False) as progress,
        Ahead() as ahead,
    ):
        for task, begun in _begin_all(todo.tasks, job, ahead, outcome):
            try:
                _finish(task, begun, job, progress)
                outcome.manifest[task.name] = file_sha256(task.target)
            except DiskFull:
                raise
            except (UserError, OSError) as error:
                if isinstance(error, OSError):  # of reading what exists
                    reason = error.strerror or error
                    error = PictureError(f"{task.target}: cannot be written: {reason}")
                outcome.failed.append(error)
                if count > 1:
                    log(f"{outcome.failed[-1]}; continuing with the others")
            progress.advance()
    place = out or (commonpath([task.target for task in todo.tasks]) if todo.tasks else "")
    _report(outcome, count, job, place, progress.elapsed)
    return outcome.manifest


def _report(outcome: _Outcome, count: int, job: Job, place: Path | str, seconds: float) -> None:
    """Log what was made, skipped and failed."""
    made = len(outcome.manifest) - outcome.existing
    how = "made in bf16" if job.upscaler.precision == "bf16" else "made"
    if outcome.stale:
        log(
            f"{outcome.stale} of {count} existed already, made from another input or with other "
            "settings; --overwrite replaces such files"
        )
    counts = ((made, how), (outcome.existing, "existing"), (len(outcome.failed), "failed"))
    parts = ", ".join(f"{n} {what}" for n, what in counts if n)
    if made or outcome.existing:
        log(f"{job.title}: {parts} → {place} ({duration(seconds)})")
    if outcome.failed and count == 1:
        raise outcome.failed[0]
    if outcome.failed:
        lines = "".join(f"\n  {error}" for error in outcome.failed)
        raise UserError(f"{len(outcome.failed)} of {count} pictures failed:{lines}")


class _Begun(NamedTuple):
    """A picture that only has to be written."""

    picture: Upscaled
    tag: str


def _begin_all(
    tasks: list[Task], job: Job, ahead: Ahead, outcome: _Outcome
) -> Iterator[tuple[Task, _Begun | Exception | None]]:
    """Each task with its picture, with None where its output exists, or with what went wrong.

    On a GPU each comes only when the next is begun, which is computed while the first is written.
    """
    begun = ((task, _begin(task, job, ahead, outcome)) for task in tasks)
    if not job.upscaler.on_gpu:
        return begun
    return (first for first, _ in pairwise(chain(begun, [None])) if first is not None)


def _begin(task: Task, job: Job, ahead: Ahead, outcome: _Outcome) -> _Begun | Exception | None:
    """Read a picture and begin to compute it; None if its output exists."""
    out = task.target
    try:
        if out.is_dir():
            raise PictureError(f"{out}: is a folder; remove it, or choose another name")
        wanted = job.size.scale if job.size.scale is not None else job.size.label
        tag = tag_of("upscale", task.pictures.digest(task.name), job.upscaler.identity, wanted)
        current = is_current(out, tag)
        if current or (out.is_file() and not job.overwrite):
            remove_stale_lock(out)
            outcome.existing += 1
            outcome.stale += not current and out.suffix.lower() == ".png"  # others hold no tag
            return None
        with _memory_explained(task, job):
            picture = _upscaled(task, job)
            if job.upscaler.on_gpu:
                picture = replace(picture, bands=ahead.start(picture.bands))
        return _Begun(picture, tag)
    except (UserError, OSError) as error:
        return error


def _upscaled(task: Task, job: Job) -> Upscaled:
    """Read a picture; its bands are computed as they are asked for."""
    label, out = task.label, task.target
    picture = read_picture(BytesIO(task.pictures.data(task.name)), label)
    if picture.frames > 1:
        log(f"{label}: has {picture.frames} frames; only the first is upscaled")
    height, width, channels = picture.pixels.shape
    try:
        size = job.size.of((height, width))
    except ValueError as error:
        raise PictureError(f"{label}: {error}") from None
    if abs(size[0] * width / (size[1] * height) - 1) > max(0.01, 1 / height, 1 / width):
        log(f"{label}: {width}x{height} is stretched to {size[1]}x{size[0]}")
    shape, dtype = (*size, channels), picture.pixels.dtype
    for loss in write.check(out, shape, dtype):
        log(f"{out}: {loss}")
    return Upscaled(
        bands=upscale_bands(picture.pixels, size, job.upscaler.bands),
        shape=shape,
        dtype=dtype,
        metadata=resized(picture.metadata, size),
    )


def _finish(task: Task, begun: _Begun | Exception | None, job: Job, progress: Progress) -> None:
    """Write a picture, or raise what went wrong before."""
    if begun is None:
        return
    if isinstance(begun, Exception):
        raise begun
    big, (height, width, _) = begun.picture, begun.picture.shape
    name = f"{PurePosixPath(task.label).name} to {width}x{height}"
    shown = replace(big, bands=_watched(big, name, job, progress))
    try:
        with _memory_explained(task, job):
            write.write(task.target, shown, quality=job.quality, text={TAG: begun.tag})
    finally:
        if isinstance(big.bands, AheadBands):
            big.bands.close()


def _memory_explained(task: Task, job: Job) -> AbstractContextManager[None]:
    remedy = (
        "bicubic makes the whole picture at once; take a smaller size, or close other programs"
        if job.upscaler.whole
        else "lower --max-memory, or write TIFF, which need not fit"
    )
    return memory.explain(task.label, remedy, PictureError)


def _watched(big: Upscaled, name: str, job: Job, progress: Progress) -> Iterator[Band]:
    """The bands, whose progress is shown."""
    progress.within(name, 0)
    for rows, pixels in big.bands:
        if job.on_band is not None:
            job.on_band((rows, pixels), big.shape)
        yield rows, pixels
        progress.within(name, rows.stop / big.shape[0])
