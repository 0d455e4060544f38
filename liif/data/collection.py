"""Collections of pictures: a folder or an archive, read by name and never unpacked."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal

from liif.images.pixels import RGB8
from liif.images.read import (
    MAX_PIXELS_VARIABLE,
    PICTURE_SUFFIXES,
    max_bytes,
    max_pixels,
    read_picture,
)
from liif.system.errors import PictureError, UserError, printable

Kind = Literal["folder", "picture", "zip", "tar"]
_DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError)
"""Errors that reading a damaged archive raises."""


@dataclass(frozen=True, eq=False)
class Collection:
    """Pictures by name."""

    path: Path
    kind: Kind
    sizes: dict[str, int]
    """Unpacked bytes of all files, by path within the collection."""
    members: dict[str, str] = field(default_factory=dict)
    """Paths of the pictures within the collection, by name."""
    unusable: list[PictureError] = field(default_factory=list)
    """Files whose names are not UTF-8."""

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self.members)

    def read(self, name: str) -> RGB8:
        """The pixels (H, W, 3) of a picture in 0..255, without transparency."""
        return read_picture(BytesIO(self.data(name)), self.label(name)).rgb

    def digest(self, name: str) -> str:
        """The sha256 of a picture's file."""
        return sha256(self.data(name)).hexdigest()

    def label(self, name: str) -> str:
        """The picture's name in messages."""
        if self.kind == "picture":
            return printable(self.path)
        return f"{self.path}/{printable(self.members[name])}"

    def file(self, name: str) -> Path | None:
        """The picture's path; None within an archive."""
        if self.kind == "picture":
            return self.path
        return self.path / self.members[name] if self.kind == "folder" else None

    def data(self, name: str) -> bytes:
        """The bytes of a picture's file."""
        if name not in self.members:
            raise PictureError(f"{self.path}: has no picture {name}")
        member = self.members[name]
        size, limit = self.sizes[member], max_bytes()
        if size > limit:
            raise PictureError(
                f"{self.label(name)}: is {size / 1e9:.1f} GB large, too large for a picture of "
                f"at most {max_pixels():,} pixels; if intended, set {MAX_PIXELS_VARIABLE}"
            )
        try:
            if file := self.file(name):
                return file.read_bytes()
            if self.kind == "zip":
                with zipfile.ZipFile(self.path) as zipped:
                    return zipped.read(member)
            with _open_tar(self.path) as tarred:
                content = tarred.extractfile(member)
                assert content is not None  # only plain files are listed
                return content.read()
        except (*_DAMAGE, RuntimeError, NotImplementedError) as error:  # encrypted, unknown method
            raise PictureError(f"{self.label(name)}: cannot be read: {error}") from None


def open_collection(
    path: Path, *, flat: bool = True, recursive: bool = True, lenient: bool = False
) -> Collection:
    """The pictures of a folder, a zip or a tar archive; or a single picture.

    If flat, a picture's name is its file's without folder and suffix; otherwise the whole path
    within the collection. If lenient, files whose names are not UTF-8 are collected in `unusable`
    instead of raising an error.
    """
    kind, files = _files(path, recursive)
    pictures = Collection(path, kind, dict(files))
    for member, count in sorted(Counter(name for name, _ in files).items()):
        if count > 1:  # readers do not agree which one counts
            raise UserError(f"{path}: contains {printable(member)} twice; rebuild it")
        parts = PurePosixPath(member)
        if parts.is_absolute() or ".." in parts.parts:
            raise UserError(f"{path}: {printable(member)} points outside the archive; rebuild it")
        hidden = any(p.startswith(".") or p == "__MACOSX" for p in parts.parts)
        if (hidden and kind != "picture") or parts.suffix.lower() not in PICTURE_SUFFIXES:
            continue
        try:
            member.encode()
        except UnicodeEncodeError:
            error = PictureError(f"{path}: a file name is not UTF-8: {member!r}; rename it")
            if not lenient:
                raise error from None
            pictures.unusable.append(error)
            continue
        name = parts.stem if flat else member
        if name in pictures.members:
            both = f"{printable(pictures.members[name])} and {printable(member)}"
            raise UserError(f"{path}: {both} have the same name; rename one")
        pictures.members[name] = member
    if not pictures.members and not pictures.unusable:
        hint = "" if recursive or kind != "folder" else "; --recursive looks into subfolders"
        raise UserError(
            f"{path}: contains no pictures ({' '.join(sorted(PICTURE_SUFFIXES))}){hint}"
        )
    return pictures


def _files(path: Path, recursive: bool) -> tuple[Kind, list[tuple[str, int]]]:
    """The kind of a collection; paths within it and unpacked sizes of its files, without links."""
    if path.is_dir():
        found = [f for f in (path.rglob("*") if recursive else path.iterdir()) if f.is_file()]
        return "folder", [(f.relative_to(path).as_posix(), f.stat().st_size) for f in found]
    if not path.exists():
        raise UserError(f"{path}: no such folder or archive of pictures")
    if not path.is_file():
        raise UserError(f"{path}: is neither a file nor a folder")
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return "picture", [(path.name, path.stat().st_size)]
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                plain = [
                    i
                    for i in zipped.infolist()
                    if not i.is_dir() and not stat.S_ISLNK(i.external_attr >> 16)
                ]
            return "zip", [(info.filename, info.file_size) for info in plain]
        if tarfile.is_tarfile(path):
            with _open_tar(path) as tarred:
                return "tar", [(info.name, info.size) for info in tarred if info.isfile()]
    except _DAMAGE as error:
        raise UserError(f"{path}: is damaged or truncated ({error})") from None
    kinds = " ".join(sorted(PICTURE_SUFFIXES))
    raise UserError(
        f"{path}: is neither a picture ({kinds}) nor a folder, a zip or a tar archive "
        "(or was truncated)"
    )


def _open_tar(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:")
    except tarfile.ReadError:
        raise UserError(
            f"{path}: a compressed tar archive cannot be read picture by picture; "
            "unpack it, or make it a zip archive"
        ) from None
