"""Packing: photographs → one memory-mapped file of pixels, so that a patch reads only its crop.

The file is a safetensors file with one uint8 tensor (H, W, 3) for each photograph, by name, so
that any reader of that format opens it. Its metadata hold the fingerprint of the pixels, which
is the same whether they came from a folder or an archive.
"""

from __future__ import annotations

import json
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from liif.data.collection import open_collection
from liif.data.div2k import ARCHIVES
from liif.images.pixels import RGB8
from liif.system.errors import UserError
from liif.system.files import atomic_write, file_sha256
from liif.system.progress import Progress, log

_WRONG = (ValueError, TypeError, AttributeError, MemoryError, RecursionError)
"""What JSON that is not of a pack raises."""


class Entry(NamedTuple):
    """A photograph in a pack."""

    name: str
    height: int
    width: int
    offset: int
    """Of its first byte in the file."""


class Pack:
    """A packed set of photographs, open for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(length))
            metadata = json.loads(header.pop("__metadata__")["liif"])
            self.fingerprint: str = metadata["pack"]
            """Hash of all names and pixels."""
            self.data_version: str | None = metadata.get("data_version")
            """Of the project's data when it was packed, where DVC keeps versions."""
            self.entries = [
                Entry(
                    name,
                    int(value["shape"][0]),
                    int(value["shape"][1]),
                    8 + length + int(value["data_offsets"][0]),
                )
                for name, value in sorted(header.items())
            ]
            last = max(e.offset + e.height * e.width * 3 for e in self.entries)
            if min(min(e.height, e.width, e.offset - 8 - length + 1) for e in self.entries) < 1:
                raise ValueError("no photograph has such a size or place")
        except FileNotFoundError:
            raise UserError(f"{path}: no such pack") from None
        except (OSError, struct.error, LookupError, ArithmeticError, *_WRONG):
            raise UserError(f"{path}: is no pack of photographs; make it anew") from None
        if path.stat().st_size < last:
            raise UserError(f"{path}: is cut short; delete it and run the same again")
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self.entries)

    def __getstate__(self) -> Path:
        # Another process maps the file itself instead of being sent all pixels.
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)  # type: ignore[misc]

    def photograph(self, index: int) -> RGB8:
        """All pixels (H, W, 3) of a photograph, mapped and not yet read."""
        entry = self.entries[index]
        pixels = self._bytes[entry.offset : entry.offset + entry.height * entry.width * 3]
        return pixels.reshape(entry.height, entry.width, 3)

    def require(self, side: int, reason: str) -> None:
        """Refuse photographs smaller than a square of that side, naming the first."""
        for entry in self.entries:
            if min(entry.height, entry.width) < side:
                raise UserError(
                    f"{self.path}: photograph {entry.name} ({entry.height}×{entry.width}) is "
                    f"smaller than {reason} ({side}×{side}); remove it or lower that"
                )


def is_pack(path: Path) -> bool:
    """Whether the path is named as packs are."""
    return path.suffix == ".pack"


def pack(source: Path, out: Path, *, data_version: str | None = None) -> Pack:
    """Pack a folder or an archive of photographs, whole or not at all.

    `data_version` is kept with it, for what is made from the photographs.

    Raises
    ------
    UserError
        An unreadable source or picture, or a full disk.
    """
    pictures = open_collection(source)
    names = pictures.names
    # Room for the header, which is only known at the end; the format allows spaces after it.
    room = 512 + sum(len(name.encode()) * 6 + 120 for name in names)
    room += -room % 8
    header: dict[str, Any] = {}
    digest = sha256()
    progress = Progress(f"packing {source}", len(names), unit="photographs")
    with atomic_write(out) as part, part.open("wb") as file:
        file.seek(8 + room)
        offset = 0
        for name in names:
            pixels = np.ascontiguousarray(pictures.read(name))
            data = pixels.tobytes()
            file.write(data)
            span = [offset, offset + len(data)]
            header[name] = {"dtype": "U8", "shape": list(pixels.shape), "data_offsets": span}
            digest.update(f"{name}\0{pixels.shape}\0".encode() + sha256(data).digest())
            offset += len(data)
            progress.advance()
        metadata = {"pack": digest.hexdigest()}
        if data_version is not None:
            metadata["data_version"] = data_version
        header["__metadata__"] = {"liif": json.dumps(metadata)}
        text = json.dumps(header).encode()
        assert len(text) <= room
        file.seek(0)
        file.write(struct.pack("<Q", room) + text.ljust(room))
    _note_version(source)
    return Pack(out)


def _note_version(source: Path) -> None:
    """Say when an archive with DIV2K's name is another one than the published."""
    archive = ARCHIVES.get(source.stem)
    if archive is not None and source.is_file() and file_sha256(source) != archive.sha256:
        log(
            f"{source}: is not the archive that DIV2K publishes (its checksum differs); "
            "it is taken as a version of your own"
        )
