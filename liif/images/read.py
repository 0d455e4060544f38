"""Reading pictures of any kind."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from liif.images import metadata, sixteen_bit
from liif.images.metadata import Metadata, turned
from liif.images.pixels import RGB8, channels_of, eight_bits, scale_transparency
from liif.images.png import png_colours
from liif.system.errors import PictureError, UserError

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
"""File suffixes of pictures."""

MAX_PIXELS = 250_000_000
"""Pixels above which a picture is refused as a decompression bomb, which would fill the memory."""
MAX_PIXELS_VARIABLE = "LIIF_MAX_PIXELS"
"""Environment variable that sets another limit."""

_BROKEN = (
    *(OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, EOFError),
    *(AttributeError, RuntimeError, struct.error, zlib.error),
)
"""Errors that Pillow, its plugins, tifffile and imagecodecs raise for damaged files."""


@dataclass(frozen=True)
class Picture:
    """A picture, turned upright."""

    pixels: NDArray[Any]
    """(H, W, C) uint8 or uint16; C is 1 for grey, 2 with alpha, 3 for RGB, 4 with alpha."""
    metadata: Metadata = field(default_factory=Metadata)
    frames: int = 1
    """Number of pictures in the file, of which this is the first."""

    @property
    def rgb(self) -> RGB8:
        """(H, W, 3) in 0..255, whatever the depth; without transparency."""
        eight = eight_bits(self.pixels)
        colour = eight[..., :-1] if eight.shape[2] in (2, 4) else eight
        return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour

    @property
    def alpha(self) -> RGB8 | None:
        """(H, W) in 0..255, where there is transparency."""
        return eight_bits(self.pixels[..., -1]) if self.pixels.shape[2] in (2, 4) else None


def read_picture(source: Path | BytesIO, name: str | None = None) -> Picture:
    """Read a picture of any kind that Pillow knows, with up to 16 bits a channel.

    Palettes become RGB; CMYK and LAB are converted to sRGB, by the file's profile.

    Parameters
    ----------
    name
        The picture's name in messages.

    Raises
    ------
    PictureError
        The file is missing, no picture, truncated or damaged, or of 32 bits, whose range is
        unknown.
    """
    name, limit = name or str(source), max_pixels()
    try:
        data = source.read_bytes() if isinstance(source, Path) else source.read()
        try:
            image = _open(data, limit)
        except UnidentifiedImageError:
            if (unknown := sixteen_bit.read_unknown(data, limit)) is None:
                raise
            pixels, icc, frames = unknown
            turn, about = metadata.of_tiff(data, icc=_fitting(icc, pixels))
            return Picture(turned(pixels, turn), about, frames)
        with image:
            return _convert(image, data)
    except FileNotFoundError:
        raise PictureError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise PictureError(f"{name}: is not a picture") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise PictureError(
            f"{name}: has more than {limit:,} pixels; if intended, set {MAX_PIXELS_VARIABLE}"
        ) from None
    except _BROKEN as error:
        raise PictureError(f"{name}: is damaged or truncated ({error})") from None


def max_bytes() -> int:
    """Size of the largest file that can hold a picture of `max_pixels`.

    Four uncompressed channels of 16 bits, and 64 MiB of metadata.
    """
    return 8 * max_pixels() + (64 << 20)


def max_pixels() -> int:
    """The largest number of pixels that a picture may have."""
    text = os.environ.get(MAX_PIXELS_VARIABLE, str(MAX_PIXELS))
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{MAX_PIXELS_VARIABLE} (={text}) must be a number of pixels")
    return int(text)


def _open(data: bytes, limit: int) -> Image.Image:
    """Open a picture with liif's limit in place of Pillow's, which holds for the whole process."""
    with _OPENING:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit
        try:
            image = Image.open(BytesIO(data))
        finally:
            Image.MAX_IMAGE_PIXELS = before
    if image.width * image.height > limit:  # below twice as many Pillow only warns
        raise Image.DecompressionBombError
    return image


_OPENING = Lock()
"""Lock held while liif's limit replaces Pillow's."""


def _convert(image: Image.Image, data: bytes) -> Picture:
    scale_transparency(image)
    # Read before Pillow, in loading a TIFF, turns it upright and drops the tag.
    turn = metadata.orientation(image) if image.format == "TIFF" else 1
    image.load()
    icc = image.info.get("icc_profile")
    frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
    pixels = sixteen_bit.read(image, data, turn)
    if pixels is None and image.mode in ("CMYK", "LAB"):
        pixels, icc = channels_of(_to_srgb(image, icc)), None
    elif pixels is None and image.mode in ("I", "F"):
        raise ValueError("32-bit pictures have no known range; convert it to 8 or 16 bits")
    elif pixels is None:
        pixels = channels_of(image.convert("RGB") if image.mode in ("YCbCr", "HSV") else image)
    upright = turned(pixels, metadata.orientation(image))
    chunks = png_colours(data) if image.format == "PNG" else ()
    about = metadata.of(image, icc=_fitting(icc, pixels), png=chunks)
    return Picture(upright, about, frames)


def _fitting(icc: bytes | None, pixels: NDArray[Any]) -> bytes | None:
    """The profile, if it fits these channels."""
    space = b"GRAY" if pixels.shape[2] <= 2 else b"RGB "
    return icc if icc is not None and icc[16:20] == space else None


def _to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert CMYK or LAB by its profile; CMYK without one by the plain complement."""
    if icc is None and image.mode != "LAB":
        return image.convert("RGB")
    try:
        lab = image.mode == "LAB"
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.createProfile("LAB") if lab else ImageCms.ImageCmsProfile(BytesIO(icc or b"")),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except ImageCms.PyCMSError as error:
        if image.mode == "LAB":
            raise ValueError(str(error)) from None
        return image.convert("RGB")  # a profile of something else, or damaged
    assert converted is not None  # not in place
    return converted
