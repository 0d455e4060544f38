"""Reading 16 bits a channel, of which Pillow keeps 8 where there is more than grey."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liif.images.metadata import turned

_GREY, _WHITE_IS_ZERO, _RGB = 1, 0, 2
"""TIFF's photometric interpretations."""
_ICC = 34675
"""TIFF's tag of a colour profile."""
_PREMULTIPLIED = 1
"""TIFF's kind of extra sample."""


def read(image: Image.Image, data: bytes, turn: int) -> NDArray[np.uint16] | None:
    """(H, W, C) uint16 of a picture whose file has 16 bits a channel; None for others.

    `image` is the picture as Pillow loads it, a TIFF upright and all others as stored; `turn` a
    TIFF's orientation, read before that.
    """
    if image.format == "PPM" and image.mode == "I":  # grey of more than 8 bits, scaled to 16
        return np.asarray(image).astype(np.uint16)[..., None]
    tags: Any = getattr(image, "tag_v2", {})
    if image.format == "PNG" and data[24:25] == b"\x10":
        from imagecodecs import png_decode

        pixels = np.asarray(png_decode(data))
    elif (
        image.format == "TIFF"
        and set(tags.get(258, ())) == {16}
        and tags.get(262) in (_GREY, _WHITE_IS_ZERO, _RGB)
        and set(tags.get(339, (1,))) == {1}  # unsigned integers
    ):
        from tifffile import TiffFile

        with TiffFile(BytesIO(data)) as file:
            pixels = turned(_pixels(file.pages.first), turn)  # as Pillow has turned its own
    elif image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.uint16)
    else:
        return None
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[:2] != (image.height, image.width) or pixels.dtype != np.uint16:
        raise ValueError(f"its pixels are {pixels.shape} {pixels.dtype}")
    return pixels


def read_unknown(
    data: bytes, max_pixels: int
) -> tuple[NDArray[np.uint16], bytes | None, int] | None:
    """A TIFF of 16 bits that Pillow cannot read, such as grey with transparency.

    Pixels (H, W, C) as stored, not turned upright; the colour profile; and the number of frames.
    """
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    from tifffile import TiffFile

    with TiffFile(BytesIO(data)) as file:
        page: Any = file.pages.first
        if page.dtype != np.uint16 or int(page.photometric) not in (_GREY, _WHITE_IS_ZERO):
            return None
        if page.imagewidth * page.imagelength > max_pixels:
            raise Image.DecompressionBombError
        profile, frames = page.tags.valueof(_ICC), len(file.pages)
        return _pixels(page), profile if isinstance(profile, bytes) else None, frames


def _pixels(page: Any) -> NDArray[np.uint16]:
    """(H, W, C) of a page: white is 65535, and colours are not multiplied by transparency."""
    pixels = np.asarray(page.asarray())
    kind, extra = int(page.photometric), [int(e) for e in page.extrasamples]
    if int(page.planarconfig) == 2 and pixels.ndim == 3:  # plane by plane
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(f"its pixels are {pixels.shape}")
    colours = 3 if kind == _RGB else 1
    if kind == _WHITE_IS_ZERO:
        pixels = np.concatenate([65535 - pixels[..., :1], pixels[..., 1:]], axis=2)
    if not extra or extra[0] not in (1, 2):  # 0 is of no stated meaning
        return np.ascontiguousarray(pixels[..., :colours])
    pixels = pixels[..., : colours + 1]
    if extra[0] == _PREMULTIPLIED:
        alpha = pixels[..., -1:].astype(np.float64)
        colour = np.floor(pixels[..., :-1] * (65535 / np.maximum(alpha, 1)) + 0.5)
        pixels = np.concatenate([np.minimum(colour, 65535), alpha], axis=2).astype(np.uint16)
    return np.ascontiguousarray(pixels)
