"""Upscaling: pictures of any size and kind → larger ones, by a model or by bicubic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath

from liif.data import manifests as buckets
from liif.data.manifests import EVERYTHING, Bucket, Manifest
from liif.images import write as writing
from liif.images.channels import Band, Upscaled, upscale_bands
from liif.images.metadata import resized
from liif.images.read import max_pixels, read_picture
from liif.inference.places import is_picture
from liif.inference.plan import Plan, Task, Wanted, common_place, plan
from liif.inference.size import Size as Size
from liif.inference.size import parse_size as parse_size
from liif.inference.upscaler import Upscaler
from liif.system import memory
from liif.system.errors import PictureError, UserError
from liif.system.files import DiskFull, cannot_write, file_sha256, require_writable
from liif.system.progress import Progress, duration, log


def parse_format(text: str, out: Path | None = None) -> str:
    """A format's file ending from its name.

    Raises
    ------
    UserError
        There is no such format, or the file `out` is to be of another.
    """
    suffix = f".{text.lower().lstrip('.')}"
    if suffix not in writing.FORMATS:
        known = ", ".join(s[1:] for s in writing.FORMATS)
        raise UserError(f"format `{text}` is none of {known}")
    if out is not None and is_picture(out):
        named = writing.FORMATS.get(out.suffix.lower())
        if named is not None and named != writing.FORMATS[suffix]:
            raise UserError(f"{out}: is to be {named} by its ending, and `{text}` by --format")
    return suffix


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do with the pictures of one call."""

    upscaler: Upscaler
    size: Size
    suffix: str = ".png"
    """Ending, and so format, of pictures whose file is not named in full."""
    quality: int = 95
    """Of JPEG and WebP, 1 to 100."""
    recursive: bool = False
    """Folders within folders too."""
    flat: bool = False
    """All pictures of a folder or archive, told by their names alone wherever they lie, as the
    workflow tells them; otherwise results lie as the pictures do."""
    overwrite: bool = False
    """Replace what was made from something else."""
    title: str = "upscaling"
    bucket: Bucket = EVERYTHING
    names: Iterable[str] | None = None
    """Only these."""


@dataclass
class _Outcome:
    manifest: Manifest = field(default_factory=dict)
    left: int = 0
    """Pictures that were there already."""
    stale: int = 0
    """Of these, such as are not known to be what would be made now."""
    failed: list[PictureError] = field(default_factory=list)


def upscale(inputs: Iterable[Path], out: Path | None, job: Job) -> Manifest:
    """Enlarge pictures, folders and archives of them.

    What is there already is left as it is; `overwrite` replaces it, unless the same weights made
    it from the same input, or it is one of the inputs. An input that cannot be read, or a picture
    that cannot be written, is told, and the others are made all the same.

    Parameters
    ----------
    out
        A folder; or a file, for a single picture, whose ending says the format. None puts
        `photo_x8.png` beside `photo.jpg`, and the pictures of `folder` into `folder_x8`.

    Returns
    -------
    Names of the pictures with the sha256 of what there is now.

    Raises
    ------
    UserError
        Pictures cannot be read or written: all of them are listed, after the others were made. Or
        something that no other picture would escape, such as a full disk.
    """
    max_pixels()  # a wrong setting of it is no picture's fault
    wanted = Wanted(
        label=job.size.label,
        suffix=job.suffix,
        recursive=job.recursive,
        flat=job.flat,
        overwrite=job.overwrite,
        bucket=job.bucket,
        names=job.names,
    )
    todo = plan(inputs, out, wanted)
    count = len(todo.tasks) + len(todo.problems)
    if out is not None and is_picture(out) and len(todo.tasks) > 1:
        raise UserError(f"{out}: cannot hold {len(todo.tasks)} pictures; give a folder")
    denied = _denied_folders(todo, out)
    outcome = _Outcome(failed=todo.problems)
    if todo.tasks:
        for error in todo.problems:
            log(f"{error}; going on with the others")
    made: dict[Path, str] = {}
    with Progress(job.title, len(todo.tasks), unit="pictures", closing=False) as progress:
        for task in todo.tasks:
            try:
                with _told_of_one(task.target):
                    if task.target.parent in denied:
                        raise denied[task.target.parent]
                    if task.target in made:
                        raise PictureError(
                            f"{task.label}: {task.target} is already that of {made[task.target]}; "
                            "rename one"
                        )
                    made[task.target] = task.label
                    _make(task, job, progress, outcome)
                    outcome.manifest[task.name] = file_sha256(task.target)
            except PictureError as error:
                outcome.failed.append(error)
                if count > 1:
                    log(f"{error}; going on with the others")
            progress.advance()
    _tell(outcome, count, f"{job.title}: ", common_place(todo.tasks, out), progress.elapsed)
    return outcome.manifest


