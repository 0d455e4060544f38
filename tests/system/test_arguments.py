"""Errors of the Python functions name the argument and its value."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import config
from samples import photograph

import liif
from liif.network.model import LIIF
from liif.system import arguments

BIG = photograph(4, 5)


@pytest.fixture(autouse=True)
def _as_users_call() -> Iterator[None]:
    """Without the checks of types that only tests have, which would come first."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("a.png", "array or a PIL picture, not 'a.png'; PIL.Image.open or"),
        (Path("a.png"), "not PosixPath"),
        (BIG.tolist(), "list"),
        (None, "not None"),
        (torch.from_numpy(BIG), "not Tensor"),
        (BIG > 99, "not bool"),
        (BIG.astype(">i8"), "not >i8"),
        (BIG.astype(complex), "not complex128"),
    ],
)
def test_other_values_are_no_pictures(small: LIIF, image: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"`image` must be .*{message}"):
        small.upscale(image, scale=2)
    with pytest.raises(TypeError, match=f"`image` must be .*{message}"):
        liif.imresize(image, 2)


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (16, TypeError),
        ("16x16", TypeError),
        ({16, 17}, TypeError),
        ((16, 16, 3), ValueError),
        ((16.5, 16), ValueError),
        ((16.0, 16.0), ValueError),
        (np.array([16.0, 16.0]), ValueError),
        (np.zeros((2, 2), int), ValueError),
        (("16", "16"), ValueError),
        ((True, 16), ValueError),
        ((0, 16), ValueError),
        ((-1, 16), ValueError),
        ((), ValueError),
    ],
)
def test_other_values_are_no_sizes(small: LIIF, size: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="`size`"):
        small.upscale(BIG, size=size)
    if kind is ValueError:
        with pytest.raises(ValueError, match="`scale_or_size`"):
            liif.imresize(BIG, size)


@pytest.mark.parametrize("scale", ["2", None, True, 1j, b"2"])
def test_other_values_are_no_scales(small: LIIF, scale: Any) -> None:
    with pytest.raises(TypeError, match="`scale_or_size` must be a number or two"):
        liif.imresize(BIG, scale)
    if scale is not None:
        with pytest.raises(TypeError, match="`scale` must be a number"):
            small.upscale(BIG, scale=scale)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 10**400, np.float32("nan")])
def test_scales_must_be_finite(small: LIIF, scale: Any) -> None:
    with pytest.raises(ValueError, match=r"`scale` \(=.*must be a finite number"):
        small.upscale(BIG, scale=scale)
    with pytest.raises(ValueError, match=r"`scale_or_size` \(=.*must be a finite number"):
        liif.imresize(BIG, scale)


def test_memory_is_a_number_of_bytes(small: LIIF) -> None:
    floating: Any = 1e8
    with pytest.raises(TypeError, match=r"`max_memory` \(=100000000\.0\) must be a whole number"):
        small.upscale(BIG, scale=2, max_memory=floating)
    with pytest.raises(ValueError, match=r"`max_memory` \(=-5\) must not be below 0"):
        small.upscale(BIG, scale=2, max_memory=-5)


@pytest.mark.parametrize("precision", ["half", "BF16", None, torch.bfloat16])
def test_other_values_are_no_precision(small: LIIF, precision: Any) -> None:
    with pytest.raises(ValueError, match=r"`precision` \(=.*must be one of auto, float32, bf16"):
        small.upscale(BIG, scale=2, precision=precision)


@pytest.mark.parametrize("value", ["on", "true", None, 2])
@pytest.mark.parametrize("name", ["back_projection", "self_ensemble"])
def test_other_values_are_no_switch(small: LIIF, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"`{name}` must be True or False, not "):
        small.upscale(BIG, scale=2, **{name: value})


def test_numbers_of_numpy_are_numbers(small: LIIF) -> None:
    expected = small.upscale(BIG, size=(8, 10))
    sizes: list[Any] = [[8, 10], np.array([8, 10]), (np.uint8(8), np.int64(10))]
    for size in sizes:
        np.testing.assert_array_equal(small.upscale(BIG, size=size), expected)
        assert liif.imresize(BIG, size).shape == (8, 10, 3)
    scales: list[Any] = [np.float32(2), np.int16(2), 2]
    for scale in scales:
        np.testing.assert_array_equal(small.upscale(BIG, scale=scale), expected)
        assert liif.imresize(BIG, scale).shape == (8, 10, 3)
    truth: Any = np.bool_(True)
    np.testing.assert_array_equal(small.upscale(BIG, scale=2, back_projection=truth), expected)
    memory: Any = np.int64(100_000_000)
    np.testing.assert_array_equal(small.upscale(BIG, scale=2, max_memory=memory), expected)


@pytest.mark.parametrize("kind", ["u2", "f4", "f8"])
def test_the_other_byte_order_is_the_same_picture(small: LIIF, kind: str) -> None:
    native = (BIG * (257.0 if kind == "u2" else 1 / 255)).astype(f"={kind}")
    other = native.astype(native.dtype.newbyteorder("S"))
    enlarged, resized = small.upscale(other, scale=2), liif.imresize(other, 2)
    assert enlarged.dtype == resized.dtype == other.dtype
    np.testing.assert_array_equal(enlarged, small.upscale(native, scale=2))
    np.testing.assert_array_equal(resized, liif.imresize(native, 2))


def test_a_masked_picture_is_its_values(small: LIIF) -> None:
    masked: Any = np.ma.masked_array(BIG)
    np.testing.assert_array_equal(small.upscale(masked, scale=2), small.upscale(BIG, scale=2))


def test_devices_and_paths_of_load() -> None:
    for device in ("tpu", "meta", "cuda:99"):
        with pytest.raises(ValueError, match=rf"`device` \(={device}\) is not available"):
            liif.load(device=device)
    for path in (b"x", None, 5):
        with pytest.raises(TypeError, match="`path` must be a name or a path"):
            liif.load(path)  # type: ignore[arg-type]
    assert liif.load(device=torch.device("cpu")).device.type == "cpu"


def test_long_values_are_cut() -> None:
    assert len(arguments.shown(list(range(1000)))) < 80
    assert arguments.shown(np.zeros((3, 3))) == "an array of (3, 3)"
