"""Writing TIFF strip by strip, with colour profile, EXIF and XMP."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import TiffImagePlugin, TiffTags

from liif.images.channels import Band, Upscaled
from liif.images.metadata import Metadata
from liif.images.pixels import Pixels

_ROWS = 64
"""Height of a strip."""
_SUB_DIRECTORIES = {0x8769: 0x8768, 0x8825: 0x8824}
"""Tags of the directories of EXIF and GPS, which tifffile refuses to write, with the unused tags
just before them that it writes instead, to be renamed."""
_RESOLUTION = (256, 257, 282, 283, 296)
"""Tags that tifffile writes itself."""


def write(file: BinaryIO | BytesIO, picture: Upscaled) -> None:
    """Write compressed strips as soon as their rows exist; above 4 GB as BigTIFF.

    The file must be open for reading too.
    """
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
        file,
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
        _append(file, directories)


def _even(bands: Iterator[Band]) -> Iterator[Pixels]:
    """Strips of equal height from bands of any."""
    waiting: list[Pixels] = []
    for _, band in bands:
        rows = np.concatenate([*waiting, band])
        whole = len(rows) - len(rows) % _ROWS
        yield from (rows[top : top + _ROWS] for top in range(0, whole, _ROWS))
        waiting = [rows[whole:]]
    yield from (rows for rows in waiting if len(rows))


def _encoded(strip: Pixels) -> bytes:
    """Horizontal differences (TIFF's predictor 2), compressed by zlib."""
    differences = strip.copy()
    differences[:, 1:] -= strip[:, :-1]
    return zlib.compress(differences.astype(strip.dtype.newbyteorder("<")).tobytes())


def _tiff_tags(m: Metadata) -> list[tuple[int, str, int, Any, bool]]:
    """The first directory's tags of EXIF and XMP, for tifffile."""
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


def _append(
    file: BinaryIO | BytesIO, directories: dict[int, TiffImagePlugin.ImageFileDirectory_v2]
) -> None:
    """Append the directories of EXIF and GPS, and enter their offsets into the first one."""
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as written:
        entries = {t: written.pages.first.tags[_SUB_DIRECTORIES[t]].offset for t in directories}
    for tag, directory in directories.items():
        end = file.seek(0, 2)
        offset = end + end % 2
        file.write(b"\0" * (end % 2) + directory.tobytes(offset))
        file.seek(entries[tag])
        file.write(struct.pack("<HHII", tag, TiffTags.LONG, 1, offset))
