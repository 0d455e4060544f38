"""What a call to enlarge pictures makes from what, decided before anything is made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from liif.data import manifests as buckets
from liif.data.collection import Collection, open_collection
from liif.data.manifests import Bucket
from liif.images.png import png_text
from liif.inference.places import counted, is_picture, require_place
from liif.system.errors import PictureError, UserError
from liif.system.progress import log


class Task(NamedTuple):
    """A picture, and where it goes."""

    pictures: Collection
    name: str
    target: Path

    @property
    def label(self) -> str:
        """What to call the picture in a message."""
        return self.pictures.label(self.name)

    @property
    def file(self) -> Path | None:
        """Where the picture lies; None within an archive."""
        return self.pictures.file(self.name)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which pictures are asked for, and how the new files are called."""

    label: str
    """What the new names say of the size, as x8."""
    suffix: str
    """Ending of pictures whose file is not named in full."""
    recursive: bool = False
    flat: bool = False
    overwrite: bool = False
    bucket: Bucket = buckets.EVERYTHING
    names: Iterable[str] | None = None


@dataclass
class Plan:
    """What is to be made, and what cannot be."""

    tasks: list[Task] = field(default_factory=list)
    problems: list[PictureError] = field(default_factory=list)
    """Of inputs that give no pictures, and of single pictures."""


def plan(inputs: Iterable[Path], out: Path | None, wanted: Wanted) -> Plan:
    """Find the pictures, and where each goes; what is wrong with one input keeps no other.

    No target is a picture that was given, by whatever name: nobody's originals are replaced.
    What carries our mark and lies where this call puts a picture was made by an earlier call,
    and is no input.

    Raises
    ------
    UserError
        Nothing at all can go to `out`.
    """
    if out is not None:
        require_place(out)
    found = _Found(out, wanted)
    for source in inputs:
        try:
            found.add(source)
        except UserError as error:
            found.plan.problems.append(PictureError(str(error)))
        except OSError as error:
            reason = error.strerror or error
            found.plan.problems.append(PictureError(f"{source}: cannot be read: {reason}"))
    return found.checked()


