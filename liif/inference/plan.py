"""Plan of `liif upscale`: which picture becomes which output file, before any work is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from mimetypes import MimeTypes
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from liif.data.collection import Collection, open_collection
from liif.data.manifests import EVERYTHING, TAG, Bucket
from liif.images.channels import Band
from liif.images.png import png_text
from liif.images.read import PICTURE_SUFFIXES
from liif.images.write import FORMATS, format_of
from liif.inference.size import Size
from liif.inference.upscaler import Upscaler
from liif.system.errors import PictureError, UserError
from liif.system.files import require_writable
from liif.system.progress import log

_NO_FOLDERS = {".heic", ".heif", ".avif", ".jxl", ".dng", ".jp2"}
"""Suffixes of files that neither Python nor Pillow knows."""
_KNOWN = MimeTypes()
"""Python's own suffixes, whatever the machine adds to them."""
Shape = tuple[int, int, int]
"""(H, W, C)."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Settings of one call of `upscale`."""

    upscaler: Upscaler
    size: Size
    suffix: str = ".png"
    """Suffix, and so format, of output files that are not named in full."""
    quality: int = 95
    """Quality of JPEG and WebP, 1 to 100."""
    recursive: bool = False
    """Include subfolders."""
    flat: bool = False
    """Identify pictures by name alone and write all into one folder, as the workflow does;
    otherwise the output mirrors the folders of the input."""
    overwrite: bool = False
    """Replace output files that were made from another input or with other settings."""
    title: str = "upscaling"
    bucket: Bucket = EVERYTHING
    names: Iterable[str] | None = None
    """Names of the pictures to upscale; None for all."""
    on_band: Callable[[Band, Shape], None] | None = None
    """Called with each band of a picture of that shape before it is written."""


class Task(NamedTuple):
    """A picture and its output file."""

    pictures: Collection
    name: str
    label: str
    """The picture's name in messages."""
    file: Path | None
    """The picture's file; None within an archive."""
    target: Path


_Identity = tuple[int, int]
"""Device and number of a file, equal for all its names."""


@dataclass
class Plan:
    """The pictures to upscale, and those that cannot be."""

    tasks: list[Task] = field(default_factory=list)
    problems: list[UserError] = field(default_factory=list)
    """Unusable inputs and pictures."""
    _inputs: dict[_Identity, Path] = field(default_factory=dict)
    """Pictures without liif's mark: never overwritten."""
    _results: dict[_Identity, Path] = field(default_factory=dict)
    """Results of an earlier call: never upscaled."""

    def add(self, source: Path, out: Path | None, job: Job) -> None:
        """Add the pictures of one input."""
        names = None if job.names is None else [n for n in sorted(job.names) if n in job.bucket]
        if names == []:  # an empty bucket, whose folder may not even exist
            return
        recursive = job.recursive or job.flat
        pictures = open_collection(source, flat=job.flat, recursive=recursive, lenient=True)
        self.problems += pictures.unusable
        if out is not None and source.is_dir() and out.resolve() == source.resolve():
            raise UserError(f"{out}: is the folder of the input pictures; choose another")
        inner = out if out is not None and source.is_dir() and _within(out, source) else None
        for file in filter(None, map(pictures.file, pictures.names)):
            if (identity := _identity(file)) is None:
                continue
            below = inner is not None and _within(file, inner)
            marked = below and _is_marked(file)
            if marked or (below and file.suffix.lower() != ".png"):  # only PNG holds our mark
                self._results[identity] = file
            if not marked:
                self._inputs[identity] = file
        for name in names or [n for n in pictures.names if n in job.bucket]:
            if name not in pictures.members:
                self.problems.append(PictureError(f"{source}: has no picture {name}"))
                continue
            label, target = pictures.label(name), _target(source, name, out, job)
            self.tasks.append(Task(pictures, name, label, pictures.file(name), target))

    def check(self, out: Path | None, overwrite: bool) -> None:
        """Drop earlier results and repeated inputs, and refuse targets that must not be written."""
        if out is None:
            targets = {task.target for task in self.tasks}
            for task in self.tasks:  # marked inputs that are outputs of this very call
                identity, file = _identity(task.file), task.file
                if identity and file and _beside(file, file.name) in targets and _is_marked(file):
                    self._results[identity] = file
                    self._inputs.pop(identity, None)
        tasks: dict[Path, Task] = {}
        seen: set[tuple[object, Path]] = set()
        for task in self.tasks:
            identity, there = _identity(task.file), _identity(task.target)
            key = identity or (str(task.pictures.path), task.name), task.target
            if identity in self._results or key in seen:
                continue
            seen.add(key)
            if there in self._inputs and there == identity:
                problem = f"{task.target}: is the picture itself; choose another name or folder"
            elif there in self._inputs and (overwrite or there not in self._results):
                problem = (
                    f"{task.label}: would replace {task.target}, which may be an original; "
                    "choose another folder"
                )
            elif task.target == out and tasks:
                raise UserError(f"{out}: cannot hold several pictures; choose a folder")
            elif task.target in tasks:
                other = f"already the output of {tasks[task.target].label}"
                problem = f"{task.label}: {task.target} is {other}; rename one"
            else:
                tasks[task.target] = task
                continue
            self.problems.append(PictureError(problem))
        self.tasks = list(tasks.values())
        if self._results:
            number, first = len(self._results), next(iter(self._results.values()))
            more = f" and {number - 1} more" if number > 1 else ""
            png = first.suffix.lower() == ".png"
            unmarked = "" if png else " (only PNG can be marked as liif's)"
            log(
                f"skipped, since they look like results of an earlier call: {first}{more}{unmarked}"
            )


