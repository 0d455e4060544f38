"""Debian packages: reading files out of a .deb, without installing or executing anything."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

from liif.system.errors import UserError

_MAGIC = b"!<arch>\n"
_HEAD = 60
"""Bytes of the header before each member of an ar archive."""
_DAMAGE = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError)
"""Errors that a damaged archive raises."""


def read_deb(path: Path, files: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """These files of a package with their contents, in the package's order.

    Raises
    ------
    UserError
        The package is damaged, or does not hold all of them.
    """
    missing = set(files)
    try:
        with tarfile.open(fileobj=BytesIO(_data(path.read_bytes())), mode="r|*") as tar:
            for info in tar:
                name = info.name.removeprefix("./")
                if name in missing and (content := tar.extractfile(info)) is not None:
                    missing.remove(name)
                    yield name, content.read()
                if not missing:
                    return
    except _DAMAGE as error:
        raise UserError(f"{path}: is damaged or truncated ({error}); download it again") from None
    raise UserError(f"{path}: has no {min(missing)}; download Debian 12's package")


def _data(deb: bytes) -> bytes:
    """The tar archive of a package's files: data.tar.xz, .gz, or .zst, which is decompressed."""
    if not deb.startswith(_MAGIC):
        raise ValueError("no Debian package")
    start = len(_MAGIC)
    while len(head := deb[start : start + _HEAD]) == _HEAD:
        name, size = head[:16].decode("ascii").strip().rstrip("/"), int(head[48:58])
        content = deb[start + _HEAD : start + _HEAD + size]
        if name.startswith("data.tar") and len(content) == size:
            return _unzstd(content) if name.endswith(".zst") else content
        start += _HEAD + size + size % 2
    raise ValueError("its data.tar is missing")


def _unzstd(content: bytes) -> bytes:
    """Python itself reads no zstd before 3.14."""
    from imagecodecs import ZstdError, zstd_decode

    try:
        return bytes(zstd_decode(content))
    except ZstdError as error:
        raise ValueError(error) from None