def _denied_folders(todo: Plan, out: Path | None) -> dict[Path, UserError]:
    """Folders that nothing can be written to; an error where there is no other folder."""
    if out is not None and todo.tasks:
        require_writable(out.parent if is_picture(out) else out)
    denied, folders = {}, {task.target.parent for task in todo.tasks}
    for folder in folders:
        try:
            require_writable(folder)
        except UserError as error:
            if isinstance(error, DiskFull) or len(folders) == 1:
                raise
            denied[folder] = error
    return denied


@contextmanager
def _told_of_one(target: Path) -> Iterator[None]:
    """Make what goes wrong within the block an error of one picture, unless the disk is full."""
    try:
        yield
    except (PictureError, DiskFull):
        raise
    except UserError as error:
        raise PictureError(str(error)) from None
    except OSError as error:
        reason = cannot_write(target, error)
        if isinstance(reason, DiskFull):
            raise reason from None
        raise PictureError(f"{target}: cannot be written: {error.strerror or error}") from None


def _tell(outcome: _Outcome, count: int, title: str, place: str, seconds: float) -> None:
    """How it went: what was made, what was left alone, and what went wrong."""
    made = len(outcome.manifest) - outcome.left
    if outcome.stale:
        was = "was" if outcome.stale == 1 else "were"
        log(
            f"{outcome.stale} of {count} {was} there already, made of something else or with other "
            f"settings, and {was} left alone; --overwrite replaces such"
        )
    counts = ((made, "made"), (outcome.left, "there already"), (len(outcome.failed), "failed"))
    parts = ", ".join(f"{n} {what}" for n, what in counts if n)
    if made or outcome.left:
        where = f" → {place}" if place else ""
        log(f"{title}{parts}{where} ({duration(seconds)})")
    if outcome.failed and count == 1:
        raise outcome.failed[0]
    if outcome.failed:
        lines = "".join(f"\n  {error}" for error in outcome.failed)
        were = "was" if len(outcome.failed) == 1 else "were"
        raise UserError(f"{len(outcome.failed)} of {count} pictures {were} not enlarged:{lines}")


def _make(task: Task, job: Job, progress: Progress, outcome: _Outcome) -> None:
    out = task.target
    if out.is_dir():
        raise PictureError(f"{out}: is a folder; remove it, or give another name")
    parts = ("upscale", task.pictures.digest(task.name), job.upscaler.identity)
    asked = job.size.scale if job.size.scale is not None else job.size.label
    tag = buckets.tag_of(*parts, asked)
    current = buckets.is_current(out, tag)
    if current or (out.is_file() and not job.overwrite):
        outcome.left += 1
        # Of formats without our tag it cannot be known.
        outcome.stale += not current and out.suffix.lower() == ".png"
        return
    remedy = (
        "bicubic makes the whole picture at once; take a smaller size, or close other programs"
        if job.upscaler.whole
        else "lower --max-memory, or write TIFF, which need not fit"
    )
    with memory.explain(task.label, remedy, PictureError):
        _enlarge(task, job, progress, tag)


def _enlarge(task: Task, job: Job, progress: Progress, tag: str) -> None:
    label, out = task.label, task.target
    picture = read_picture(BytesIO(task.pictures.data(task.name)), label)
    if picture.frames > 1:
        log(f"{label}: has {picture.frames} frames; only the first is enlarged")
    height, width, channels = picture.pixels.shape
    try:
        size = job.size.of((height, width))
    except ValueError as error:
        raise PictureError(f"{label}: {error}") from None
    if abs(size[0] * width / (size[1] * height) - 1) > max(0.01, 1 / height, 1 / width):
        log(f"{label}: {width}x{height} is stretched to {size[1]}x{size[0]}")
    shape, dtype = (*size, channels), picture.pixels.dtype
    writing.check(out, shape, dtype)
    for loss in writing.losses(out, shape, dtype):
        log(f"{out}: {loss}")
    bands = _followed(
        upscale_bands(picture.pixels, size, job.upscaler.bands), size, label, progress
    )
    big = Upscaled(bands=bands, shape=shape, dtype=dtype, metadata=resized(picture.metadata, size))
    writing.write(out, big, quality=job.quality, text={buckets.TAG: tag})


def _followed(
    bands: Iterator[Band], size: tuple[int, int], label: str, progress: Progress
) -> Iterator[Band]:
    """The bands, with progress told as they go by."""
    name = f"{PurePosixPath(label).name} to {size[1]}x{size[0]}"
    progress.within(name, 0)
    for rows, band in bands:
        yield rows, band
        progress.within(name, rows.stop / size[0])
