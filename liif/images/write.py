"""Writing pictures of any size as PNG, JPEG, WebP, TIFF or BMP, with their metadata."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from liif.images import tiff
from liif.images.channels import Upscaled, join_bands
from liif.images.metadata import Metadata
from liif.images.pixels import Pixels, to_image
from liif.system import memory
from liif.system.errors import PictureError
from liif.system.files import atomic_write

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""What can be written, by the file's ending."""

_LONGEST = {"JPEG": 65535, "WebP": 16383}
_DEEP = {"PNG", "TIFF"}
"""Formats of 16 bits."""
_TRANSPARENT = {"PNG", "WebP", "TIFF"}


def format_of(path: Path) -> str:
    """The format of a file of that name.

    Raises
    ------
    PictureError
        None is written under such an ending.
    """
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise PictureError(
            f"{path}: cannot be written; the ending must be one of {' '.join(FORMATS)}"
        ) from None


def check(path: Path, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
    """Refuse what the format or the memory cannot hold, before the work is done."""
    kind = format_of(path)
    height, width, channels = shape
    if max(height, width) > _LONGEST.get(kind, 1 << 30):
        raise PictureError(
            f"{path}: {width}x{height} is more than {kind} can hold ({_LONGEST[kind]} pixels a "
            "side); write .png or .tif"
        )
    # Beside the pixels, Pillow's own copy, which is of four bytes a pixel.
    needed = height * width * (channels * dtype.itemsize + 4)
    if kind != "TIFF" and needed > (have := memory.available()):
        raise PictureError(
            f"{path}: {width}x{height} takes {needed / 1e9:.1f} GB of memory as {kind}, "
            f"{have / 1e9:.1f} are free; write .tif, which needs a band at a time"
        )


def losses(path: Path, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[str]:
    """What the format cannot keep of a picture's pixels."""
    kind = format_of(path)
    lost = []
    if shape[2] in (2, 4) and kind not in _TRANSPARENT:
        lost.append(f"{kind} has no transparency; it is laid on white")
    if dtype == np.uint16 and kind not in _DEEP:
        lost.append(f"{kind} has 8 bits; 16 are reduced to them")
    return lost


def write(
    path: Path, picture: Upscaled, *, quality: int = 95, text: dict[str, str] | None = None
) -> None:
    """Write a picture whole or not at all, in the format of the path's ending.

    Parameters
    ----------
    quality
        1 to 100, of JPEG and WebP; 100 is WebP without loss.
    text
        More texts for a PNG.

    Raises
    ------
    PictureError
        The format cannot hold what the metadata has.
    """
    kind = format_of(path)
    with atomic_write(path) as part:
        if kind == "TIFF":
            write_part = partial(tiff.write, part, picture)
        else:
            pixels = _fitting(join_bands(picture.bands, picture.shape, picture.dtype), kind)
            write_part = partial(
                _WRITERS[kind], part, pixels, picture.metadata, quality, text or {}
            )
        try:
            write_part()
        except (ValueError, TypeError, KeyError, struct.error) as error:
            raise PictureError(f"{path}: cannot be written as {kind}: {error}") from None


def _fitting(pixels: Pixels, kind: str) -> Pixels:
    """The pixels as the format can hold them."""
    if pixels.dtype == np.uint16 and kind not in _DEEP:
        pixels = np.floor(pixels / 257 + 0.5).astype(np.uint8)
    if pixels.shape[2] in (2, 4) and kind not in _TRANSPARENT:
        alpha = pixels[..., -1:].astype(np.float64) / 255
        on_white = pixels[..., :-1] * alpha + 255 * (1 - alpha)
        pixels = np.floor(on_white + 0.5).astype(np.uint8)
    return pixels


def _write_png(path: Path, pixels: Pixels, m: Metadata, quality: int, text: dict[str, str]) -> None:
    if pixels.dtype == np.uint8:
        to_image(pixels).save(path, format="PNG", **_png_options(m, text))
        return
    from imagecodecs import png_encode

    # The pixels by one library and, since that takes no metadata, its chunks by the other.
    pixel = BytesIO()
    Image.new("L" if pixels.shape[2] <= 2 else "RGB", (1, 1)).save(
        pixel, format="PNG", **_png_options(m, text)
    )
    data = png_encode(np.ascontiguousarray(pixels if pixels.shape[2] > 1 else pixels[..., 0]))
    with path.open("wb") as file:
        file.write(data[:_PNG_HEAD])
        for name, chunk in _chunks(pixel.getvalue()):
            if name not in (b"IHDR", b"IDAT", b"IEND"):
                file.write(chunk)
        file.write(data[_PNG_HEAD:])


_PNG_HEAD = 33
"""Bytes of a PNG's signature and header."""


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes of each chunk."""
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at : at + 12 + length]
        at += 12 + length


def _png_options(m: Metadata, text: dict[str, str]) -> dict[str, Any]:
    info = PngInfo()
    for name, chunk in m.png:
        info.add(name, chunk)
    for key, value in {**m.text, **text}.items():
        info.add_text(key, value)
    if m.xmp is not None:
        info.add_itxt("XML:com.adobe.xmp", m.xmp.decode("utf-8", errors="replace"))
    # Without an empty EXIF, equal pictures are equal bytes.
    options: dict[str, Any] = {"pnginfo": info, "icc_profile": m.icc}
    return options | _given(exif=m.exif, dpi=m.dpi)


def _given(**options: Any) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _write_jpeg(
    path: Path, pixels: Pixels, m: Metadata, quality: int, text: dict[str, str]
) -> None:
    exif = m.exif if m.exif is None or len(m.exif) < _SEGMENT else None
    options = _given(icc_profile=m.icc, exif=exif, dpi=m.dpi)
    if m.xmp is not None and len(m.xmp) < _SEGMENT:
        options["xmp"] = m.xmp
    if "Comment" in m.text:
        options["comment"] = m.text["Comment"].encode()[:_SEGMENT]
    if m.iptc is not None:
        options["extra"] = b"\xff\xed" + struct.pack(">H", len(m.iptc) + 2) + m.iptc
    image = to_image(pixels)
    # Above 90 colours are kept at full resolution, as cameras do.
    subsampling = "4:4:4" if quality >= 90 else "4:2:0"
    image.save(path, format="JPEG", quality=quality, subsampling=subsampling, **options)


_SEGMENT = 65000
"""Bytes that a segment of a JPEG file can hold, less its own name."""


def _write_webp(
    path: Path, pixels: Pixels, m: Metadata, quality: int, text: dict[str, str]
) -> None:
    image = to_image(pixels).convert("RGBA" if pixels.shape[2] in (2, 4) else "RGB")
    # A profile of grey values does not fit WebP's RGB.
    icc = m.icc if pixels.shape[2] > 2 else None
    options = _given(icc_profile=icc, exif=m.exif, xmp=m.xmp)
    image.save(path, format="WEBP", quality=quality, lossless=quality == 100, exact=True, **options)


def _write_bmp(path: Path, pixels: Pixels, m: Metadata, quality: int, text: dict[str, str]) -> None:
    to_image(pixels).save(path, format="BMP", **_given(dpi=m.dpi))


_WRITERS: dict[str, Callable[[Path, Pixels, Metadata, int, dict[str, str]], None]] = {
    "PNG": _write_png,
    "JPEG": _write_jpeg,
    "WebP": _write_webp,
    "BMP": _write_bmp,
}
