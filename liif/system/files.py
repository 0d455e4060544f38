"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from liif.system.errors import UserError
from liif.system.locks import claim

_DENIED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
    errno.ENAMETOOLONG,
}
_LONGEST_NAME = 250
"""Bytes of a temporary file's name; common file systems allow 255, and `.lock` is appended."""


class DiskFull(UserError):
    """The disk is full, so that writing further files is useless."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an error.

    Whatever goes wrong, `path` is unchanged or complete. A lock beside it refuses a second writer.
    """
    # One name for each file, so that the next writer replaces what a killed one left. It keeps the
    # suffix, by which some writers choose the format.
    part, owned = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with claim(owned) as is_mine:
            if not is_mine:
                raise UserError(f"{path}: is being written by another process; wait for it")
            try:
                yield part
                with part.open("rb+") as file:  # Windows flushes no file open for reading alone
                    os.fsync(file.fileno())
                # Some writers make files that only their owner can read.
                part.chmod(owned.stat().st_mode & 0o777)
                part.replace(path)
            except BaseException:
                with suppress(OSError):
                    part.unlink()
                raise
    except OSError as error:
        raise cannot_write(path, error) from None


def remove_stale_lock(path: Path) -> None:
    """Remove the lock that `atomic_write` left if it was killed just after the file was complete.

    For files that are skipped because they are there; for others the next writer does so.
    """
    owned = _temporary(path)[1]
    if owned.exists():
        with claim(owned):
            pass


def _temporary(path: Path) -> tuple[Path, Path]:
    """The unfinished file, and its lock."""
    name = f".{path.stem}.part{path.suffix}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{sha256(os.fsencode(path.name)).hexdigest()[:32]}.part{path.suffix}"
    return path.with_name(name), path.with_name(f"{name}.lock")


def cannot_write(path: Path, error: OSError) -> Exception:
    """The error to raise when writing failed; one line if the disk is the reason."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{path}: the disk is full; make room and run it again")
    if error.errno in _DENIED:
        return UserError(f"{path}: cannot be written: {error.strerror}")
    return error


def require_writable(*places: Path | None) -> None:
    """Refuse, before any work, files or folders whose nearest existing folder takes no file."""
    for place in filter(None, places):
        folder = place.absolute()
        try:
            while not folder.is_dir() and folder != folder.parent:
                folder = folder.parent
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            within = "" if folder == place.absolute() else f" in {folder}"
            raise UserError(
                f"{place}: cannot be written{within}: {error.strerror}; "
                "choose another place, or make this one writable"
            ) from None


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file; equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
