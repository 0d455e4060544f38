from typing import Any

import numpy as np
import pytest
from samples import SMALL, photograph

from liif.network.build import build
from liif.network.interpolation import Skip
from liif.network.model import LIIF


def plain(model: LIIF, picture: np.ndarray, **options: Any) -> np.ndarray:
    """By the network alone: back-projection would correct the mean, not each of the eight."""
    return model.upscale(picture, **options, precision="float32", back_projection=False)


def by_turning_the_picture(model: LIIF, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Self-ensemble by definition: the picture turned eight ways, the results turned back."""
    total = np.zeros((*size, 3))
    for quarter in range(4):
        for mirrored in (False, True):
            turned = np.rot90(picture[:, ::-1] if mirrored else picture, quarter)
            target = size if quarter % 2 == 0 else size[::-1]
            big = np.rot90(plain(model, turned.copy(), size=target), -quarter)
            total += big[:, ::-1] if mirrored else big
    return total / 8


@pytest.mark.parametrize("size", [(18, 12), (23, 31), (72, 48)])
def test_turned_networks_equal_turned_pictures(small: LIIF, size: tuple[int, int]) -> None:
    picture = photograph(9, 6).astype(np.float32) / 255
    ours = plain(small, picture, size=size, self_ensemble=True)
    np.testing.assert_allclose(ours, by_turning_the_picture(small, picture, size), atol=1e-6)
    assert np.abs(ours - plain(small, picture, size=size)).max() > 1e-4


def test_at_odd_scales_only_the_outermost_pixels_differ(small: LIIF) -> None:
    # There a query lies on a pixel's centre, and the published form treats the last row and column
    # differently from the first.
    picture = photograph(9, 6).astype(np.float32) / 255
    ours = plain(small, picture, scale=3, self_ensemble=True)
    expected = by_turning_the_picture(small, picture, (27, 18))
    np.testing.assert_allclose(ours[3:-3, 3:-3], expected[3:-3, 3:-3], atol=1e-6)


@pytest.mark.parametrize("skip", ["bilinear", "bicubic"])
def test_the_skip_is_symmetric(skip: Skip) -> None:
    model = build(SMALL["edsr"].model_copy(update={"skip": skip})).eval()
    picture = photograph(7, 8).astype(np.float32) / 255
    ours = plain(model, picture, size=(14, 20), self_ensemble=True)
    np.testing.assert_allclose(ours, by_turning_the_picture(model, picture, (14, 20)), atol=1e-6)


def test_the_model_itself_is_unchanged(small: LIIF) -> None:
    before = {k: v.clone() for k, v in small.state_dict().items()}
    small.upscale(photograph(4, 4), scale=2, self_ensemble=True)
    assert all((v == before[k]).all() for k, v in small.state_dict().items())
