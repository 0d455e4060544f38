import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from samples import SETTINGS, SMALL, photograph
from torch import Tensor

import liif
from liif import imresize
from liif.checkpoints.format import save_checkpoint
from liif.config import CASES
from liif.data.degrade import degraded
from liif.data.download import PHOTOGRAPHS
from liif.images.metrics import quality
from liif.network import back_projection, decoder
from liif.network.back_projection import back_project
from liif.network.build import build
from liif.network.model import LIIF

SIZES = [((1, 1), (1, 1)), ((1, 1), (30, 7)), ((9, 6), (9, 6)), ((7, 5), (13, 11))]
SIZES += [((6, 11), (17, 29)), ((8, 9), (8, 40)), ((13, 2), (15, 2)), ((5, 3), (150, 90))]


def formula(sr: NDArray[Any], lr: NDArray[Any], factor: int = 1) -> NDArray[Any]:
    h, w = (math.ceil(n / factor) for n in lr.shape[:2])
    height, width = sr.shape[:2]
    sr, lr = sr.astype(np.float64), imresize(lr.astype(np.float64), (h, w))
    back: NDArray[Any] = sr + imresize(lr - imresize(sr, (h, w)), (height, width))
    return back


def in_bands(picture: Tensor, height: int) -> Iterator[tuple[slice, Tensor]]:
    for top in range(0, picture.shape[1], height):
        yield slice(top, top + height), picture[:, top : top + height]


def corrected(sr: Tensor, lr: Tensor, height: int, factor: int = 1) -> NDArray[Any]:
    bands = list(back_project(in_bands(sr, height), lr, (sr.shape[1], sr.shape[2]), factor))
    edges = [0, *(rows.stop for rows, _ in bands)]
    assert [(rows.start, rows.stop) for rows, _ in bands] == list(pairwise(edges))
    picture: NDArray[Any] = torch.cat([band for _, band in bands], dim=1).permute(1, 2, 0).numpy()
    return picture


@pytest.mark.parametrize("factor", [1, 3, 8])
@pytest.mark.parametrize(("lr_size", "size"), SIZES)
def test_bands_of_any_height_equal_the_formula(
    lr_size: tuple[int, int], size: tuple[int, int], factor: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    lr = torch.rand(3, *lr_size, generator=generator)
    sr = torch.rand(3, *size, generator=generator)
    whole = corrected(sr, lr, size[0], factor)
    expected = formula(sr.permute(1, 2, 0).numpy(), lr.permute(1, 2, 0).numpy(), factor)
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-6)
    for height in (1, 4, 7):
        np.testing.assert_array_equal(corrected(sr, lr, height, factor), whole)


@pytest.mark.parametrize(("scale", "factor"), [(1, 1), (2.5, 1), (8, 1), (1, 4), (2.5, 3)])
def test_only_the_rows_around_are_held(
    monkeypatch: pytest.MonkeyPatch, scale: float, factor: int
) -> None:
    held = [0]

    class Counting(back_projection._Rows):
        def append(self, rows: Tensor) -> None:
            super().append(rows)
            held.append(self.stop - self.start)

    monkeypatch.setattr(back_projection, "_Rows", Counting)
    lr, sr = torch.rand(3, 60 * factor, 4), torch.rand(3, round(60 * factor * scale), 4)
    corrected(sr, lr, 2, factor)
    assert max(held[2:]) <= 9 * factor * scale + 2
    read = 0

    def counted() -> Iterator[tuple[slice, Tensor]]:
        nonlocal read
        for rows, band in in_bands(sr, 2):
            read = rows.stop
            yield rows, band

    for rows, _ in back_project(counted(), lr, (sr.shape[1], 4), factor):
        assert read - rows.stop <= 5 * factor * scale + 2


@pytest.mark.parametrize("self_ensemble", [False, True])
@pytest.mark.parametrize("size", [(27, 18), (23, 15), (9, 40), (9, 6)])
def test_upscale_is_the_formula_of_the_clipped_picture(
    small: LIIF, size: tuple[int, int], self_ensemble: bool
) -> None:
    unit = photograph(9, 6).astype(np.float32) / 255
    options: dict[str, Any] = {
        **{"size": size, "self_ensemble": self_ensemble, "precision": "float32"}
    }
    plain = small.upscale(unit, **options, back_projection=False)
    ours = small.upscale(unit, **options, back_projection=True)
    expected = np.clip(formula(plain, unit), 0, 1)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)
    assert np.abs(ours - plain).max() > 1e-3


