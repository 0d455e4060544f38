from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from samples import photograph

from liif import imresize
from liif.images.channels import join_bands, upscale_bands
from liif.images.pixels import Pixels
from liif.network.model import LIIF


def bicubic(lr: Pixels, size: tuple[int, int]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """In bands of five rows, in floating point."""
    unit = lr / (np.iinfo(lr.dtype).max if lr.dtype.kind == "u" else 1)
    big = np.clip(imresize(unit.astype(np.float64), size), 0, 1).astype(np.float32)
    for top in range(0, size[0], 5):
        rows = slice(top, min(top + 5, size[0]))
        yield rows, big[rows]


def made(pixels: Pixels, scale: int = 4) -> Pixels:
    size = (pixels.shape[0] * scale, pixels.shape[1] * scale)
    return join_bands(upscale_bands(pixels, size, bicubic), (*size, pixels.shape[2]), pixels.dtype)


def disc(radius: float, side: int = 24) -> NDArray[np.uint8]:
    """A red disc with a soft edge on nothing at all, under which there is green."""
    at = np.hypot(*(np.mgrid[0:side, 0:side] - (side - 1) / 2))
    alpha = np.clip((radius + 0.5 - at) * 255, 0, 255).astype(np.uint8)
    colour = np.where(alpha[..., None] > 0, [200, 20, 10], [0, 255, 0]).astype(np.uint8)
    return np.dstack([colour, alpha])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_type_and_channels_are_kept(dtype: type, channels: int) -> None:
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    four = np.dstack([photograph(7, 5), photograph(7, 5, seed=1)[..., 0]]) / 255
    pixels: Pixels = (four[..., -channels:] * white).astype(dtype)
    big = made(pixels)
    assert big.dtype == dtype
    assert big.shape == (28, 20, channels)
    if channels == 3:
        expected = np.clip(imresize(pixels / white, (28, 20)), 0, 1)
        np.testing.assert_allclose(big / white, expected, atol=0.51 / white + 1e-6)


def test_hidden_colours_leave_no_fringe() -> None:
    big = made(disc(7))
    seen = big[big[..., 3] > 0]
    assert np.abs(seen[:, :3].astype(int) - [200, 20, 10]).max() <= 2
    # As a plain enlargement it has a fringe, so that the test can fail.
    plain = imresize(disc(7)[..., :3], (96, 96))[big[..., 3] > 0]
    assert np.abs(plain.astype(int) - [200, 20, 10]).max() > 60


def test_transparent_and_opaque_pictures_stay_so() -> None:
    small = disc(7)
    big = made(small)
    nothing = np.kron(small[..., 3] == 0, np.ones((4, 4))).astype(bool)
    inside = np.zeros_like(nothing)
    inside[8:-8, 8:-8] = True
    far = np.array(Image.fromarray(nothing).resize((96, 96)))
    assert (big[~inside & far][:, 3] == 0).all()
    assert (big[44:52, 44:52, 3] == 255).all()
    assert 0 < (big[..., 3] % 255 > 0).mean() < 0.2  # the edge


def test_ringing_does_not_leak_into_transparency() -> None:
    """Transparency stays within that of the four pixels around."""

    def grey(_: Pixels, size: tuple[int, int]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        yield slice(0, size[0]), np.full((*size, 3), 0.5, dtype=np.float32)

    pixels = np.zeros((3, 6, 2), np.uint8)
    pixels[:, 3:, 1] = 255
    (_, big), *_ = upscale_bands(pixels, (12, 24), grey)
    # Between the centres of the third pixel, at 9.5, and of the fourth.
    assert (big[:, :10, 1] == 0).all()
    assert (big[:, 10:14, 1] == 128).all()
    assert (big[:, 14:, 1] == 255).all()


@pytest.mark.parametrize("alpha", [0, 90, 255])
def test_uniform_transparency_stays_exact(alpha: int) -> None:
    pixels = np.dstack([photograph(6, 6), np.full((6, 6), alpha, dtype=np.uint8)])
    big = made(pixels)
    assert (big[..., 3] == alpha).all()
    np.testing.assert_array_equal(big[..., :3], made(pixels[..., :3]))


def test_grey_is_the_mean_of_what_rgb_gives(small: LIIF) -> None:
    grey = photograph(6, 5)[..., :1].astype(np.float32) / 255
    rgb = small.upscale(np.repeat(grey, 3, axis=2), scale=2.5)
    np.testing.assert_allclose(small.upscale(grey, scale=2.5), rgb.mean(axis=2, keepdims=True))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16"])
def test_pil_pictures_keep_their_mode(small: LIIF, mode: str) -> None:
    image = Image.fromarray(photograph(6, 5))
    if mode == "I;16":
        image = Image.fromarray(photograph(6, 5)[..., 0].astype(np.uint16) * 257)
    elif mode == "PA":
        image = image.convert("P").convert("PA")
    else:
        image = image.convert(mode)
    image.info["icc_profile"] = b"profile"
    big = small.upscale(image, scale=2)
    assert big.mode == {"1": "L", "P": "RGB", "PA": "RGBA"}.get(mode, mode)
    assert big.size == (10, 12)
    assert big.info["icc_profile"] == b"profile"
    assert imresize(image, 0.5).size == (3, 3)


def test_a_palette_with_a_transparent_colour_becomes_rgba(small: LIIF) -> None:
    image = Image.fromarray(photograph(6, 5)).quantize(4)
    image.info["transparency"] = 0
    assert small.upscale(image, scale=2).mode == "RGBA"
