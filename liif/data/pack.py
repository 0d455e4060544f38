"""Pack: photographs → one memory-mapped file of pixels, from which a patch reads only its crop.

A pack is a safetensors file with one uint8 tensor (H, W, 3) per photograph, by name. Its metadata
hold the fingerprint of the pixels, which is the same whether they came from a folder or an archive.
"""

from __future__ import annotations

import json
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from liif.data.collection import open_collection
from liif.data.div2k import ARCHIVES
from liif.data.versions import CACHE, fingerprint
from liif.images.pixels import RGB8
from liif.system.errors import UserError
from liif.system.files import atomic_write
from liif.system.progress import Progress, log
from liif.system.project import project


class Entry(NamedTuple):
    """A photograph in a pack."""

    name: str
    height: int
    width: int
    offset: int
    """Offset of its first byte in the file."""


class Pack:
    """A packed set of photographs, open for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = json.loads(file.metadata()["liif"])
                end = path.stat().st_size  # the pixels fill the file to its end, without gaps
                for name in reversed(file.offset_keys()):
                    height, width, _ = file.get_slice(name).get_shape()
                    end -= height * width * 3
                    self.entries.append(Entry(name, height, width, end))
            self.fingerprint: str = metadata["pack"]
            """Hash of all names and pixels."""
            self.data_version: str | None = metadata.get("data_version")
            """Version of the project's data when it was packed, if DVC versions it."""
            if not all(e.height and e.width for e in self.entries) or not self.entries:
                raise ValueError("no pixels")
        except FileNotFoundError:
            raise UserError(f"{path}: no such pack") from None
        except (OSError, SafetensorError, LookupError, ValueError, TypeError) as error:
            raise UserError(f"{path}: is not a pack of photographs; rebuild it ({error})") from None
        self.entries.sort()
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self.entries)

    def __reduce__(self) -> tuple[type[Pack], tuple[Path]]:
        # Another process maps the file itself instead of being sent all pixels.
        return Pack, (self.path,)

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


def pack(source: Path, out: Path, *, data_version: str | None = None) -> Pack:
    """Pack a folder or an archive of photographs, atomically.

    `data_version` is stored with the pixels, for the provenance of what is made from them.
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
    archive = ARCHIVES.get(source.stem) if source.is_file() else None
    # Gigabytes, whose hash is usually known already.
    if archive and fingerprint(source, project() / CACHE, store=False) != archive.sha256:
        log(
            f"{source}: is not the archive that DIV2K publishes (its checksum differs); "
            "it is recorded as a version of your own"
        )
    return Pack(out)
