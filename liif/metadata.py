"""What a picture's file holds beside its pixels: profile, EXIF, XMP, IPTC, resolution, texts."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field, replace

from PIL import ExifTags, Image

_EXIF, _GPS = int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo)
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
"""Tags with the picture's size, of EXIF's first and second directory."""
_ORIENTATION = 0x0112
_XMP_ORIENTATION = rb'tiff:Orientation="[0-9]"|<tiff:Orientation>[0-9]</tiff:Orientation>'
_IPTC_SEGMENT = b"Photoshop 3.0\0"
_OF_THE_FILE = {
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 285, 292, 293),
    *(296, 297, 317, 320, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513, 514),
    *(529, 530, 531, 532, 700, 33723, 34377, 34675),
}
"""TIFF tags that tell how the pixels lie in the file, or that are carried apart (700 and on)."""
_BROKEN = (SyntaxError, ValueError, KeyError, TypeError, OSError, OverflowError, struct.error)
"""What Pillow raises for EXIF that is damaged."""
_TEXTS = 1 << 20
"""Characters that a picture's texts may have; longer ones are left behind."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What travels with a picture from file to file, as far as formats can hold it."""

    icc: bytes | None = None
    """The colour profile, of the colours that the pixels have."""
    exif: bytes | None = None
    """EXIF with its prefix, without orientation and preview."""
    xmp: bytes | None = None
    iptc: bytes | None = None
    """The JPEG segment that holds it (APP13's content)."""
    dpi: tuple[float, float] | None = None
    """Pixels for each inch, horizontally and vertically."""
    text: dict[str, str] = field(default_factory=dict)
    """PNG's texts; `Comment` is JPEG's comment too."""

    def tags(self) -> Image.Exif:
        """EXIF to read from."""
        exif = Image.Exif()
        if self.exif is not None:
            exif.load(self.exif)
        return exif


def orientation(image: Image.Image) -> int:
    """How EXIF says that the picture is to be turned, 1 to 8."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return 1
    return value if value in range(1, 9) else 1


def of(image: Image.Image, *, icc: bytes | None) -> Metadata:
    """The metadata of a picture that is loaded, for when it has been turned upright.

    Parameters
    ----------
    icc
        Its profile, where that still holds.
    """
    dpi, xmp = image.info.get("dpi"), image.info.get("xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return Metadata(
        icc=icc,
        exif=_exif(image),
        xmp=re.sub(_XMP_ORIENTATION, b"", xmp) if xmp else None,
        iptc=_iptc(image),
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and all(float(d) > 0 for d in dpi) else None,
        text=_texts(image),
    )


def _exif(image: Image.Image) -> bytes | None:
    try:
        exif = image.getexif()
        for tag in (_ORIENTATION, *(_OF_THE_FILE if image.format == "TIFF" else ())):
            exif.pop(tag, None)
        return exif.tobytes() if len(exif) else None
    except _BROKEN:
        return None  # damaged EXIF is no reason to refuse the picture


def resized(metadata: Metadata, size: tuple[int, int]) -> Metadata:
    """The same with the new size (rows, cols) where EXIF tells one."""
    if metadata.exif is None:
        return metadata
    try:
        exif = metadata.tags()
        for directory in (exif, exif.get_ifd(_EXIF)):
            for tags, n in ((_HEIGHTS, size[0]), (_WIDTHS, size[1])):
                for tag in tags:
                    if tag in directory:
                        directory[tag] = n
        data = exif.tobytes()
    except _BROKEN:
        return metadata
    return replace(metadata, exif=data)


def _iptc(image: Image.Image) -> bytes | None:
    for marker, content in getattr(image, "applist", ()):
        if marker == "APP13" and content.startswith(_IPTC_SEGMENT):
            return bytes(content)
    return None


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
