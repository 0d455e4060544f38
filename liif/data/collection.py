"""Sets of pictures: a folder or an archive, read by name and never unpacked."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
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
        The name is the file's without folder and ending; otherwise its whole path in the set.
    recursive
        Whether folders within a folder belong to it.
    lenient
        A file whose name is no text is put into `unusable`, and the others are there all the same.

    Raises
    ------
    UserError
        There is no such folder or archive, no picture in it, or a name twice.
    """

    _takes_hidden = False
    """Whether files with a dot before their name count."""

    def __init__(
        self, path: Path, *, flat: bool = True, recursive: bool = True, lenient: bool = False
    ) -> None:
        self.path, self.recursive = path, recursive
        self.unusable: list[PictureError] = []
        self._members: dict[str, str] = {}
        self._sizes = self._list()
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
            hint = "" if recursive else "; --recursive looks into folders within"
            raise UserError(f"{path}: has no pictures ({' '.join(sorted(PICTURE_SUFFIXES))}){hint}")

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._members)

    def has(self, name: str) -> bool:
        """Whether there is a picture of that name."""
        return name in self._members

    def read(self, name: str) -> RGB8:
        """The pixels (H, W, 3) in 0..255 of a picture, without transparency."""
        return read_picture(BytesIO(self.data(name)), self.label(name)).rgb

    def digest(self, name: str) -> str:
        """The sha256 of a picture's file."""
        return sha256(self.data(name)).hexdigest()

    def label(self, name: str) -> str:
        """What to call a picture in a message."""
        return f"{self.path}/{printable(self._members[name])}"

    def file(self, name: str) -> Path | None:
        """Where a picture lies; None within an archive."""
        return None

    def data(self, name: str) -> bytes:
        """The file of a picture."""
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
    def _list(self) -> dict[str, int]:
        """All files, as paths within the set, with their (unpacked) size in bytes.

        No link in an archive is one of them. A name that is there twice is refused.
        """

    @abstractmethod
    def _data(self, member: str) -> bytes: ...


class _Archive(Collection):
    def _once(self, members: list[tuple[str, int]]) -> dict[str, int]:
        """Refuse a member that is there twice: readers do not agree which one counts."""
        sizes: dict[str, int] = {}
        for member, size in members:
            if member in sizes:
                raise UserError(f"{self.path}: holds {printable(member)} twice; make it anew")
            sizes[member] = size
        return sizes


class Folder(Collection):
    """Pictures in a folder, and in the folders within it."""

    def _list(self) -> dict[str, int]:
        files = self.path.rglob("*") if self.recursive else self.path.iterdir()
        found = [p for p in files if p.is_file()]
        return {p.relative_to(self.path).as_posix(): p.stat().st_size for p in found}

    def _data(self, member: str) -> bytes:
        return (self.path / member).read_bytes()

    def file(self, name: str) -> Path | None:
        """Where a picture lies."""
        return self.path / self._members[name] if name in self._members else None


class OneFile(Collection):
    """A single picture; also a hidden one, since it was named."""

    _takes_hidden = True

    def _list(self) -> dict[str, int]:
        return {self.path.name: self.path.stat().st_size}

    def _data(self, member: str) -> bytes:
        return self.path.read_bytes()

    def label(self, name: str) -> str:
        """What to call the picture in a message."""
        return printable(self.path)

    def file(self, name: str) -> Path | None:
        """Where the picture lies."""
        return self.path


class ZipArchive(_Archive):
    """Pictures in a zip archive; links in it are not followed."""

    def _list(self) -> dict[str, int]:
        with zipfile.ZipFile(self.path) as archive:
            files = [i for i in archive.infolist() if not i.is_dir()]
        kept = [i for i in files if not stat.S_ISLNK(i.external_attr >> 16)]
        return self._once([(i.filename, i.file_size) for i in kept])

    def _data(self, member: str) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(member)


class TarArchive(_Archive):
    """Pictures in a tar archive; links and devices in it are not followed."""

    def _list(self) -> dict[str, int]:
        try:
            archive = tarfile.open(self.path, "r:")  # noqa: SIM115 (closed below)
        except tarfile.ReadError:
            raise UserError(
                f"{self.path}: a compressed tar archive cannot be read picture by picture; "
                "unpack it, or make it a zip archive"
            ) from None
        with archive:
            return self._once([(m.name, m.size) for m in archive if m.isfile()])

    def _data(self, member: str) -> bytes:
        with tarfile.open(self.path, "r:") as archive:
            file = archive.extractfile(member)
            assert file is not None  # only plain files are listed
            return file.read()


def open_collection(
    path: Path, *, flat: bool = True, recursive: bool = True, lenient: bool = False
) -> Collection:
    """The pictures of a folder, a zip or a tar archive; or a picture alone."""
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
