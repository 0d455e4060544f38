"""The catalogue, and recognising the bundled test and validation pictures.

With LIIF_DEBS set to a folder of the catalogue's packages and lomiri-wallpapers-20.04, the tests
that need them run too.
"""

import os
import re
from collections.abc import Iterable
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif import imresize
from liif.data.collect import LeftOut, prepare
from liif.data.deb import read_deb
from liif.data.download import PHOTOGRAPHS
from liif.data.photographs import (
    HELD_OUT,
    THUMBNAILS,
    catalogue,
    credits_table,
    held_out,
    thumbnail,
)
from liif.images.pixels import RGB8
from liif.images.read import read_picture

ROOT = Path(__file__).parents[2]
ORIGINALS = {
    "test/brushes": "16.04/Picture_1A_by_freespace",
    "test/clock": "16.04/greentock_by_Peter_Nerlich",
    "test/dogs": "16.04/friends_by_Aitzol_Berasategi",
    "test/dragonfly": "16.04/Dragonfly_by_Bolly",
    "test/nuthatch": "20.04/Kleiber_by_Lukas_Baubkus",
    "test/stream": "16.04/life_by_Aitzol_Berasategi",
    "valid/fig": "16.04/Picture_0B_by_freespace",
    "valid/peaks": "16.04/picosdeeuropa_by_Aitzol_Berasategi",
}
"""The photographs that the held-out pictures are cut from."""


@pytest.fixture
def debs() -> Path:
    if "LIIF_DEBS" not in os.environ:
        pytest.skip("LIIF_DEBS names no folder of Debian packages")
    return Path(os.environ["LIIF_DEBS"])


def read_files(debs: Path, package: str, files: Iterable[str]) -> dict[str, bytes]:
    (deb,) = debs.glob(f"{package}_*.deb")
    return dict(read_deb(deb, files))


def bundled(name: str) -> RGB8:
    return read_picture(PHOTOGRAPHS / f"{name}.webp").rgb


def as_jpeg(rgb: RGB8, quality: int) -> RGB8:
    file = BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def copies(rgb: RGB8) -> list[RGB8]:
    """The picture in other sizes, qualities, aspects within rounding, and colours."""
    sizes = [imresize(rgb, (side, side)) for side in (64, 384, 1100)]
    odd = [imresize(rgb, (401, 400)), imresize(rgb, (639, 641))]
    grey = np.repeat(rgb.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    darker = (rgb * 0.7).astype(np.uint8)
    compressed = [as_jpeg(copy, q) for copy in (*sizes, *odd) for q in (10, 75)]
    return [rgb, *sizes, *odd, grey, darker, *compressed]


def test_the_catalogue_is_complete() -> None:
    photographs = catalogue()
    assert len(photographs) == 30
    assert [p.name for p in photographs] == sorted({p.name for p in photographs})
    assert len({p.sha256 for p in photographs}) == 30
    for p in photographs:
        assert re.fullmatch(r"[0-9a-f]{64}", p.sha256)
        assert re.fullmatch(r"\d{4}x\d{4}", p.size)
        assert p.author
        assert re.match(r"CC0 1.0|CC BY(-SA)? 4.0|GPL-2\+", p.licence)
        assert Path(p.file).stem not in {Path(o).name for o in ORIGINALS.values()}


def test_the_list_in_the_documentation_is_current() -> None:
    """To update it: python -c 'from liif.data.photographs import *; print(credits_table())'."""
    text = (ROOT / "docs" / "photographs.md").read_text(encoding="utf-8")
    assert credits_table() in text


@pytest.mark.parametrize("name", HELD_OUT)
def test_held_out_pictures_are_recognised_in_any_size_and_quality(name: str) -> None:
    for copy in copies(bundled(name)):
        assert held_out(copy) == name, copy.shape


def test_held_out_are_all_bundled_test_and_validation_pictures() -> None:
    files = [p for part in ("test", "valid") for p in sorted((PHOTOGRAPHS / part).glob("*.webp"))]
    assert [f"{p.parent.name}/{p.stem}" for p in files] == list(HELD_OUT)
    known = read_picture(THUMBNAILS).rgb[..., 0]
    np.testing.assert_array_equal(
        known[:128], np.vstack([thumbnail(bundled(name)) for name in HELD_OUT])
    )


def test_other_pictures_are_not_refused() -> None:
    for file in sorted((PHOTOGRAPHS / "train").glob("*.webp")):
        assert held_out(read_picture(file).rgb) is None, file
    slope = np.linspace(0, 255, 400).astype(np.uint8)
    for across in (slope, slope[::-1]):
        wide = np.broadcast_to(across[None, :, None], (400, 400, 3))
        assert held_out(wide) is None
        assert held_out(wide.transpose(1, 0, 2)) is None
    assert held_out(np.full((400, 400, 3), 90, np.uint8)) is None


def test_the_catalogue_matches_the_packages(debs: Path) -> None:
    found = {
        package: read_files(debs, package, [p.file for p in catalogue() if p.package == package])
        for package in {p.package for p in catalogue()}
    }
    for p in catalogue():
        data = found[p.package][p.file]
        assert sha256(data).hexdigest() == p.sha256
        width, height = Image.open(BytesIO(data)).size
        assert f"{width}x{height}" == p.size
        assert prepare(data, p.name).shape == (height // 2, width // 2, 3)


def test_the_originals_of_held_out_pictures_are_recognised(debs: Path) -> None:
    made = []
    for name, original in ORIGINALS.items():
        release, file = original.split("/")
        path = f"usr/share/backgrounds/{file}.jpg"
        data = read_files(debs, f"lomiri-wallpapers-{release}", [path])[path]
        with pytest.raises(LeftOut, match=rf"shows the bundled picture {name}, reserved"):
            prepare(data, file)
        rgb = read_picture(BytesIO(data)).rgb
        made.append(thumbnail(rgb))
        for side in (64, 200, 500):
            small = imresize(rgb, side / max(rgb.shape))
            assert all(held_out(as_jpeg(small, quality)) == name for quality in (10, 50, 95))
    np.testing.assert_array_equal(read_picture(THUMBNAILS).rgb[128:, :, 0], np.vstack(made))
