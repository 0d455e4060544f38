"""Reading and writing pictures."""

from __future__ import annotations

import struct
import warnings
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from liif.errors import PictureError
from liif.files import replacing

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
"""Endings of files that count as pictures."""

RGB8 = NDArray[np.uint8]


class Picture(NamedTuple):
    """A picture as it is to be seen: its orientation applied."""

    rgb: RGB8
    """(H, W, 3) in 0..255."""
    alpha: RGB8 | None
    """(H, W) in 0..255 where the file has transparency."""
    icc: bytes | None
    """The colour profile."""


def read(source: Path | BytesIO, name: str | None = None) -> Picture:
    """Read a picture of any kind that Pillow knows.

    Grey and palette pictures become RGB, 16-bit grey is reduced to 8 bits, CMYK is converted.

    Raises
    ------
    PictureError
        The file is missing, no picture, cut short or damaged; `name` is what it is called.
    """
    name = name or str(source)
    try:
        with warnings.catch_warnings():
            # A picture too large to be meant raises here instead of taking all memory.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source) as image:
                image.load()
                upright = ImageOps.exif_transpose(image)
                return _convert(upright, image.info.get("icc_profile"))
    except FileNotFoundError:
        raise PictureError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise PictureError(f"{name}: is no picture") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise PictureError(
            f"{name}: has more pixels than a picture may ({Image.MAX_IMAGE_PIXELS})"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"{name}: is damaged or cut short ({error})") from None


def _convert(image: Image.Image, icc: bytes | None) -> Picture:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 instead of scaling.
        grey = np.floor(np.asarray(image, dtype=np.float64) / 257 + 0.5).astype(np.uint8)
        return Picture(np.repeat(grey[..., None], 3, axis=2), None, icc)
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pictures have no known range; convert it to 8 or 16 bits")
    if icc is not None and icc[16:20] != b"RGB ":
        icc = None  # of grey or CMYK values, which are gone
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    return Picture(np.asarray(image.convert("RGB")), alpha, icc)


def write_png(
    path: Path,
    rgb: RGB8,
    *,
    alpha: RGB8 | None = None,
    icc: bytes | None = None,
    text: dict[str, str] | None = None,
) -> None:
    """Write an 8-bit PNG whole or not at all, with text chunks."""
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    info = PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    with replacing(path) as part:
        Image.fromarray(pixels).save(part, format="PNG", pnginfo=info, icc_profile=icc)


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
