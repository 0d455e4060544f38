"""Writing TIFF strip by strip, with profile, EXIF and XMP."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import TiffImagePlugin, TiffTags

from liif.images.channels import Band, Upscaled
from liif.images.metadata import Metadata
from liif.images.pixels import Pixels

_ROWS = 64
"""Of a file's strips."""
_SUB_DIRECTORIES = {0x8769: 0x8768, 0x8825: 0x8824}
"""EXIF's own directory and GPS's, and unused tags just before them: tifffile, which will not write
these, writes those, and they are renamed."""
_RESOLUTION = (256, 257, 282, 283, 296)
"""Tags that the writer of the pixels writes itself."""


def write(path: Path, picture: Upscaled) -> None:
    """In compressed strips, each written as soon as it is there; above 4 GB as BigTIFF."""
    import tifffile

    height, width, channels = picture.shape
    big = height * width * channels * picture.dtype.itemsize > 3_900_000_000
    m = picture.metadata
    # Without a resolution there is none: tifffile would write 1 pixel for each inch.
    options: dict[str, Any] = {"resolutionunit": "NONE"}
    if m.dpi is not None:
        options = {"resolution": m.dpi, "resolutionunit": "INCH"}
    directories = {} if big else _sub_directories(m)
    tifffile.imwrite(
        path,
        (_encoded(strip) for strip in _even(picture.bands)),
        shape=picture.shape if channels > 1 else (height, width),
        dtype=picture.dtype,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        rowsperstrip=min(_ROWS, height),
        compression="zlib",
        predictor=True,
        iccprofile=m.icc,
        bigtiff=big,
        byteorder="<",
        metadata=None,
        software=False,
        extratags=[*_tiff_tags(m), *((_SUB_DIRECTORIES[t], "I", 1, 0, True) for t in directories)],
        **options,
    )
    if directories:
        _append(path, directories)


def _even(strips: Iterator[Band]) -> Iterator[Pixels]:
    """Strips of the file's height, from such as the decoder makes."""
    waiting: list[Pixels] = []
    count = 0
    for _, strip in strips:
        waiting.append(strip)
        count += len(strip)
        if count >= _ROWS:
            together = np.concatenate(waiting)
            for top in range(0, count - count % _ROWS, _ROWS):
                yield together[top : top + _ROWS]
            waiting = [together[count - count % _ROWS :]]
            count %= _ROWS
    if count:
        yield np.concatenate(waiting)


def _encoded(strip: Pixels) -> bytes:
    """Differences of neighbours, compressed: what the file's tags say of its strips."""
    differences = strip.copy()
    differences[:, 1:] -= strip[:, :-1]
    return zlib.compress(differences.astype(strip.dtype.newbyteorder("<")).tobytes())


def _tiff_tags(m: Metadata) -> list[tuple[int, str, int, Any, bool]]:
    """What EXIF's first directory and XMP are in a TIFF file."""
    tags: list[tuple[int, str, int, Any, bool]] = []
    if m.xmp is not None:
        tags.append((700, "B", len(m.xmp), m.xmp, True))
    for tag, value in m.tags().items():
        if tag in _SUB_DIRECTORIES or tag in _SUB_DIRECTORIES.values() or tag in _RESOLUTION:
            continue
        if isinstance(value, str):
            tags.append((tag, "s", 0, value.rstrip("\0"), True))
        elif isinstance(value, bytes):
            tags.append((tag, "B", len(value), value, True))
        elif isinstance(value, int) and 0 <= value < 1 << 32:
            short = TiffTags.lookup(tag).type == TiffTags.SHORT and value < 1 << 16
            tags.append((tag, "H" if short else "I", 1, value, True))
    return tags


def _sub_directories(m: Metadata) -> dict[int, TiffImagePlugin.ImageFileDirectory_v2]:
    exif = m.tags()
    found = {}
    for tag in _SUB_DIRECTORIES:
        if values := exif.get_ifd(tag):
            directory = TiffImagePlugin.ImageFileDirectory_v2(b"II\x2a\0\x08\0\0\0")
            for key, value in values.items():
                if not isinstance(value, dict):
                    directory[key] = value
            found[tag] = directory
    return found


def _append(path: Path, directories: dict[int, TiffImagePlugin.ImageFileDirectory_v2]) -> None:
    """Put EXIF's and GPS's directories behind the pixels, and where they are into the first."""
    import tifffile

    places = {}
    with path.open("ab") as end:
        for tag, directory in directories.items():
            end.write(b"\0" * (end.tell() % 2))
            places[tag] = end.tell()
            end.write(directory.tobytes(places[tag]))
    with tifffile.TiffFile(path) as file:
        tags = {tag: file.pages.first.tags[_SUB_DIRECTORIES[tag]] for tag in places}
    with path.open("r+b") as raw:
        for tag, entry in tags.items():
            raw.seek(entry.offset)
            raw.write(struct.pack("<HHII", tag, _LONG, 1, places[tag]))


_LONG = 4
"""TIFF's type of a directory's place."""
