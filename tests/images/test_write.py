"""Round trips: files by Pillow and tifffile, upscaled, and read by these again."""

import random
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from imagecodecs import png_decode, png_encode
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo
from samples import photograph

from liif import imresize
from liif.images import write
from liif.images.channels import Upscaled
from liif.images.metadata import Metadata
from liif.images.read import read_picture
from liif.inference.plan import Job
from liif.inference.size import Size
from liif.inference.upscale import upscale
from liif.inference.upscaler import open_upscaler
from liif.system import memory
from liif.system.errors import PictureError, UserError

DEEP = np.dstack([photograph(9, 7), photograph(9, 7, seed=1)[..., 0]]).astype(np.uint16) * 251
"""RGBA of 16 bits, with values that 8 bits do not have."""
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6" b="kept"/></x:xmpmeta>'
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x78\0\x03hey"


def grey_profile() -> bytes:
    """Enough of a profile to say that it is of grey."""
    return b"\0" * 16 + b"GRAY" + b"\0" * 108


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    exif[0x013B] = "Somebody"
    inner = exif.get_ifd(0x8769)
    inner[0x829A] = 0.004  # exposure
    inner[0xA002], inner[0xA003] = 9, 7  # the picture's size
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    return exif


def enlarged(source: Path, out: Path, scale: float = 2, quality: int = 95) -> Path:
    upscaler = open_upscaler("bicubic")
    upscale([source], out, Job(upscaler=upscaler, size=Size(scale=scale), quality=quality))
    return out


def expected(pixels: NDArray[Any], scale: float = 2) -> NDArray[Any]:
    rows, cols = pixels.shape[0] * scale, pixels.shape[1] * scale
    return imresize(pixels, (int(rows), int(cols)))


