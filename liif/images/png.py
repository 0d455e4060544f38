"""PNG chunks: text, and what they say of colours."""

from __future__ import annotations

import struct
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from liif.images.pixels import RGB8
from liif.system.files import atomic_write


def write_png(path: Path, rgb: RGB8, *, text: dict[str, str] | None = None) -> None:
    """Write an 8-bit PNG whole or not at all, with text chunks."""
    info = PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    with atomic_write(path) as part:
        Image.fromarray(rgb).save(part, format="PNG", pnginfo=info)


def png_text(path: Path) -> dict[str, str]:
    """The text before a PNG's pixels, without reading those; nothing of any other file."""
    text: dict[str, str] = {}
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return text
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            (length,) = struct.unpack(">I", head[:4])
            if head[4:] == b"tEXt":
                key, _, value = file.read(length).partition(b"\0")
                text[key.decode("latin-1")] = value.decode("latin-1")
                length = 0
            file.seek(length + 4, 1)  # over the checksum too
    return text
