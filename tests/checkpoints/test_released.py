"""The released weights on real photographs, against the published direct form."""

from pathlib import Path

import direct
import numpy as np
import pytest
import torch
from PIL import Image

import liif
from liif.data.download import PHOTOGRAPHS
from liif.images.read import read_picture
from liif.inference.plan import Job
from liif.inference.size import Size
from liif.inference.upscale import upscale
from liif.inference.upscaler import open_upscaler


@pytest.fixture(scope="module")
def lr() -> np.ndarray:
    hr = np.asarray(Image.open(PHOTOGRAPHS / "test" / "nuthatch.webp").convert("RGB"))
    small: np.ndarray = liif.imresize(hr[160:640, 320:720], 1 / 5)
    return small


@pytest.fixture(scope="module")
def published(lr: np.ndarray) -> np.ndarray:
    """By the direct form, in grey levels."""
    unit = torch.from_numpy(lr).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        rgb = direct.image_rgb(liif.load(), unit, (288, 240)).clamp(0, 1)[0]
    return np.floor(rgb.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)


@pytest.mark.parametrize("max_memory", [None, 1], ids=["whole", "tiled"])
def test_one_grey_level(
    lr: np.ndarray, published: np.ndarray, tmp_path: Path, max_memory: int | None
) -> None:
    Image.fromarray(lr).save(tmp_path / "a.png")
    way = open_upscaler(
        *("bundled", "cpu"),
        max_memory=max_memory,
        precision="float32",
        back_projection=False,
    )
    job = Job(upscaler=way, size=Size(width=240, height=288))
    upscale([tmp_path / "a.png"], tmp_path / "out", job)
    ours = read_picture(tmp_path / "out" / "a.png").rgb
    difference = np.abs(ours.astype(int) - published)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_one_grey_level_on_a_gpu(lr: np.ndarray, published: np.ndarray) -> None:
    ours = liif.load(device="cuda").upscale(
        lr, size=(288, 240), precision="float32", back_projection=False
    )
    assert np.abs(ours.astype(int) - published).max() <= 1


@pytest.mark.slow
def test_self_ensemble_is_slightly_better() -> None:
    hr = np.asarray(Image.open(PHOTOGRAPHS / "test" / "nuthatch.webp").convert("RGB"))[
        320:640, 480:720
    ]
    small = liif.imresize(hr, 1 / 4)
    model = liif.load()
    once, eightfold = (
        np.mean((model.upscale(small, scale=4, self_ensemble=e).astype(float) - hr) ** 2)
        for e in (False, True)
    )
    assert eightfold < once