WRITTEN = [
    *((".png", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *((".jpg", mode) for mode in ("1", "L", "RGB", "CMYK")),
    *((".webp", mode) for mode in ("L", "LA", "P", "RGB", "RGBA")),
    *((".tif", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")),
    *((".bmp", mode) for mode in ("1", "L", "P", "RGB")),
]
"""What Pillow writes."""


@pytest.mark.parametrize(("source", "mode"), WRITTEN)
@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_modes_of_pillow(tmp_path: Path, source: str, mode: str, target: str) -> None:
    image = Image.fromarray(photograph(9, 7))
    if mode == "I;16":
        image = Image.fromarray(DEEP[..., 0])
    elif mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(photograph(9, 7, seed=1)[..., 0]))
        image = image.convert(mode)
    else:
        image = image.convert(mode)
    path = tmp_path / f"a{source}"
    options: dict[str, Any] = {"lossless": True} if source == ".webp" else {}
    image.save(path, **options)
    out = enlarged(path, tmp_path / f"out{target}", quality=100)
    small, big = read_picture(path), read_picture(out)
    assert big.pixels.shape[:2] == (18, 14)
    keeps_depth = target in (".png", ".tif") and small.pixels.dtype == np.uint16
    assert (big.pixels.dtype == np.uint16) == keeps_depth
    keeps_alpha = small.alpha is not None and target not in (".jpg", ".bmp")
    assert (big.alpha is not None) == keeps_alpha
    grey = small.pixels.shape[2] <= 2
    if target != ".webp":
        assert (big.pixels.shape[2] <= 2) == grey
    if small.alpha is None:
        tolerance = 6 if target == ".jpg" else 1
        difference = np.abs(big.rgb.astype(int) - expected(small.rgb))
        assert difference.mean() <= tolerance / 2
        assert np.quantile(difference, 0.9) <= 2 * tolerance


@pytest.mark.parametrize("target", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("source", ["png", "tiff", "planes", "lzw"])
def test_sixteen_bits_stay_sixteen(tmp_path: Path, source: str, channels: int, target: str) -> None:
    first = 2 if channels == 2 else 0
    pixels = np.ascontiguousarray(DEEP[..., first : first + channels])
    if channels in (2, 4):
        pixels[..., -1] = 40000  # so that the colours are enlarged as they are
    plain = pixels[..., 0] if channels == 1 else pixels
    path = tmp_path / ("a.png" if source == "png" else "a.tif")
    if source == "png":
        path.write_bytes(png_encode(plain))
    else:
        separate = source == "planes" and channels >= 3
        tifffile.imwrite(
            path,
            np.moveaxis(pixels, 2, 0) if separate else plain,
            photometric="rgb" if channels >= 3 else "minisblack",
            planarconfig="separate" if separate else ("contig" if channels > 1 else None),
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            compression="lzw" if source == "lzw" else None,
            predictor=True if source == "lzw" else None,
        )
    out = enlarged(path, tmp_path / f"out{target}")
    found = png_decode(out.read_bytes()) if target == ".png" else tifffile.imread(out)
    assert found.dtype == np.uint16
    found = found[..., None] if found.ndim == 2 else found
    wanted = expected(pixels)
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert (wanted % 257 != 0).any()


def test_premultiplied_and_inverted_tiffs(tmp_path: Path) -> None:
    alpha = np.full((9, 7, 1), 32768, np.uint16)
    straight = DEEP[..., :3]
    premultiplied = (straight * (32768 / 65535)).round().astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.dstack([premultiplied, alpha]),
        photometric="rgb",
        extrasamples=["assocalpha"],
    )
    found = read_picture(tmp_path / "a.tif").pixels
    assert np.abs(found[..., :3].astype(int) - straight).max() <= 2
    tifffile.imwrite(tmp_path / "b.tif", 65535 - DEEP[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "b.tif").pixels[..., 0], DEEP[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "kind", ["8.png", "16.png", "8.tif", "rgb16.tif", "rgba16.tif", "grey16.tif", "greya16.tif"]
)
def test_orientation_is_applied_and_not_kept(tmp_path: Path, orientation: int, kind: str) -> None:
    rgb = photograph(9, 7) if kind.startswith("8") else DEEP[..., :3]
    if kind.startswith("rgba"):
        rgb = DEEP
    elif kind.startswith("grey"):
        rgb = DEEP[..., 2:] if kind.startswith("greya") else DEEP[..., :1]
    upright = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: np.rot90(rgb, -1),
        7: rgb[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(rgb, 1),
    }[orientation]
    path = tmp_path / f"a.{kind[-3:]}"
    if path.suffix == ".tif":
        tifffile.imwrite(
            path,
            rgb if rgb.shape[2] > 1 else rgb[..., 0],
            photometric="rgb" if rgb.shape[2] >= 3 else "minisblack",
            planarconfig="contig" if rgb.shape[2] > 1 else None,
            extrasamples=["unassalpha"] if rgb.shape[2] in (2, 4) else None,
            extratags=[(274, "H", 1, orientation, True)],
        )
    else:
        Image.fromarray(photograph(9, 7)).save(path, exif=exif_of(orientation))
    if kind == "16.png":
        with_exif, data = path.read_bytes(), png_encode(np.ascontiguousarray(rgb))
        path.write_bytes(data[:33] + _chunk(with_exif, b"eXIf") + data[33:])
    np.testing.assert_array_equal(read_picture(path).pixels, upright)
    out = enlarged(path, tmp_path / "out.jpg")
    with Image.open(out) as image:
        assert 0x0112 not in image.getexif()
        assert image.size == (upright.shape[1] * 2, upright.shape[0] * 2)


def _chunk(png: bytes, name: bytes) -> bytes:
    at = png.index(name) - 4
    return png[at : at + 12 + int.from_bytes(png[at : at + 4], "big")]


SOURCES = [(".png", False), (".png", True), (".jpg", False), (".webp", False), (".tif", False)]
"""With whether of 16 bits."""


@pytest.mark.parametrize(("source", "deep"), SOURCES)
@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".tif"])
def test_metadata_is_kept(tmp_path: Path, source: str, target: str, deep: bool) -> None:
    path = tmp_path / f"a{source}"
    options: dict[str, Any] = {"exif": exif_of(6), "icc_profile": SRGB}
    if source != ".webp":
        options["dpi"] = (300, 300)
    if source == ".png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options["pnginfo"] = info
    elif source == ".tif":
        options["exif"][700] = XMP
        options["exif"] = options["exif"].tobytes()
    else:
        options["xmp"] = XMP
    Image.fromarray(photograph(9, 7)).save(path, **options)
    if deep:
        data = png_encode(np.ascontiguousarray(DEEP[..., :3]))
        names = (b"iCCP", b"iTXt", b"pHYs", b"eXIf")
        chunks = b"".join(_chunk(path.read_bytes(), name) for name in names)
        path.write_bytes(data[:33] + chunks + data[33:])
    out = enlarged(path, tmp_path / f"out{target}")
    with Image.open(out) as image:
        exif = image.getexif()
        assert image.info["icc_profile"] == SRGB
        assert exif[0x010F] == "Maker"
        assert exif[0x013B] == "Somebody"
        assert 0x0112 not in exif
        inner = exif.get_ifd(0x8769)
        assert float(inner[0x829A]) == pytest.approx(0.004)
        assert (inner[0xA002], inner[0xA003]) == image.size  # the new one
        assert exif.get_ifd(0x8825)[1] == "N"
        if source != ".webp" and target != ".webp":
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        xmp = image.info["xmp"]
        assert b'b="kept"' in xmp
        assert b"Orientation" not in xmp


def test_comments_texts_and_iptc(tmp_path: Path) -> None:
    segment = b"\xff\xed" + (len(IPTC) + 2).to_bytes(2, "big") + IPTC
    Image.fromarray(photograph(9, 7)).save(tmp_path / "a.jpg", comment="häus", extra=segment)
    with Image.open(enlarged(tmp_path / "a.jpg", tmp_path / "b.jpg")) as image:
        assert image.info["comment"].decode() == "häus"
        assert ("APP13", IPTC) in image.applist  # type: ignore[attr-defined]
    with Image.open(enlarged(tmp_path / "a.jpg", tmp_path / "b.png")) as image:
        assert image.text["Comment"] == "häus"  # type: ignore[attr-defined]
    info = PngInfo()
    info.add_text("Author", "somebody")
    Image.fromarray(photograph(9, 7)).save(tmp_path / "c.png", pnginfo=info)
    with Image.open(enlarged(tmp_path / "c.png", tmp_path / "d.png")) as image:
        assert image.text["Author"] == "somebody"  # type: ignore[attr-defined]


@pytest.mark.parametrize("target", [".png", ".jpg", ".tif"])
def test_a_profile_stays_with_the_values_it_is_of(tmp_path: Path, target: str) -> None:
    grey = Image.fromarray(photograph(9, 7)[..., 0])
    grey.save(tmp_path / "grey.png", icc_profile=grey_profile())
    with Image.open(enlarged(tmp_path / "grey.png", tmp_path / f"out{target}")) as image:
        assert image.info["icc_profile"] == grey_profile()
    grey.save(tmp_path / "wrong.png", icc_profile=SRGB)
    with Image.open(enlarged(tmp_path / "wrong.png", tmp_path / f"wrong_out{target}")) as image:
        assert image.info.get("icc_profile") is None


def test_lab_is_converted(tmp_path: Path) -> None:
    rgb = Image.fromarray(photograph(9, 7))
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(rgb, to_lab)
    assert lab is not None
    lab.save(tmp_path / "a.tif")
    found = read_picture(tmp_path / "a.tif").rgb.astype(int)
    assert np.abs(found - np.asarray(rgb)).mean() < 3


def test_damaged_metadata_is_left_out(tmp_path: Path) -> None:
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x01" * 40
    Image.fromarray(photograph(9, 7)).save(tmp_path / "a.jpg", exif=broken, icc_profile=b"junk")
    with Image.open(enlarged(tmp_path / "a.jpg", tmp_path / "b.jpg")) as image:
        assert image.size == (14, 18)


def test_limits_of_formats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(photograph(3, 1000)).save(tmp_path / "long.png")
    with pytest.raises(UserError, match=r"out\.webp: 17000x51 is more than WebP can hold"):
        enlarged(tmp_path / "long.png", tmp_path / "out.webp", scale=17)
    with pytest.raises(UserError, match=r"out\.jpg: 66000x198 is more than JPEG can hold"):
        enlarged(tmp_path / "long.png", tmp_path / "out.jpg", scale=66)
    Image.fromarray(np.dstack([photograph(9, 7), np.zeros((9, 7), np.uint8)])).save(
        tmp_path / "clear.png"
    )
    white = read_picture(enlarged(tmp_path / "clear.png", tmp_path / "white.jpg")).rgb
    assert (white >= 254).all()
    assert (
        "white.jpg: JPEG has no transparency; the picture is put on white"
        in capsys.readouterr().err
    )
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(UserError, match=r"takes 0\.0 GB of memory as PNG.*write \.tif"):
        enlarged(tmp_path / "clear.png", tmp_path / "large.png")
    assert not (tmp_path / "large.png").exists()


def test_large_tiffs_are_written_in_strips(tmp_path: Path) -> None:
    Image.fromarray(photograph(90, 50)).save(tmp_path / "a.png")
    out = enlarged(tmp_path / "a.png", tmp_path / "out.tif", scale=3)
    with tifffile.TiffFile(out) as file:
        assert file.pages.first.rowsperstrip == 64
        assert len(file.pages.first.dataoffsets) == 5
    np.testing.assert_array_equal(read_picture(out).rgb, expected(photograph(90, 50), 3))


def test_webp_of_quality_100_loses_nothing(tmp_path: Path) -> None:
    Image.fromarray(photograph(9, 7)).save(tmp_path / "a.png")
    lossless = read_picture(enlarged(tmp_path / "a.png", tmp_path / "b.webp", quality=100))
    np.testing.assert_array_equal(lossless.rgb, expected(photograph(9, 7)))


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    """Bytes changed, cut and added at random: pictures, or one line; nothing else."""
    rng = random.Random(0)
    seeds = list(_files())
    read = 0
    for _ in range(1500):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice([1, 1, 2, 4, 8])):
            at = rng.randrange(len(data))
            kind = rng.random()
            if kind < 0.6:
                data[at] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
            elif kind < 0.8:
                del data[at : at + rng.randrange(1, 9)]
            else:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
        with suppress(PictureError):
            picture = read_picture(BytesIO(bytes(data)), "a")
            assert picture.pixels.ndim == 3
            assert picture.pixels.dtype in (np.uint8, np.uint16)
            if picture.pixels.size > 10_000:
                continue
            read += 1
            rows, _, _ = picture.pixels.shape
            for ending in (".png", ".jpg", ".webp", ".tif"):
                bands = iter([(slice(0, rows), picture.pixels)])
                shape, dtype = picture.pixels.shape, picture.pixels.dtype
                big = Upscaled(bands=bands, shape=shape, dtype=dtype, metadata=picture.metadata)
                write.write(tmp_path / f"a{ending}", big)
    assert read > 100


def _files() -> Iterator[bytes]:
    rgb = Image.fromarray(photograph(9, 7))
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("PNG", rgb, {"exif": exif_of(6), "icc_profile": SRGB}),
        ("JPEG", rgb, {"exif": exif_of(6), "icc_profile": SRGB}),
        ("WEBP", rgb, {"exif": exif_of(6)}),
        ("TIFF", rgb, {"exif": exif_of(6).tobytes()}),
        ("TIFF", rgb, {"compression": "tiff_lzw"}),
        ("BMP", rgb, {}),
        ("JPEG", rgb.convert("CMYK"), {"icc_profile": SRGB}),
        ("PNG", rgb.quantize(8), {}),
    ]
    for kind, image, options in kinds:
        file = BytesIO()
        image.save(file, format=kind, **options)
        yield file.getvalue()
    yield bytes(png_encode(DEEP))
    for pixels, photometric in ((DEEP, "rgb"), (DEEP[..., 2:], "minisblack")):
        file = BytesIO()
        tifffile.imwrite(file, pixels, photometric=photometric, planarconfig="contig")
        yield file.getvalue()


