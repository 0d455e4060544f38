"""Golden values: MATLAB R2019b, `imresize(A, ...)`, bicubic with antialiasing (its default)."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from liif import imresize
from liif.images.imresize import resize_matrix, target_size


def ramp(n: int) -> NDArray[np.float64]:
    return np.arange(n * n, dtype=np.float64).reshape(n, n)


PATCH = np.array(
    [
        [105, 105, 114, 126, 128, 118, 120, 123, 143, 142],
        [81, 102, 115, 126, 136, 135, 133, 144, 151, 143],
        [76, 103, 120, 126, 133, 132, 131, 144, 146, 135],
        [83, 98, 115, 139, 143, 133, 137, 148, 155, 144],
        [78, 101, 113, 129, 145, 147, 146, 147, 161, 155],
        [75, 100, 119, 131, 143, 143, 144, 141, 153, 150],
        [80, 90, 113, 133, 141, 141, 150, 151, 150, 149],
        [80, 89, 101, 109, 132, 148, 152, 148, 141, 142],
        [76, 84, 101, 115, 128, 142, 161, 152, 143, 142],
        [76, 83, 98, 109, 128, 143, 150, 151, 151, 149],
    ],
    dtype=np.uint8,
)


def test_matlab_double_shrinking() -> None:
    expected = [[12.3837890625, 16.6318359375], [46.3681640625, 50.6162109375]]
    np.testing.assert_allclose(imresize(ramp(8), (2, 2)), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(imresize(ramp(8), 0.25), expected, rtol=0, atol=1e-12)


def test_matlab_double_different_scales() -> None:
    expected = [6.472528773310022, 8.511591273310021, 10.535028773310023, 12.57409127331002]
    np.testing.assert_allclose(imresize(ramp(8), (3, 4))[0], expected, rtol=0, atol=1e-12)
    expected = [0.7505518763796901, 2.1004415011037523, 3.4503311258278133]
    np.testing.assert_allclose(imresize(ramp(4), (3, 3))[0], expected, rtol=0, atol=1e-12)


def test_matlab_double_enlarging() -> None:
    image = np.zeros((4, 4))
    image[0, 0], image[1, 0], image[0, 1], image[0, 3] = 100, 10, 1, 100
    expected = [
        108.68522499999997,
        27.697097499999902,
        -12.446562499999981,
        26.884192500000054,
        109.20249999999992,
    ]
    np.testing.assert_allclose(imresize(image, (5, 5))[0], expected, rtol=0, atol=1e-12)


def test_matlab_uint8_rounds_between_the_passes() -> None:
    result = imresize(PATCH, 0.5)
    assert result.dtype == np.uint8
    assert result[2, 2] == 145  # 144 without rounding between, or with columns first


@pytest.mark.parametrize(
    ("factor", "denominator", "half"),
    [
        (2, 256, [-3, -9, 29, 111]),
        (3, 81, [-1, -2, 9, 21, 27]),
        (4, 4096, [-7, -45, -75, -49, 93, 399, 745, 987]),
        (
            8,
            65536,
            [
                *[-15, -117, -275, -441, -567, -605, -507, -225],
                *[317, 1263, 2505, 3899, 5301, 6567, 7553, 8115],
            ],
        ),
    ],
)
def test_interior_weights_are_exact(factor: int, denominator: int, half: list[int]) -> None:
    matrix = resize_matrix(40 * factor, 40, 1 / factor)
    row = matrix[[20], :].toarray().ravel()
    mirrored = half + (half[::-1][1:] if factor % 2 else half[::-1])
    expected = [float(Fraction(w, denominator)) for w in mirrored]
    np.testing.assert_allclose(row[row != 0], expected, rtol=0, atol=1e-15)


def by_definition(
    image: NDArray[np.float64], size: tuple[int, int], scales: tuple[float, float]
) -> NDArray[np.float64]:
    """The definition, pixel by pixel: slow, plain, without matrices."""

    def kernel(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    def line(values: NDArray[np.float64], n_out: int, scale: float) -> list[float]:
        n, s, out = len(values), min(scale, 1.0), []
        for x in range(1, n_out + 1):
            u = x / scale + 0.5 * (1 - 1 / scale)
            total = norm = 0.0
            for tap in range(int(u - 2 / s) - 2, int(u + 2 / s) + 3):
                folded = (tap - 1) % (2 * n)
                weight = kernel(s * (u - tap))
                total += weight * values[min(folded, 2 * n - 1 - folded)]
                norm += weight
            out.append(total / norm)
        return out

    rows = np.array([line(c, size[0], scales[0]) for c in image.T]).T
    return np.array([line(r, size[1], scales[1]) for r in rows])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (13, 5), (6, 6)])
@pytest.mark.parametrize("size", [(1, 1), (3, 17), (9, 2), (40, 40)])
def test_any_size_follows_the_definition(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape)
    expected = by_definition(image, size, (size[0] / shape[0], size[1] / shape[1]))
    np.testing.assert_allclose(imresize(image, size), expected, rtol=0, atol=1e-12)


def test_scale_rounds_the_size_up() -> None:
    assert imresize(np.zeros((10, 11)), 0.3).shape == (3, 4)
    assert imresize(np.zeros((10, 11, 2)), 2.5).shape == (25, 28, 2)


def test_target_size_ignores_the_last_bit_of_a_scale() -> None:
    assert target_size((100, 10), 1.1) == (110, 11)
    assert target_size((9, 6), 2.5) == (23, 15)
    with pytest.raises(ValueError, match=r"scale.*0\.1.*imresize downscales"):
        target_size((1, 1), 0.1)


def test_channels_are_independent_and_types_kept() -> None:
    image = np.random.default_rng(1).integers(0, 256, (23, 31, 3), dtype=np.uint8)
    whole = imresize(image, 1 / 3)
    for c in range(3):
        np.testing.assert_array_equal(whole[..., c], imresize(image[..., c], 1 / 3))
    assert imresize(image.astype(np.float32), 2.0).dtype == np.float32
    double = imresize(image.astype(np.float64), 2.0)
    single = imresize(image.astype(np.float32), 2.0)
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_without_antialiasing_only_near_pixels_count() -> None:
    image = np.zeros(64).reshape(1, 64)
    image[0, 0] = 1.0
    shrunk = imresize(image, (1, 8), antialiasing=False)
    assert shrunk[0, 0] == 0  # centre of the first 8 lies 3.5 pixels away
    assert imresize(image, (1, 8))[0, 0] != 0


def test_uint8_is_clipped() -> None:
    edge = np.zeros((8, 8), dtype=np.uint8)
    edge[:, 4:] = 255
    result = imresize(edge, 4.0)
    assert result.min() == 0
    assert result.max() == 255
    assert imresize(edge.astype(float), 4.0).min() < -1


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), (0, 4)])
def test_impossible_targets_are_named(scale: float) -> None:
    with pytest.raises(ValueError, match=r"scale|size"):
        imresize(np.zeros((4, 4)), scale)


def test_wrong_pictures_are_named() -> None:
    with pytest.raises(TypeError, match="int64"):
        imresize(np.zeros((4, 4), dtype=np.int64), 2)
    with pytest.raises(ValueError, match=r"\(0, 4\)"):
        imresize(np.zeros((0, 4)), 2)
