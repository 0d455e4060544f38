from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from liif.app.damage import found
from liif.app.page import SAMPLES
from liif.images.imresize import imresize
from liif.images.pixels import RGB8
from liif.images.read import read_picture


def lr(name: str) -> RGB8:
    return imresize(read_picture(SAMPLES[name]).rgb, 1 / 4)


def as_jpeg(rgb: RGB8, quality: int) -> RGB8:
    file = BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_damage_is_recognised(name: str) -> None:
    clean = lr(name)
    assert found(clean) == []
    assert found(as_jpeg(clean, 50)) == ["jpeg"]
    noise = np.random.default_rng(0).normal(0, 8, clean.shape)
    assert found(np.clip(clean + noise, 0, 255).astype(np.uint8)) == ["noise"]


def test_tiny_and_flat_pictures_show_nothing() -> None:
    for shape in ((1, 1, 3), (5, 40, 3), (40, 3, 3), (64, 64, 3)):
        assert found(np.full(shape, 120, dtype=np.uint8)) == []