def test_no_metadata_stays_none() -> None:
    png = BytesIO()
    Image.fromarray(photograph(2, 2)).save(png, format="PNG")
    png.seek(0)
    assert read_picture(png, "a").metadata == Metadata()
    assert write.FORMATS[".tiff"] == "TIFF"


def test_no_resolution_stays_none(tmp_path: Path) -> None:
    Image.fromarray(photograph(2, 2)).save(tmp_path / "a.png")
    out = enlarged(tmp_path / "a.png", tmp_path / "out.tif")
    with Image.open(out) as image:
        assert "dpi" not in image.info
    with Image.open(enlarged(out, tmp_path / "out.png")) as image:
        assert "dpi" not in image.info
    Image.fromarray(photograph(2, 2)).save(tmp_path / "b.png", dpi=(300, 200))
    with Image.open(enlarged(tmp_path / "b.png", tmp_path / "out2.tif")) as image:
        assert image.info["dpi"] == pytest.approx((300, 200), abs=0.01)


@pytest.mark.parametrize("deep", [False, True])
def test_colour_chunks_of_a_png_are_kept(tmp_path: Path, deep: bool) -> None:
    colours = {b"gAMA": (100_000).to_bytes(4, "big"), b"cHRM": bytes(range(32))}
    info = PngInfo()
    for name, content in colours.items():
        info.add(name, content)
    path = tmp_path / "a.png"
    Image.fromarray(photograph(2, 2)).save(path, pnginfo=info)
    if deep:
        data = png_encode(np.ascontiguousarray(DEEP[..., :3]))
        chunks = b"".join(_chunk(path.read_bytes(), name) for name in colours)
        path.write_bytes(data[:33] + chunks + data[33:])
    out = enlarged(path, tmp_path / "out.png")
    assert read_picture(out).pixels.dtype == (np.uint16 if deep else np.uint8)
    for name, content in colours.items():
        assert _chunk(out.read_bytes(), name)[8:-4] == content
    read_picture(enlarged(path, tmp_path / "out.jpg"))