def test_many_bands_equal_one(small: LIIF, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = np.random.default_rng(0).random((40, 7, 3), dtype=np.float32)
    whole = small.upscale(unit, scale=2.5, precision="float32", back_projection=True)
    monkeypatch.setattr(decoder, "_GRID_BYTES", 1)
    monkeypatch.setattr(back_projection, "_PIXELS", 1)
    bands = small.upscale_bands(unit, (100, 18), max_memory=1, back_projection=True)
    joined = np.concatenate([band for _, band in bands])
    np.testing.assert_allclose(joined, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("white", [255, 65535])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_kind_of_picture(small: LIIF, channels: int, white: int) -> None:
    dtype = np.uint8 if white == 255 else np.uint16
    unit = np.random.default_rng(0).random((8, 7, channels))
    pixels = np.floor(unit * white + 0.5).astype(dtype)
    options: dict[str, Any] = {"scale": 3.3, "precision": "float32", "back_projection": True}
    ours = small.upscale(pixels, **options)
    assert ours.dtype == dtype
    real = small.upscale(pixels.astype(np.float32) / np.float32(white), **options)
    assert np.abs(ours - real.astype(np.float64) * white).max() <= 0.51
    colour = ours[..., : 1 if channels <= 2 else 3]
    if channels in (2, 4):
        opaque = pixels.copy()
        opaque[..., -1] = white
        assert (small.upscale(opaque, **options)[..., -1] == white).all()
    elif channels == 1:
        rgb = small.upscale(np.repeat(pixels, 3, axis=2), **options)
        assert np.abs(colour - rgb.mean(axis=2, keepdims=True)).max() <= 1
    shrunk = imresize(colour.astype(np.float64), (8, 7))
    plain = small.upscale(pixels, **{**options, "back_projection": False})
    before = imresize(plain[..., : colour.shape[2]].astype(np.float64), (8, 7))
    lr = pixels[..., : colour.shape[2]].astype(np.float64)
    assert np.abs(shrunk - lr).mean() < 0.5 * np.abs(before - lr).mean()


SCALES = [
    2,
    4.7,
    8,
    pytest.param(16, marks=pytest.mark.slow),
    pytest.param(30, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("scale", SCALES)
def test_the_mean_colour_stays_within_a_tenth_of_a_grey_level(scale: float) -> None:
    with Image.open(PHOTOGRAPHS / "test" / "clock.webp") as image:
        hr = np.asarray(image.convert("RGB"))
    lr, model = imresize(hr, (20, 20)), liif.load()
    means = [
        np.asarray(model.upscale(lr, scale=scale, back_projection=used)).mean(axis=(0, 1))
        for used in (False, True)
    ]
    before, after = (np.abs(mean - lr.mean(axis=(0, 1))).max() for mean in means)
    assert after < min(0.1, before)


@pytest.mark.parametrize("case", ["clean", "jpeg30", "noise10"])
def test_photo_keeps_colours_but_not_noise(case: str) -> None:
    with Image.open(PHOTOGRAPHS / "test" / "clock.webp") as image:
        hr = np.asarray(image.convert("RGB"))[300:460, 300:460]
    lr = degraded(hr, 4, CASES[case], "clock") if case in CASES else imresize(hr, 1 / 4)
    model = liif.load("photo")
    found = {}
    for name, factor in (("usual", model.back_projection_factor), ("full", 1)):
        model.back_projection_factor = factor
        found[name] = model.upscale(lr, size=hr.shape[:2], precision="float32")
    plain = model.upscale(lr, size=hr.shape[:2], precision="float32", back_projection=False)
    shift = found["usual"].mean((0, 1)) - lr.mean((0, 1))
    assert np.abs(shift).max() < 0.1
    psnr = {name: quality(hr, big, channel="rgb", border=10).psnr for name, big in found.items()}
    assert psnr["usual"] > quality(hr, plain, channel="rgb", border=10).psnr - 0.2
    if case != "clean":
        assert psnr["usual"] > psnr["full"]


def test_models_trained_on_degraded_pictures_are_corrected_coarsely(tmp_path: Path) -> None:
    weights, picture = tmp_path / "a.safetensors", photograph(30, 26)
    training = SETTINGS["train"]
    cases: list[tuple[dict[str, Any], int]] = [
        ({}, 1),
        ({"sha256": "1" * 64, "format": "authors"}, 1),
        ({"recipe": {"train": training}}, 1),
        ({"recipe": {"train": {**training, "degrade": None}}}, 1),
        ({"recipe": {"train": {**training, "degrade": {"blur": None, "jpeg": None}}}}, 1),
        ({"recipe": {"train": {**training, "degrade": {"jpeg": {"range": [30, 90]}}}}}, 8),
    ]
    for provenance, factor in cases:
        save_checkpoint(weights, build(SMALL["edsr"]), SMALL["edsr"], provenance)
        model = liif.load(weights)
        unit = picture.astype(np.float32) / 255
        options: dict[str, Any] = {"scale": 2, "precision": "float32"}
        plain = model.upscale(unit, **options, back_projection=False)
        expected = np.clip(formula(plain, unit, factor), 0, 1)
        np.testing.assert_allclose(model.upscale(unit, **options), expected, rtol=0, atol=1e-6)
