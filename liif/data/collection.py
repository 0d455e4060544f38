"""Collections of pictures: a folder or an archive, read by name and never unpacked."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from hashlib import sha256
from io import BytesIO
from pathlib import Path, PurePosixPath

from liif.images.pixels import RGB8
from liif.images.read import (
    MAX_PIXELS_VARIABLE,
    PICTURE_SUFFIXES,
    max_bytes,
    max_pixels,
    read_picture,
)
from liif.system.errors import PictureError, UserError, printable

_DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError)
"""What reading a damaged archive raises."""


class Collection(ABC):
    """Pictures by name.

    Parameters
    ----------
    flat
        A picture's name is its file's without folder and suffix; otherwise the whole path within
        the collection.
    recursive
        Whether to look into subfolders.
    lenient
        Collect files whose names are not UTF-8 in `unusable` instead of raising an error.

    Raises
    ------
    UserError
        No such folder or archive, no picture in it, or two of the same name.
    """

    _takes_hidden = False

    def __init__(
        self, path: Path, *, flat: bool = True, recursive: bool = True, lenient: bool = False
    ) -> None:
        self.path, self.recursive = path, recursive
        self.unusable: list[PictureError] = []
        self._members: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        for member, size in self._list():
            if member in self._sizes:  # readers do not agree which one counts
                raise UserError(f"{path}: holds {printable(member)} twice; make it anew")
            self._sizes[member] = size
        for member in sorted(self._sizes):
            parts = PurePosixPath(member)
            if parts.is_absolute() or ".." in parts.parts:
                raise UserError(
                    f"{path}: {printable(member)} leads out of the archive; make it anew"
                )
            hidden = any(p.startswith(".") or p == "__MACOSX" for p in parts.parts)
            if (hidden and not self._takes_hidden) or parts.suffix.lower() not in PICTURE_SUFFIXES:
                continue
            try:
                member.encode()
            except UnicodeEncodeError:
                self.unusable.append(
                    PictureError(f"{path}: a file name is not UTF-8: {member!r}; rename it")
                )
                if not lenient:
                    raise self.unusable[-1] from None
                continue
            name = parts.stem if flat else member
            if name in self._members:
                both = f"{printable(self._members[name])} and {printable(member)}"
                raise UserError(f"{path}: {both} have the same name; rename one")
            self._members[name] = member
        if not self._members and not self.unusable:
            hint = "" if recursive else "; --recursive looks into subfolders"
            raise UserError(f"{path}: has no pictures ({' '.join(sorted(PICTURE_SUFFIXES))}){hint}")

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._members)

    def has(self, name: str) -> bool:
        """Whether there is a picture of that name."""
        return name in self._members

    def read(self, name: str) -> RGB8:
        """The pixels (H, W, 3) of a picture in 0..255, without transparency."""
        return read_picture(BytesIO(self.data(name)), self.label(name)).rgb

    def digest(self, name: str) -> str:
        """The sha256 of a picture's file."""
        return sha256(self.data(name)).hexdigest()

    def label(self, name: str) -> str:
        """The picture's name in messages."""
        return f"{self.path}/{printable(self._members[name])}"

    def file(self, name: str) -> Path | None:
        """The picture's path; None within an archive."""
        return None

    def data(self, name: str) -> bytes:
        """The bytes of a picture's file."""
        if name not in self._members:
            raise PictureError(f"{self.path}: has no picture {name}")
        member = self._members[name]
        try:
            size, limit = self._sizes[member], max_bytes()
            if size > limit:
                raise PictureError(
                    f"{self.label(name)}: is {size / 1e9:.1f} GB large, too much for a picture of "
                    f"at most {max_pixels():,} pixels; if it is meant, set {MAX_PIXELS_VARIABLE}"
                )
            return self._data(member)
        except (*_DAMAGE, RuntimeError, NotImplementedError) as error:  # encrypted, unknown method
            raise PictureError(f"{self.label(name)}: cannot be read: {error}") from None

    @abstractmethod
    def _list(self) -> Iterable[tuple[str, int]]:
        """Paths within the collection and (unpacked) sizes of all files; no links in archives."""

    @abstractmethod
    def _data(self, member: str) -> bytes: ...


class Folder(Collection):
    """Pictures in a folder and its subfolders."""

    def _list(self) -> Iterable[tuple[str, int]]:
        for path in self.path.rglob("*") if self.recursive else self.path.iterdir():
            if path.is_file():
                yield path.relative_to(self.path).as_posix(), path.stat().st_size

    def _data(self, member: str) -> bytes:
        return (self.path / member).read_bytes()

    def file(self, name: str) -> Path | None:
        """See `Collection.file`."""
        return self.path / self._members[name] if name in self._members else None


class OneFile(Collection):
    """A single picture; hidden ones count, since they were named."""

    _takes_hidden = True

    def _list(self) -> Iterable[tuple[str, int]]:
        return [(self.path.name, self.path.stat().st_size)]

    def _data(self, member: str) -> bytes:
        return self.path.read_bytes()

    def label(self, name: str) -> str:
        """See `Collection.label`."""
        return printable(self.path)

    def file(self, name: str) -> Path | None:
        """See `Collection.file`."""
        return self.path


class ZipArchive(Collection):
    """Pictures in a zip archive."""

    def _list(self) -> Iterable[tuple[str, int]]:
        with zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16):
                    yield info.filename, info.file_size

    def _data(self, member: str) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(member)


class TarArchive(Collection):
    """Pictures in an uncompressed tar archive."""

    def _list(self) -> Iterable[tuple[str, int]]:
        try:
            archive = tarfile.open(self.path, "r:")  # noqa: SIM115 (closed below)
        except tarfile.ReadError:
            raise UserError(
                f"{self.path}: a compressed tar archive cannot be read picture by picture; "
                "unpack it, or make it a zip archive"
            ) from None
        with archive:
            return [(m.name, m.size) for m in archive if m.isfile()]

    def _data(self, member: str) -> bytes:
        with tarfile.open(self.path, "r:") as archive:
            file = archive.extractfile(member)
            assert file is not None  # only plain files are listed
            return file.read()


def open_collection(
    path: Path, *, flat: bool = True, recursive: bool = True, lenient: bool = False
) -> Collection:
    """The pictures of a folder, a zip or a tar archive; or a single picture."""
    if path.is_dir():
        return Folder(path, flat=flat, recursive=recursive, lenient=lenient)
    if not path.exists():
        raise UserError(f"{path}: no such folder or archive of pictures")
    if not path.is_file():
        raise UserError(f"{path}: is neither a file nor a folder")
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return OneFile(path, flat=flat)
    try:
        if zipfile.is_zipfile(path):
            return ZipArchive(path, flat=flat, lenient=lenient)
        if tarfile.is_tarfile(path):
            return TarArchive(path, flat=flat, lenient=lenient)
    except _DAMAGE as error:
        raise UserError(f"{path}: is damaged or cut short ({error})") from None
    kinds = " ".join(sorted(PICTURE_SUFFIXES))
    raise UserError(
        f"{path}: is neither a picture ({kinds}) nor a folder, a zip or a tar archive "
        "(or was cut short)"
    )
