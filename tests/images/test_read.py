import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from struct import pack

import numpy as np
import pytest
import tifffile
from PIL import Image
from samples import photograph

from liif.images.metadata import turned
from liif.images.pixels import channels_of
from liif.images.png import png_text, write_png
from liif.images.read import read_picture
from liif.system.errors import UserError


def test_png_round_trip_with_text(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_png(path, photograph(5, 7), text={"liif": "x"})
    np.testing.assert_array_equal(read_picture(path).rgb, photograph(5, 7))
    assert read_picture(path).alpha is None
    assert png_text(path)["liif"] == "x"


def test_grey_and_palette_become_rgb(tmp_path: Path) -> None:
    grey = photograph(6, 4)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(
        read_picture(tmp_path / "grey.png").rgb, np.repeat(grey[..., None], 3, axis=2)
    )
    Image.fromarray(photograph(6, 4)).quantize(8).save(tmp_path / "palette.png")
    assert read_picture(tmp_path / "palette.png").rgb.shape == (6, 4, 3)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    grey = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png").rgb[0, :, 0].tolist() == [0, 1, 128, 255]


def test_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(photograph(4, 9))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    expected = np.rot90(photograph(4, 9), -1)
    np.testing.assert_array_equal(read_picture(tmp_path / "turned.png").rgb, expected)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.png: no such file"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UserError, match=r"text\.png: is not a picture"):
        read_picture(tmp_path / "text.png")
    write_png(tmp_path / "whole.png", photograph(64, 64))
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    with pytest.raises(UserError, match=r"cut\.png: is damaged or truncated"):
        read_picture(tmp_path / "cut.png")
    assert png_text(tmp_path / "text.png") == {}


@pytest.mark.parametrize("times", [1.5, 3])
def test_too_many_pixels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: float
) -> None:
    write_png(tmp_path / "bomb.png", photograph(64, 64))
    two = np.zeros((64, 64, 2), np.uint16)
    tifffile.imwrite(tmp_path / "bomb.tif", two, photometric="minisblack", planarconfig="contig")
    before = Image.MAX_IMAGE_PIXELS
    monkeypatch.setenv("LIIF_MAX_PIXELS", str(int(64 * 64 / times)))
    for name in ("bomb.png", "bomb.tif"):
        with pytest.raises(UserError, match=rf"{name}: has more than [0-9,]+ pixels.*LIIF_MAX"):
            read_picture(tmp_path / name)
    assert before == Image.MAX_IMAGE_PIXELS
    monkeypatch.setenv("LIIF_MAX_PIXELS", "4096")
    assert read_picture(tmp_path / "bomb.png").rgb.shape == (64, 64, 3)
    monkeypatch.setenv("LIIF_MAX_PIXELS", "many")
    with pytest.raises(UserError, match="must be a number of pixels"):
        read_picture(tmp_path / "bomb.png")


def grey_png(bits: int, rows: list[bytes], transparent: int) -> bytes:
    """A grey PNG of few bits, 8 pixels wide, one of whose values is transparent."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + name + data + pack(">I", zlib.crc32(name + data))

    head = pack(">IIBBBBB", 8, len(rows), bits, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = (b"IHDR", head), (b"tRNS", pack(">H", transparent)), (b"IDAT", pixels), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


@pytest.mark.parametrize(
    ("bits", "row", "transparent", "grey"),
    [
        (1, b"\xf0", 1, (255, 0)),
        (1, b"\x0f", 0, (0, 255)),
        (2, b"\x55\xff", 1, (85, 255)),
        (4, b"\x33\x33\xcc\xcc", 3, (51, 204)),
        (8, b"\x33" * 4 + b"\xcc" * 4, 0x33, (51, 204)),
    ],
)
def test_a_transparent_grey_of_any_depth(
    bits: int, row: bytes, transparent: int, grey: tuple[int, int]
) -> None:
    """Pillow alone loses it at 2 and 4 bits, and its conversion at 1 bit."""
    data = grey_png(bits, [row] * 2, transparent)
    expected = np.repeat([[grey[0], 0], [grey[1], 255]], 4, axis=0)[None].repeat(2, axis=0)
    np.testing.assert_array_equal(read_picture(BytesIO(data), "a").pixels, expected)
    image = Image.open(BytesIO(data))
    for _ in range(2):  # as the Python functions take it, and not changed by them
        np.testing.assert_array_equal(channels_of(image), expected)


@pytest.mark.parametrize("profile", ["GRAY", "RGB "])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_metadata_of_a_tiff_that_pillow_does_not_know(
    tmp_path: Path, orientation: int, profile: str
) -> None:
    pixels = np.dstack([photograph(5, 7)[..., 0], np.full((5, 7), 99)]).astype(np.uint16) * 251
    icc = b"\0" * 16 + profile.encode() + b"\0" * 108
    tags = [(274, "H", 1, orientation, True), (315, "s", 0, "Somebody", True)]
    tags.append((700, "B", 5, b"<xmp>", True))
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"],
        extratags=tags,
        iccprofile=icc,
        resolution=(100, 100),
        resolutionunit="CENTIMETER",
        metadata=None,
        software=False,
    )
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, turned(pixels, orientation))
    about = picture.metadata
    assert about.icc == (icc if profile == "GRAY" else None)
    assert dict(about.tags()) == {315: "Somebody"}
    assert about.xmp == b"<xmp>"
    assert about.dpi == (254, 254)


def test_reading_in_threads_changes_nothing_of_the_process(tmp_path: Path) -> None:
    """Pillow's limit and the warning filters are the process's."""
    write_png(tmp_path / "a.png", photograph(9, 7))
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(read_picture, [tmp_path / "a.png"] * 200))
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before
