from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import Folder, photograph

from liif.data.pack import Pack, pack
from liif.images.crop import most_detailed_square
from liif.network.model import LIIF
from liif.recipe import Training
from liif.training.preview import Preview, side_by_side


@pytest.fixture
def photographs(folder: Folder, tmp_path: Path) -> Pack:
    source = folder("valid", a=(200, 210), b=(190, 200), c=(180, 300), d=(180, 180))
    return pack(source, tmp_path / "valid.pack")


@pytest.mark.parametrize(("scales", "side"), [((1, 8), 160), ((1, 4), 160), ((1, 1), 24)])
def test_the_same_crops_every_time(
    small: LIIF, photographs: Pack, scales: tuple[float, float], side: int
) -> None:
    settings = Training(scales=scales, patch=48 if scales[1] > 1 else 24)
    first = Preview("name", photographs, settings).draw(small)
    second = Preview("name", photographs, settings).draw(small)
    assert list(first) == ["validation/a", "validation/c", "validation/d"]
    for key, preview in first.items():
        np.testing.assert_array_equal(preview, second[key])
        assert preview.shape == (side + 16, 4 * side + 3 * 4, 3)


def test_panels_are_lr_bicubic_model_and_hr(small: LIIF, photographs: Pack) -> None:
    preview = Preview("name", photographs, Training(scales=(1, 4))).draw(small)["validation/a"]
    panels = [preview[16:, i * 164 : i * 164 + 160] for i in range(4)]
    whole = photographs.photograph(0)
    hr = whole[most_detailed_square(whole, 160)]
    np.testing.assert_array_equal(panels[3], hr)
    # LR pixels are shown as squares of 4×4.
    np.testing.assert_array_equal(panels[0], panels[0][::4, ::4].repeat(4, 0).repeat(4, 1))
    lr = panels[0][::4, ::4]
    exact = small.upscale(lr, size=(160, 160), precision="float32", back_projection=False)
    np.testing.assert_array_equal(panels[2], exact)
    assert not np.array_equal(panels[1], panels[2])


def test_previews_are_in_float32(
    small: LIIF, photographs: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They compare epochs, on whatever device each was trained."""
    upscale, used = LIIF.upscale, set()

    def spy(*args: Any, **options: Any) -> Any:
        used.add(options["precision"])
        return upscale(*args, **options)

    monkeypatch.setattr(LIIF, "upscale", spy)
    Preview("name", photographs, Training(scales=(1, 4))).draw(small)
    assert used == {"float32"}


def test_labels_fit_their_panels() -> None:
    black = np.zeros((40, 60, 3), np.uint8)
    preview = side_by_side([("a-very-long-name-indeed 25.00 dB", black), ("b", black)])
    assert preview.shape == (56, 124, 3)
    assert (preview[:16, :60] < 128).any()
    assert (preview[:16, 60:64] == 255).all()


def test_the_crop_with_most_detail() -> None:
    picture = np.full((100, 120, 3), 128, np.uint8)
    picture[60:, 80:] = photograph(40, 40)
    np.testing.assert_array_equal(picture[most_detailed_square(picture, 40)], picture[60:, 80:])
    assert picture[most_detailed_square(picture, 100)].shape == (100, 100, 3)


def test_names_are_valid_in_mlflow(small: LIIF, folder: Folder, tmp_path: Path) -> None:
    source = folder("odd", **{"é+x": (30, 30)})
    previews = Preview("m", pack(source, tmp_path / "odd.pack"), Training(scales=(1, 1), patch=24))
    assert list(previews.draw(small)) == ["validation/__x"]