@pytest.mark.parametrize("target", [".png", ".jpg", ".bmp", ".tif"])
def test_an_absurd_resolution_is_left_out(
    tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """PNG's pHYs holds 32 bits of pixels for each metre, JPEG's header 16 for each inch."""
    exif = Image.Exif()
    exif[0x011A] = exif[0x011B] = TiffImagePlugin.IFDRational(4294967295, 1)
    exif[0x0128], exif[0x013B] = 2, "Somebody"
    Image.fromarray(photograph(9, 7)).save(tmp_path / "a.jpg", exif=exif)
    out = enlarged(tmp_path / "a.jpg", tmp_path / f"out{target}")
    left_out = f"{out}: {write.format_of(out)} cannot hold the picture's resolution; left out"
    assert (left_out in capsys.readouterr().err) == (target != ".tif")
    with Image.open(out) as image:
        assert image.size == (14, 18)
        assert target == ".bmp" or image.getexif()[0x013B] == "Somebody"


@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".tif"])
def test_metadata_of_a_bigtiff_is_kept(tmp_path: Path, target: str) -> None:
    """Pillow reads it, but makes EXIF of it that nobody can read."""
    path = tmp_path / "a.tif"
    Image.fromarray(photograph(9, 7)).save(path, exif=exif_of(1).tobytes(), big_tiff=True)
    with Image.open(enlarged(path, tmp_path / f"out{target}")) as image:
        exif = image.getexif()
        assert exif[0x013B] == "Somebody"
        assert float(exif.get_ifd(0x8769)[0x829A]) == pytest.approx(0.004)
        assert exif.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".tif"])
def test_metadata_that_cannot_be_written_is_left_out(
    tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is kept."""
    broken = Metadata(exif=b"Exif\0\0II+\0\x08\0\0\0junk", icc=SRGB, iptc=b"x" * 70_000)
    pixels = photograph(4, 5)
    big = Upscaled(
        bands=iter([(slice(0, 4), pixels)]),
        shape=pixels.shape,
        dtype=pixels.dtype,
        metadata=broken,
    )
    write.write(tmp_path / f"a{target}", big)
    err = capsys.readouterr().err
    assert ("EXIF" in err, "IPTC" in err) == (target == ".tif", target == ".jpg")
    assert read_picture(tmp_path / f"a{target}").metadata.icc == SRGB


def test_errors_of_upscaling_are_none_of_the_format(tmp_path: Path) -> None:
    def bands() -> Iterator[Any]:
        raise KeyError("a mistake in the model")
        yield

    picture = Upscaled(
        bands=bands(), shape=(4, 4, 3), dtype=np.dtype(np.uint8), metadata=Metadata()
    )
    with pytest.raises(KeyError, match="a mistake in the model"):
        write.write(tmp_path / "a.png", picture)
    assert list(tmp_path.iterdir()) == []
