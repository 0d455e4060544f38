"""PIL pictures as arrays of channels, and back."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liif.system.arguments import shown

RGB8 = NDArray[np.uint8]
"""(H, W, 3) in 0..255."""
Pixels = NDArray[Any]
"""(H, W, C) uint8, uint16, or floating point in 0..1; C is 1 grey, 2 with alpha, 3 RGB, 4 RGBA."""
PictureLike = TypeVar("PictureLike", NDArray[Any], Image.Image)

_PLAIN = {"L", "LA", "RGB", "RGBA"}
_AS = {"1": "L", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}


def image_array(image: object, *, channels: int | None = None) -> NDArray[Any]:
    """Check the argument `image` and return it, (H, W) or (H, W, C), in native byte order.

    Parameters
    ----------
    channels
        Largest number of channels; None allows any.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"`image` must be a NumPy array or a PIL picture, not {shown(image)}; "
            "PIL.Image.open or liif.read_picture reads a file"
        )
    kind = image.dtype
    if kind.newbyteorder("=") not in (np.uint8, np.uint16) and not np.issubdtype(kind, np.floating):
        raise TypeError(f"`image` must be uint8, uint16 or floating point, not {kind}")
    many = image.ndim == 3 and channels is not None and not 1 <= image.shape[2] <= channels
    if image.ndim not in (2, 3) or 0 in image.shape or many:
        of = "C" if channels is None else f"1 to {channels}"
        raise ValueError(f"`image` must be (H, W) or (H, W, {of}) and not empty, not {image.shape}")
    return np.asarray(image).astype(kind.newbyteorder("="), copy=False)


def channels_of(image: Image.Image) -> NDArray[Any]:
    """(H, W, C): C is 1 for grey, 2 with alpha, 3 for RGB, 4 with alpha; uint8 or uint16."""
    scale_transparency(image)
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if image.has_transparency_data and image.mode in ("1", "L", "RGB", "P", "PA"):
        image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    image = image.convert(_AS.get(image.mode, image.mode))
    if image.mode not in _PLAIN:
        raise ValueError(
            f"`image` must be grey or RGB, with or without transparency, not {image.mode}; "
            "convert it first"
        )
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def scale_transparency(image: Image.Image) -> None:
    """Scale the transparent grey of a PNG of 2 or 4 bits to 8 bits, before it is loaded.

    Pillow scales only the pixels, and forgets how many bits they had.
    """
    value, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    if image.format != "PNG" or not isinstance(value, int) or not tiles:
        return
    factor = {"L;2": 85, "L;4": 17}.get(tiles[0].args)
    if factor is not None:
        image.info["transparency"] = min(255, value * factor)
        image.load()  # lest it be scaled twice


def eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Integer pixels as uint8."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.floor(pixels / 257 + 0.5).astype(np.uint8)


def like(image: Image.Image, channels: NDArray[Any]) -> Image.Image:
    """A PIL picture of these channels, with the other picture's profile, EXIF and the like."""
    made = to_image(channels)
    made.info = {k: v for k, v in image.info.items() if k != "transparency"}
    return made


def to_image(channels: NDArray[Any]) -> Image.Image:
    """A PIL picture of (H, W, C); with 16 bits only grey."""
    return Image.fromarray(channels[..., 0] if channels.shape[2] == 1 else channels)


def white_level(dtype: np.dtype[Any]) -> int:
    """The value of white: 255, 65535, or 1 for floating point."""
    return int(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1
