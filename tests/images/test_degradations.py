from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import photograph

from liif.images.degradations import add_noise, blur, compress
from liif.images.pixels import RGB8


def direct_blur(pixels: RGB8, sigma: float) -> np.ndarray:
    """Each pixel as a weighted sum of its row's, then of its column's neighbours."""
    radius = int(3 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    weights /= weights.sum()
    result = pixels.astype(np.float64)
    for axis, n in enumerate(pixels.shape[:2]):
        mirror = np.concatenate([np.arange(n), np.arange(n)[::-1]])
        neighbours = mirror[(np.arange(n)[:, None] + offsets) % (2 * n)]
        lines = np.moveaxis(result, axis, 0)
        result = np.moveaxis(np.einsum("nkcd,k->ncd", lines[neighbours], weights), 0, axis)
    return result


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0, 9.5])
@pytest.mark.parametrize("shape", [(37, 50), (5, 8), (1, 1)])
def test_blur_is_a_gaussian_cut_off_at_three_sigma(shape: tuple[int, int], sigma: float) -> None:
    pixels = photograph(*shape)
    exact = direct_blur(pixels, sigma)
    assert np.abs(blur(pixels, sigma) - exact).max() < 0.5 + 1e-4


def test_noise_has_the_sigma_asked_for() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    noise = add_noise(flat, 10, np.random.default_rng(0)).astype(float) - 128
    assert noise.std() == pytest.approx(10, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.1)
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.02
    rows = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    assert abs(rows) < 0.02
    np.testing.assert_array_equal(add_noise(flat, 0, np.random.default_rng(0)), flat)


@pytest.mark.parametrize("level", [0, 255])
def test_noise_is_clipped(level: int) -> None:
    flat = np.full((50, 50, 3), level, np.uint8)
    noisy = add_noise(flat, 10, np.random.default_rng(0))
    assert (noisy == level).mean() == pytest.approx(0.52, abs=0.03)  # half, and what is rounded
    assert np.abs(noisy.astype(int) - level).max() < 60


@pytest.mark.parametrize("quality", [1, 30, 75, 100])
@pytest.mark.parametrize("shape", [(37, 50), (1, 1)])
def test_jpeg_is_pillows(shape: tuple[int, int], quality: int, tmp_path: Path) -> None:
    pixels, path = photograph(*shape), tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, quality=quality, subsampling=2)
    with Image.open(path) as image:
        np.testing.assert_array_equal(compress(pixels, quality), np.asarray(image))


def test_a_lower_quality_is_farther_from_the_picture() -> None:
    pixels = photograph(64, 64)
    errors = [np.square(compress(pixels, q) - pixels.astype(float)).mean() for q in (95, 75, 30, 5)]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1] / 4
