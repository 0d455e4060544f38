from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import photograph
from PIL import Image

from liif import images
from liif.errors import UserError


def test_png_round_trip_with_text(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    images.write_png(path, photograph(5, 7), text={"liif": "x"})
    np.testing.assert_array_equal(images.read(path).rgb, photograph(5, 7))
    assert images.read(path).alpha is None
    assert images.png_text(path)["liif"] == "x"


def test_grey_and_palette_become_rgb(tmp_path: Path) -> None:
    grey = photograph(6, 4)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(
        images.read(tmp_path / "grey.png").rgb, np.repeat(grey[..., None], 3, axis=2)
    )
    Image.fromarray(photograph(6, 4)).quantize(8).save(tmp_path / "palette.png")
    assert images.read(tmp_path / "palette.png").rgb.shape == (6, 4, 3)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    grey = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert images.read(tmp_path / "deep.png").rgb[0, :, 0].tolist() == [0, 1, 128, 255]


def test_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(photograph(4, 9))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    expected = np.rot90(photograph(4, 9), -1)
    np.testing.assert_array_equal(images.read(tmp_path / "turned.png").rgb, expected)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.png: no such file"):
        images.read(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UserError, match=r"text\.png: is no picture"):
        images.read(tmp_path / "text.png")
    images.write_png(tmp_path / "whole.png", photograph(64, 64))
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    with pytest.raises(UserError, match=r"cut\.png: is damaged or cut short"):
        images.read(tmp_path / "cut.png")
    assert images.png_text(tmp_path / "text.png") == {}


@pytest.mark.parametrize("times", [1.5, 3])
def test_too_many_pixels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: float
) -> None:
    images.write_png(tmp_path / "bomb.png", photograph(64, 64))
    two = np.zeros((64, 64, 2), np.uint16)
    tifffile.imwrite(tmp_path / "bomb.tif", two, photometric="minisblack", planarconfig="contig")
    before = Image.MAX_IMAGE_PIXELS
    monkeypatch.setenv("LIIF_MAX_PIXELS", str(int(64 * 64 / times)))
    for name in ("bomb.png", "bomb.tif"):
        with pytest.raises(UserError, match=rf"{name}: has more than [0-9,]+ pixels.*LIIF_MAX"):
            images.read(tmp_path / name)
    assert before == Image.MAX_IMAGE_PIXELS
    monkeypatch.setenv("LIIF_MAX_PIXELS", "4096")
    assert images.read(tmp_path / "bomb.png").rgb.shape == (64, 64, 3)
    monkeypatch.setenv("LIIF_MAX_PIXELS", "many")
    with pytest.raises(UserError, match="must be a number of pixels"):
        images.read(tmp_path / "bomb.png")
