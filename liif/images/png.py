"""PNG: its chunks, its texts, and writing it with any depth and metadata."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo, putchunk

from liif.images.metadata import Metadata
from liif.images.pixels import RGB8, Pixels, to_image
from liif.system.files import atomic_write

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = 33
"""Bytes of the signature and the first chunk, IHDR."""
_COLOURS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
"""Chunks that define the colours of the values, of at most 32 bytes (cHRM)."""


def _chunks(file: BinaryIO | BytesIO) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each whole chunk before the pixels; none of any other file."""
    if file.read(8) != _SIGNATURE:
        return
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        (length,) = struct.unpack(">I", head[:4])
        content = file.read(length)
        if len(content) < length:
            return
        yield head[4:], content
        file.seek(4, 1)  # over the checksum


def png_text(path: Path) -> dict[str, str]:
    """The text chunks before a PNG's pixels; empty for any other file."""
    with path.open("rb") as file:
        texts = [c.decode("latin-1") for name, c in _chunks(file) if name == b"tEXt"]
    return {key: value for key, _, value in (text.partition("\0") for text in texts)}


def png_colours(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The chunks of a PNG file that define the colours of its values: names and contents."""
    found = {n: c for n, c in _chunks(BytesIO(data)) if n in _COLOURS and len(c) <= 32}
    return tuple(found.items())


def write_png(path: Path, rgb: RGB8, *, text: dict[str, str] | None = None) -> None:
    """Write an 8-bit PNG with text chunks, atomically."""
    with atomic_write(path) as part, part.open("wb") as file:
        encode(file, rgb, Metadata(text=text or {}))


def encode(file: BinaryIO | BytesIO, pixels: Pixels, metadata: Metadata) -> None:
    """Write pixels (H, W, C), uint8 or uint16, as PNG."""
    if pixels.dtype == np.uint8:
        to_image(pixels).save(file, format="PNG", **_options(metadata))
        return
    from imagecodecs import png_encode

    # Pillow writes no 16-bit RGB and imagecodecs no metadata: pixels by one, chunks by the other.
    pixel = BytesIO()
    image = Image.new("L" if pixels.shape[2] <= 2 else "RGB", (1, 1))
    image.save(pixel, format="PNG", **_options(metadata))
    pixel.seek(0)
    data = png_encode(np.ascontiguousarray(pixels if pixels.shape[2] > 1 else pixels[..., 0]))
    file.write(data[:_HEAD])
    for name, content in _chunks(pixel):
        if name != b"IHDR":
            putchunk(file, name, content)
    file.write(data[_HEAD:])


def _options(metadata: Metadata) -> dict[str, Any]:
    info = PngInfo()
    for name, content in metadata.png:
        info.add(name, content)
    for key, value in metadata.text.items():
        info.add_text(key, value)
    if metadata.xmp is not None:
        info.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", errors="replace"))
    # Without an empty EXIF, equal pictures are equal bytes.
    options = {"icc_profile": metadata.icc, "exif": metadata.exif, "dpi": metadata.dpi}
    return {"pnginfo": info} | {k: v for k, v in options.items() if v is not None}
