"""Writing pictures as PNG, JPEG, WebP, TIFF or BMP, with their metadata."""

from __future__ import annotations

import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from liif.images import png, tiff
from liif.images.channels import Upscaled, join_bands
from liif.images.metadata import Metadata
from liif.images.pixels import eight_bits, to_image
from liif.system import memory
from liif.system.errors import PictureError
from liif.system.files import atomic_write
from liif.system.progress import log

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""Formats that can be written, by file suffix."""

_LONGEST = {"JPEG": 65535, "WebP": 16383}
"""Largest side in pixels."""
_DEEP = {"PNG", "TIFF"}
"""Formats of 16 bits."""
_TRANSPARENT = {"PNG", "WebP", "TIFF"}


def format_of(path: Path) -> str:
    """The format of a file of that name."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise PictureError(
            f"{path}: cannot be written; the suffix must be one of {' '.join(FORMATS)}"
        ) from None


def check(path: Path, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[str]:
    """Refuse a picture that the format or the memory cannot hold, before any work.

    Returns
    -------
    What the format loses of the pixels.
    """
    kind = format_of(path)
    height, width, channels = shape
    if max(height, width) > _LONGEST.get(kind, 1 << 30):
        raise PictureError(
            f"{path}: {width}x{height} is more than {kind} can hold ({_LONGEST[kind]} pixels a "
            "side); write .png or .tif"
        )
    needed = needed_memory(shape, dtype)
    if kind != "TIFF" and needed > (have := memory.available()):
        raise PictureError(
            f"{path}: {width}x{height} takes {needed / 1e9:.1f} GB of memory as {kind}, "
            f"{have / 1e9:.1f} are free; write .tif, which needs one band at a time"
        )
    lost = []
    if channels in (2, 4) and kind not in _TRANSPARENT:
        lost.append(f"{kind} has no transparency; the picture is put on white")
    if dtype == np.uint16 and kind not in _DEEP:
        lost.append(f"{kind} has 8 bits; the picture's 16 are reduced")
    return lost


def needed_memory(shape: tuple[int, int, int], dtype: np.dtype[Any]) -> int:
    """Bytes that writing a picture takes, unless as TIFF."""
    height, width, channels = shape
    # The pixels, and Pillow's own copy with four bytes a pixel.
    return height * width * (channels * dtype.itemsize + 4)


def write(
    path: Path, picture: Upscaled, *, quality: int = 95, text: dict[str, str] | None = None
) -> None:
    """Write a picture atomically, in the format of the path's suffix.

    Metadata that the format cannot hold is left out, with a line in the log.

    Parameters
    ----------
    quality
        1 to 100, of JPEG and WebP; 100 is WebP without loss.
    text
        More texts for a PNG.
    """
    kind = format_of(path)
    metadata, lost = _fitting_metadata(picture, kind)
    if lost:
        log(f"{path}: {kind} cannot hold the picture's {', '.join(lost)}; left out")
    metadata = replace(metadata, text={**metadata.text, **(text or {})})
    with atomic_write(path) as part, part.open("w+b") as file:
        # Errors of making the pixels are none of the format's; TIFF is written as they are made.
        bands = picture.bands
        if kind != "TIFF":
            pixels = join_bands(bands, picture.shape, picture.dtype)
            bands = iter([(slice(0, picture.shape[0]), pixels)])
        try:
            _encode(file, kind, replace(picture, bands=bands, metadata=metadata), quality)
        except _UNFIT as error:
            raise PictureError(f"{path}: cannot be written as {kind}: {error}") from error


_UNFIT = (ValueError, TypeError, KeyError, OverflowError, struct.error)
"""Errors that writers raise for content that their format cannot hold."""


def _fitting_metadata(picture: Upscaled, kind: str) -> tuple[Metadata, list[str]]:
    """The metadata that one such pixel can be written with, and the names of what is lost."""
    shape = (1, 1, picture.shape[2])
    pixel = np.zeros(shape, picture.dtype)
    kept, lost = Metadata(), []
    for field, name in _NAMES.items():
        more = replace(kept, **{field: getattr(picture.metadata, field)})
        bands = iter([(slice(0, 1), pixel)])
        one = replace(picture, bands=bands, shape=shape, metadata=more)
        try:
            _encode(BytesIO(), kind, one, 95)
            kept = more
        except _UNFIT:
            lost.append(name)
    return kept, lost


_NAMES = {
    "icc": "colour profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "dpi": "resolution",
    "text": "texts",
    "png": "colour chunks",
}


def _encode(file: BinaryIO | BytesIO, kind: str, picture: Upscaled, quality: int) -> None:
    """Write a picture, of one band unless as TIFF, converted to what the format can hold."""
    if kind == "TIFF":
        tiff.write(file, picture)
        return
    (_, pixels), m = next(picture.bands), picture.metadata
    if kind not in _DEEP:
        pixels = eight_bits(pixels)
    if pixels.shape[2] in (2, 4) and kind not in _TRANSPARENT:
        alpha = pixels[..., -1:].astype(np.float64) / 255
        on_white = pixels[..., :-1] * alpha + 255 * (1 - alpha)
        pixels = np.floor(on_white + 0.5).astype(np.uint8)
    if kind == "PNG":
        png.encode(file, pixels, m)
        return
    image = to_image(pixels)
    options: dict[str, Any] = {"icc_profile": m.icc, "exif": m.exif, "xmp": m.xmp, "dpi": m.dpi}
    if kind == "JPEG":
        if m.dpi is not None and max(m.dpi) > _MAX_DENSITY:
            raise ValueError("resolution")  # Pillow would write its lowest bits
        if "Comment" in m.text:
            options["comment"] = m.text["Comment"].encode()[:_SEGMENT]
        if m.iptc is not None:
            options["extra"] = b"\xff\xed" + struct.pack(">H", len(m.iptc) + 2) + m.iptc
        # Above 90 colours are kept at full resolution, as cameras do.
        options |= {"quality": quality, "subsampling": "4:4:4" if quality >= 90 else "4:2:0"}
    elif kind == "WebP":
        image = image.convert("RGBA" if pixels.shape[2] in (2, 4) else "RGB")
        if pixels.shape[2] <= 2:
            options["icc_profile"] = None  # of grey values, which do not fit WebP's RGB
        options |= {"quality": quality, "lossless": quality == 100, "exact": True}
    image.save(file, format=kind, **{k: v for k, v in options.items() if v is not None})


_SEGMENT = 65000
"""Bytes that a segment of a JPEG file can hold, less its own name."""
_MAX_DENSITY = (1 << 16) - 1
"""Pixels for each inch that JPEG's header can hold."""
