import numpy as np
import pytest
from samples import photograph

from liif.images.metrics import border_width, parse_border, parse_channel, psnr_of_error, quality
from liif.system.errors import UserError


def test_psnr_by_hand() -> None:
    truth = np.full((20, 20, 3), 100, dtype=np.uint8)
    off = truth + np.uint8(10)
    expected = 10 * np.log10(255**2 / 100)
    assert quality(truth, off, channel="rgb", border=0).psnr == pytest.approx(expected)
    # Luma weighs the channels with 65.738 + 129.057 + 25.064 = 219.859 of 256.
    luma = quality(truth, off, channel="y", border=0).psnr
    assert luma == pytest.approx(expected - 20 * np.log10(219.859 / 256))


def test_unit_floats_and_bytes_agree() -> None:
    a, b = photograph(30, 30), photograph(30, 30, seed=1)
    bytes_ = quality(a, b, channel="y", border=2)
    floats = quality(a / 255, b / 255, channel="y", border=2)
    assert floats.psnr == pytest.approx(bytes_.psnr)
    assert floats.ssim == pytest.approx(bytes_.ssim)


def test_the_border_is_excluded() -> None:
    truth = photograph(40, 40)
    other = truth.copy()
    other[:6] = 0
    other[:, -6:] = 0
    assert quality(truth, other, channel="rgb", border=6).psnr == np.inf
    assert quality(truth, other, channel="rgb", border=5).psnr < 40


def test_ssim_by_definition() -> None:
    """Wang et al.'s formula with an 11×11 Gaussian window, where the window fits."""
    a, b = (photograph(24, 20, seed=s)[..., :1].repeat(3, axis=2) for s in (0, 1))
    x, y = (p[..., 0].astype(float) for p in (a, b))
    g = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(g, g) / np.outer(g, g).sum()

    def mean(values: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(values, (11, 11))
        return np.asarray((windows * window).sum(axis=(-1, -2)))

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert quality(a, b, channel="rgb", border=0).ssim == pytest.approx(ssim.mean(), abs=1e-9)


def test_equal_and_tiny_pictures() -> None:
    tiny = photograph(5, 5)
    result = quality(tiny, tiny, channel="rgb", border=0)
    assert result.psnr == np.inf
    assert result.ssim is None
    assert psnr_of_error(0.01) == pytest.approx(20)


def test_pictures_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="sizes differ"):
        quality(photograph(5, 6), photograph(6, 5), channel="rgb", border=0)
    with pytest.raises(ValueError, match="leaves no pixels"):
        quality(photograph(8, 8), photograph(8, 8), channel="rgb", border=4)


def test_conventions_by_name() -> None:
    assert [border_width(b, 4) for b in ("scale", "scale+6", 3)] == [4, 10, 3]
    assert parse_border("12") == 12
    assert parse_channel("y") == "y"
    with pytest.raises(UserError, match="border `-1`"):
        parse_border("-1")
    with pytest.raises(UserError, match="channel `ycbcr`"):
        parse_channel("ycbcr")