class _Found:
    """Inputs as they are gone through."""

    def __init__(self, out: Path | None, wanted: Wanted) -> None:
        self.out, self.wanted = out, wanted
        self.plan = Plan()
        self._originals: dict[_Identity, Path] = {}
        self._unmarked: dict[_Identity, Path] = {}
        """Below `out`, of formats that hold no mark: made by an earlier call, or not."""
        self._seen: set[tuple[object, Path]] = set()

    def add(self, source: Path) -> None:
        """Take up the pictures of an input."""
        w = self.wanted
        names = None if w.names is None else [n for n in sorted(w.names) if n in w.bucket]
        if names == []:  # an empty bucket, whose folder may not even exist
            return
        pictures = open_collection(
            source, flat=w.flat, recursive=w.recursive or w.flat, lenient=True
        )
        self.plan.problems += pictures.unusable
        # Asked once, since resolving each of many pictures takes longer than all the rest.
        inside = self.out is not None and source.is_dir() and _within(self.out, source)
        results = {n for n in pictures.names if not self._is_original(pictures.file(n), inside)}
        if self.out is not None and source.is_dir() and self.out.resolve() == source.resolve():
            raise UserError(f"{self.out}: is the folder that the pictures come from; give another")
        for name in names or [n for n in pictures.names if n in w.bucket]:
            if name in results:
                continue
            if not pictures.has(name):
                self.plan.problems.append(PictureError(f"{source}: has no picture {name}"))
                continue
            task = Task(pictures, name, _target(source, name, self.out, w))
            key = _identity(task.file) or (str(source), name), task.target
            if key not in self._seen:  # the same picture twice is one
                self._seen.add(key)
                self.plan.tasks.append(task)

    def _is_original(self, file: Path | None, inside: bool) -> bool:
        """Whether a picture was not made by an earlier call; remembered as what is not replaced.

        `inside` is whether results go somewhere within the folder that it is of.
        """
        identity = _identity(file)
        if file is None or identity is None:
            return True
        below = inside and self.out is not None and _within(file, self.out)
        if below and file.suffix.lower() != ".png":
            self._unmarked[identity] = file
            return False
        if below and _is_ours(file):
            return False
        self._originals[identity] = file
        return True

    def checked(self) -> Plan:
        """The plan without what an earlier call made, and without what would replace a picture."""
        tasks = self._without_results()
        if self._unmarked:
            log(
                f"{counted(len(self._unmarked), 'picture')} within {self.out} not marked as liif's "
                "(only PNG is): taken for made by an earlier call, and not enlarged"
            )
        kept = []
        for task in tasks:
            try:
                self._require_no_original(task)
            except PictureError as error:
                self.plan.problems.append(error)
            else:
                kept.append(task)
        return Plan(kept, self.plan.problems)

    def _without_results(self) -> list[Task]:
        """Leave out what an earlier call put beside another input, as `*.png` finds it again."""
        if self.out is not None:
            return self.plan.tasks
        targets = {task.target: task for task in self.plan.tasks}
        kept, left = [], []
        for task in self.plan.tasks:
            file = task.file
            if file is not None and file.resolve() in targets and _is_ours(file):
                left.append(task)
                identity = _identity(file)
                assert identity is not None  # it has just been read
                self._originals.pop(identity, None)
            else:
                kept.append(task)
        if left:
            first = left[0]
            assert first.file is not None
            others = f" and {counted(len(left) - 1, 'other')} like it" if len(left) > 1 else ""
            made = targets[first.file.resolve()].label
            are = "are" if others else "is"
            log(f"{first.label}{others} {are} left out: made from {made} by an earlier call")
        return kept

    def _require_no_original(self, task: Task) -> None:
        identity = _identity(task.target)
        if identity is None:
            return
        if identity in self._originals:
            if identity == _identity(task.file):
                raise PictureError(
                    f"{task.target}: is the picture itself; give another name or folder"
                )
            raise PictureError(
                f"{task.label}: would replace {task.target}, which is to be enlarged itself; "
                "give another folder"
            )
        if identity in self._unmarked and self.wanted.overwrite:
            raise PictureError(
                f"{task.label}: {task.target} may be a picture of yours, since it lies in "
                f"{task.pictures.path}, and only PNG tells what liif made; give a folder elsewhere"
            )


_Identity = tuple[int, int]
"""Device and number of a file: the same by all its names."""


def _identity(path: Path | None) -> _Identity | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:  # there is none
        return None
    return found.st_dev, found.st_ino


def _is_ours(path: Path) -> bool:
    try:
        return buckets.TAG in png_text(path)
    except OSError:
        return False


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _target(source: Path, name: str, out: Path | None, wanted: Wanted) -> Path:
    """Where the enlarged picture goes."""
    inner = name if wanted.flat else str(PurePosixPath(name).with_suffix(""))
    if out is not None:
        return out if is_picture(out) else out / f"{inner}{wanted.suffix}"
    source = source.resolve()
    if is_picture(source):
        return source.with_name(f"{source.stem}_{wanted.label}{wanted.suffix}")
    base = source.name if source.is_dir() else source.stem
    return source.with_name(f"{base}_{wanted.label}") / f"{inner}{wanted.suffix}"


def common_place(tasks: list[Task], out: Path | None) -> str:
    """Where the pictures went, where that is one place."""
    if out is not None:
        return str(out)
    if len(tasks) == 1:
        return str(tasks[0].target)
    folders: Iterator[str] = (str(task.target.parent) for task in tasks)
    sets = {task.pictures.path for task in tasks}
    if len(sets) == 1:
        return os.path.commonpath(folders)
    one = set(folders)
    return one.pop() if len(one) == 1 else ""
