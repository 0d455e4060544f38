"""One writer: a folder's lock that the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from liif.errors import UserError

_held: list[IO[str]] = []
"""Locks that are held until the process ends."""


@contextmanager
def lock(folder: Path, purpose: str) -> Iterator[None]:
    """Hold the folder's lock within a block.

    Raises
    ------
    UserError
        Another process holds it: at once, with that process's number.
    """
    with _taken(folder, purpose):
        yield


def hold(folder: Path, purpose: str) -> None:
    """Hold the folder's lock until the process ends; refused as `lock` is."""
    _held.append(_taken(folder, purpose))


def _taken(folder: Path, purpose: str) -> IO[str]:
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "liif.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise UserError(
            f"{folder}: {purpose} is running already (process {holder}); "
            "wait for it or stop it first"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
