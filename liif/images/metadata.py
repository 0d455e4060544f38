"""Metadata of pictures: colour profile, EXIF, XMP, IPTC, resolution, texts."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

_EXIF, _GPS = int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo)
_SIZE = {0x0101: 0, 0xA003: 0, 0x0100: 1, 0xA002: 1}
"""Tags of the picture's height (0) and width (1), in the first directory and in that of EXIF."""
_ORIENTATION = 0x0112
_RESOLUTION, _UNIT, _XMP = (282, 283), 296, 700
"""TIFF's tags of what other formats keep outside EXIF."""
_XMP_ORIENTATION = rb'tiff:Orientation="[0-9]"|<tiff:Orientation>[0-9]</tiff:Orientation>'
_IPTC_SEGMENT = b"Photoshop 3.0\0"
_OF_THE_FILE = {
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 285, 292, 293),
    *(296, 297, 317, 320, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513, 514),
    *(529, 530, 531, 532, 700, 33723, 34377, 34675),
}
"""TIFF's tags of the pixels' layout, and of what is kept outside EXIF (700 and on)."""
_BROKEN = (SyntaxError, ValueError, KeyError, TypeError, OSError, OverflowError, struct.error)
"""Errors that Pillow raises for damaged EXIF."""
_TEXTS = 1 << 20
"""Characters of a text; longer ones are left out."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Metadata that output files keep, as far as their format can hold it."""

    icc: bytes | None = None
    """The colour profile of the pixels."""
    exif: bytes | None = None
    """EXIF with its prefix, without orientation and preview."""
    xmp: bytes | None = None
    iptc: bytes | None = None
    """Content of JPEG's segment APP13."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch, horizontally and vertically."""
    text: dict[str, str] = field(default_factory=dict)
    """PNG's texts; `Comment` is also JPEG's comment."""
    png: tuple[tuple[bytes, bytes], ...] = ()
    """Names and contents of PNG's chunks that define the colours of its values."""

    def tags(self) -> Image.Exif:
        """EXIF, parsed."""
        exif = Image.Exif()
        if self.exif is not None:
            exif.load(self.exif)
        return exif


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return 1
    return value if value in range(1, 9) else 1


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels (H, W, C) turned upright, from EXIF's orientation."""
    if orientation >= 5:  # rows and columns are exchanged
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def of(
    image: Image.Image, *, icc: bytes | None, png: tuple[tuple[bytes, bytes], ...] = ()
) -> Metadata:
    """The metadata of a loaded picture for its upright pixels, with its fitting profile."""
    dpi, xmp = image.info.get("dpi"), image.info.get("xmp")
    if image.format == "TIFF" and _RESOLUTION[0] not in getattr(image, "tag_v2", {}):
        dpi = None  # Pillow's default is 1
    try:
        exif = _bytes(image.getexif(), whole_file=image.format == "TIFF")
    except _BROKEN:
        exif = None  # damaged EXIF is no reason to refuse the picture
    segments = getattr(image, "applist", ())
    iptc = (bytes(c) for name, c in segments if name == "APP13" and c.startswith(_IPTC_SEGMENT))
    return Metadata(
        icc=icc,
        exif=exif,
        xmp=_upright_xmp(xmp.encode() if isinstance(xmp, str) else xmp),
        iptc=next(iptc, None),
        dpi=_valid((float(dpi[0]), float(dpi[1]))) if dpi else None,
        text=_texts(image),
        png=png,
    )


def of_tiff(data: bytes, *, icc: bytes | None) -> tuple[int, Metadata]:
    """Orientation and metadata of a TIFF file that Pillow cannot open, from its tags.

    Of a BigTIFF, whose directories Pillow's EXIF cannot read, only the profile.
    """
    exif = Image.Exif()
    try:
        exif.load(data)
        turn, xmp, dpi = exif.get(_ORIENTATION, 1), exif.get(_XMP), _dpi(exif)
        _read_directories(exif)
    except _BROKEN:
        return 1, Metadata(icc=icc)
    xmp = _upright_xmp(xmp) if isinstance(xmp, bytes) else None
    about = Metadata(icc=icc, exif=_bytes(exif, whole_file=True), xmp=xmp, dpi=dpi)
    return (turn if turn in range(1, 9) else 1), about


def _upright_xmp(xmp: bytes | None) -> bytes | None:
    return re.sub(_XMP_ORIENTATION, b"", xmp) if xmp else None


def _dpi(exif: Image.Exif) -> tuple[float, float] | None:
    """TIFF's resolution in pixels per inch; None where it has no unit."""
    unit = {2: 1.0, 3: 2.54}.get(exif.get(_UNIT, 2))
    across, down = (exif.get(tag) for tag in _RESOLUTION)
    numbers = (int, float, TiffImagePlugin.IFDRational)
    if unit is None or not isinstance(across, numbers) or not isinstance(down, numbers):
        return None
    return _valid((float(across) * unit, float(down) * unit))


def _valid(dpi: tuple[float, float]) -> tuple[float, float] | None:
    return dpi if all(0 < d < inf for d in dpi) else None


def _read_directories(exif: Image.Exif) -> None:
    """Read the directories of EXIF and GPS, whose offsets hold in this file alone."""
    for directory in (_EXIF, _GPS):
        if directory in exif:
            exif.get_ifd(directory)


def _bytes(exif: Image.Exif, *, whole_file: bool) -> bytes | None:
    """EXIF for another file; that of a TIFF holds all tags of the file."""
    try:
        for tag in (_ORIENTATION, *(_OF_THE_FILE if whole_file else ())):
            exif.pop(tag, None)
        if exif.bigtiff:  # as which Pillow would write a header that no reader accepts
            _read_directories(exif)
            exif.bigtiff = False
        return exif.tobytes() if len(exif) else None
    except _BROKEN:
        return None


def resized(metadata: Metadata, size: tuple[int, int]) -> Metadata:
    """The metadata with the new size (rows, cols), where EXIF has one."""
    if metadata.exif is None:
        return metadata
    try:
        exif = metadata.tags()
        for directory in (exif, exif.get_ifd(_EXIF)):
            for tag, axis in _SIZE.items():
                if tag in directory:
                    directory[tag] = size[axis]
        return replace(metadata, exif=exif.tobytes())
    except _BROKEN:
        return metadata


def _texts(image: Image.Image) -> dict[str, str]:
    texts = {
        key: str(value)
        for key, value in getattr(image, "text", {}).items()
        if key != "XML:com.adobe.xmp" and not key.startswith("Raw profile type")
    }
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        texts.setdefault("Comment", comment.decode("utf-8", errors="replace").rstrip("\0"))
    return {k: v for k, v in texts.items() if len(v) <= _TEXTS}