def plan(inputs: Iterable[Path], out: Path | None, job: Job) -> Plan:
    """Find the pictures and their output files; one unusable input affects no other.

    Files that exist are skipped later, or replaced with `overwrite`. No input picture is written
    over, by whatever name. Pictures with our mark are not upscaled again where this call puts its
    own.
    """
    if out is not None:
        require_place(out)
    found = Plan()
    for source in inputs:
        try:
            found.add(source, out, job)
        except UserError as error:
            found.problems.append(error)
        except OSError as error:
            found.problems.append(UserError(f"{source}: cannot be read: {error.strerror or error}"))
    found.check(out, job.overwrite)
    folders = {task.target.parent for task in found.tasks}
    if out is not None and found.tasks:
        folders = {out.parent if is_picture(out) else out}
    if len(folders) == 1:  # of several, some may be writable
        require_writable(*folders)
    return found


def _identity(path: Path | None) -> _Identity | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:  # no such file
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _is_marked(path: Path) -> bool:
    try:
        return TAG in png_text(path)
    except OSError:
        return False


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _target(source: Path, name: str, out: Path | None, job: Job) -> Path:
    """The output file of a picture."""
    inner = name if job.flat else str(PurePosixPath(name).with_suffix(""))
    if out is not None:
        return out if is_picture(out) else out / f"{inner}{job.suffix}"
    if source.name in ("", ".."):  # the name of the folder that it stands for
        source = source.resolve()
    base = source.name if source.is_dir() else source.stem
    beside = _beside(source, f"{base}_{job.size.label}")
    if is_picture(source):
        return beside.with_name(f"{beside.name}{job.suffix}")
    return beside / f"{inner}{job.suffix}"


def _beside(path: Path, name: str) -> Path:
    """A file of that name beside `path`, which may be a link: beside the link, not its target."""
    return path.parent.resolve() / name


def is_picture(path: Path) -> bool:
    """Whether the path names a picture, and not a folder of such a name."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir()


def require_place(out: Path) -> None:
    """Refuse what is neither a possible folder nor a picture that can be written."""
    if out.is_dir():
        return
    endings, suffix = " ".join(FORMATS), out.suffix.lower()
    if str(out) == "-":
        raise UserError("-: pictures are not written to standard output; choose a file or folder")
    if suffix in PICTURE_SUFFIXES or suffix in Image.registered_extensions():
        format_of(out)
    elif out.exists() and not out.is_dir():  # another process may just have made it
        raise UserError(f"{out}: is a file; choose a folder, or a picture's name ({endings})")
    elif suffix in _NO_FOLDERS or any(_KNOWN.guess_type(out.name)):
        raise UserError(
            f"{out}: is neither a folder nor a picture that can be written ({endings}); to use "
            "it as a folder, create it first"
        )


def parse_format(text: str, out: Path | None = None) -> str:
    """The file suffix of a format by name."""
    suffix = f".{text.lower().lstrip('.')}"
    if suffix not in FORMATS:
        raise UserError(f"format `{text}` is not one of {', '.join(s[1:] for s in FORMATS)}")
    named = FORMATS.get(out.suffix.lower()) if out is not None and is_picture(out) else None
    if named is not None and named != FORMATS[suffix]:
        raise UserError(f"{out}: its suffix says {named}, --format says {text}")
    return suffix
