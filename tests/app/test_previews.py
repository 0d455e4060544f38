from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import photograph

from liif.app import limits, previews


@pytest.mark.parametrize(("most", "factor"), [(10_000, 1), (300, 3)])
def test_bands_make_up_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, factor: int
) -> None:
    monkeypatch.setattr(limits, "PREVIEW_PIXELS", most)
    monkeypatch.setattr(previews, "_SECONDS", 0)
    picture = photograph(50, 41)
    heard: list[tuple[int, float]] = []
    bands = previews.Bands(tmp_path, lambda row, share: heard.append((row, share)))
    for top in range(0, 50, 7):
        rows = slice(top, min(top + 7, 50))
        bands((rows, picture[rows]), picture.shape)
    assert limits.preview_factor(50, 41) == factor
    parts = [np.asarray(Image.open(tmp_path / f"band-{i}.png")) for i in range(len(heard))]
    assert np.array_equal(np.concatenate(parts), previews.shrunk(picture, factor))
    assert [row for row, _ in heard] == [sum(len(p) for p in parts[:i]) for i in range(len(parts))]
    assert heard[-1][1] == 1
    assert len(heard) > 3


def test_shrunk_pictures_have_the_mean_of_each_square() -> None:
    picture = photograph(7, 6).astype(np.uint16) * 257
    small = previews.shrunk(picture, 3)
    assert small.shape == (3, 2, 3)
    assert small.dtype == np.uint8
    mean = photograph(7, 6)[:3, :3].mean(axis=(0, 1))
    assert np.abs(small[0, 0] - mean).max() <= 0.5
