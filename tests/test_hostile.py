"""Broken and malicious archives and pictures."""

import io
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from struct import pack as binary

import numpy as np
import pytest
from PIL import Image
from samples import Folder, photograph

from liif.data.collection import open_collection
from liif.data.pack import Pack, pack
from liif.data.patches import TrainingBatches
from liif.images.read import MAX_PIXELS_VARIABLE, read_picture
from liif.inference.gather import gather
from liif.inference.plan import Job
from liif.inference.size import Size
from liif.inference.upscale import upscale
from liif.inference.upscaler import open_upscaler
from liif.recipe import Training
from liif.system.errors import PictureError, UserError


def png(pixels: np.ndarray | None = None) -> bytes:
    """A PNG file."""
    file = io.BytesIO()
    Image.fromarray(photograph(9, 8) if pixels is None else pixels).save(file, format="PNG")
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return binary(">I", len(data)) + kind + data + binary(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG of a few kB that claims side × side pixels."""
    head = binary(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20), 9)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


Archive = Callable[[Path, list[tuple[str, bytes]]], Path]


def zipped(folder: Path, members: list[tuple[str, bytes]]) -> Path:
    path = folder / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def tarred(folder: Path, members: list[tuple[str, bytes]]) -> Path:
    path = folder / "set.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


both = pytest.mark.parametrize("make", [zipped, tarred])


@both
@pytest.mark.parametrize("name", ["../a.png", "top/../../a.png", "/a.png", "/etc/a.png"])
def test_paths_that_leave_the_archive(make: Archive, tmp_path: Path, name: str) -> None:
    archive = make(tmp_path, [("b.png", png()), (name, png())])
    with pytest.raises(UserError, match="points outside the archive"):
        open_collection(archive)
    with pytest.raises(UserError, match="points outside the archive"):
        pack(archive, tmp_path / "out.pack")
    assert sorted(p.name for p in tmp_path.iterdir()) == [archive.name]


@both
def test_a_duplicate_member_is_refused(make: Archive, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate") if make is zipped else nullcontext():
        archive = make(tmp_path, [("a.png", png()), ("a.png", png(photograph(5, 5)))])
    with pytest.raises(UserError, match=r"contains a\.png twice"):
        open_collection(archive)


def test_links_in_archives_are_skipped(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "soft.png"), (tarfile.LNKTYPE, "hard.png")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(secret)
            archive.addfile(member)
        device = tarfile.TarInfo("device.png")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as zip_archive:
        info = zipfile.ZipInfo("soft.png")
        info.external_attr = 0o120777 << 16
        zip_archive.writestr(info, str(secret))
    for name in ("links.tar", "links.zip"):
        with pytest.raises(UserError, match="contains no pictures"):
            open_collection(tmp_path / name)


@both
def test_a_picture_of_too_many_pixels_is_refused(
    make: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is decoded; a variable sets the limit."""
    pictures = open_collection(make(tmp_path, [("large.png", bomb(20_000)), ("small.png", png())]))
    with pytest.raises(PictureError, match=r"large\.png: has more than 250,000,000 pixels"):
        pictures.read("large")
    assert pictures.read("small").shape == (9, 8, 3)
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "71")
    with pytest.raises(
        PictureError, match=f"more than 71 pixels; if intended, set {MAX_PIXELS_VARIABLE}"
    ):
        pictures.read("small")


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 MB of zeros in 100 kB: refused by the size that the archive states."""
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a.png", bytes(100_000_000))
    assert path.stat().st_size < 100_000
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "1000")
    with pytest.raises(PictureError, match=r"a\.png: is 0\.1 GB large, too large for a picture"):
        open_collection(path).data("a")


def test_a_member_of_false_size_is_refused(tmp_path: Path) -> None:
    """No more than the stated size is unpacked, so that its checksum fails."""
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(1_000_000))
    content = path.read_bytes().replace(binary("<I", 1_000_000), binary("<I", 100))
    path.write_bytes(content)
    with pytest.raises(PictureError, match=r"a\.png: cannot be read"):
        open_collection(path).data("a")


BROKEN = {
    "empty.png": b"",
    "text.png": b"this is not a picture\n",
    "cut.png": png(photograph(60, 60))[:3000],
    "head.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "bomb.png": bomb(20_000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_packing_refuses_a_broken_picture(folder: Folder, tmp_path: Path, name: str) -> None:
    """No photograph may be missing from a training unnoticed."""
    source = folder("set", a=(20, 20))
    (source / name).write_bytes(BROKEN[name])
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        pack(source, tmp_path / "out.pack")
    assert sorted(os.listdir(tmp_path)) == ["set"]  # noqa: PTH208 (hidden files count)


def test_upscaling_skips_broken_pictures(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is reported, and the others are upscaled."""
    source, out = folder("set", good=(6, 7)), tmp_path / "out"
    for name, data in BROKEN.items():
        (source / name).write_bytes(data)
    job = Job(upscaler=open_upscaler("bicubic"), size=Size(scale=2))
    with pytest.raises(UserError, match="5 of 6 pictures failed") as caught:
        upscale([source], out, job)
    assert all(name in str(caught.value) for name in BROKEN)
    assert [p.name for p in out.iterdir()] == ["good.png"]


def test_the_format_is_detected_by_content(folder: Folder, tmp_path: Path) -> None:
    """A PNG may be named .jpg."""
    source = folder("set", a=(20, 20))
    (source / "a.png").rename(source / "a.jpg")
    photographs = pack(source, tmp_path / "out.pack")
    np.testing.assert_array_equal(photographs.photograph(0), photograph(20, 20))


def test_training_pictures_become_8_bit_rgb(tmp_path: Path) -> None:
    """Whatever their depth and mode; transparency is dropped."""
    source = tmp_path / "set"
    source.mkdir()
    rgb = photograph(20, 20)
    grey = rgb[..., 0]
    Image.fromarray(rgb).save(source / "colour.png")
    Image.fromarray(grey).save(source / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(source / "deep.png")
    Image.fromarray(np.dstack([rgb, grey])).save(source / "alpha.png")
    Image.fromarray(rgb).quantize(256).save(source / "palette.png")
    Image.fromarray(grey > 99).save(source / "bits.png")
    photographs = pack(source, tmp_path / "out.pack")
    read = {e.name: photographs.photograph(i) for i, e in enumerate(photographs.entries)}
    assert {p.shape for p in read.values()} == {(20, 20, 3)}
    np.testing.assert_array_equal(read["colour"], rgb)
    np.testing.assert_array_equal(read["alpha"], rgb)
    for name in ("grey", "deep"):
        np.testing.assert_array_equal(read[name], np.dstack([grey] * 3))
    np.testing.assert_array_equal(read["bits"][..., 0], (grey > 99) * np.uint8(255))
    assert np.abs(read["palette"].astype(int) - rgb).mean() < 12


def test_fewer_photographs_than_a_batch_has_patches(folder: Folder, tmp_path: Path) -> None:
    """The last batch is filled up, so that every epoch has a step."""
    packed = pack(folder("set", only=(40, 40)), tmp_path / "out.pack")
    settings = Training(visits=1, batch=16, patch=8, scales=(1, 2), queries=16, epochs=3)
    batches = TrainingBatches(packed, settings)
    assert len(batches) == 3
    assert [len(batch.lr) for batch in batches.from_step(0, 0)] == [16] * 3
    assert batches.names(0) == ["only"]


def test_photographs_smaller_than_the_largest_patch(folder: Folder, tmp_path: Path) -> None:
    """Refused by name before any step."""
    packed = pack(folder("set", fine=(40, 40), small=(40, 15)), tmp_path / "out.pack")
    settings = Training(patch=8, scales=(1, 2), queries=16)
    with pytest.raises(UserError, match=r"photograph small \(40×15\) is smaller than .*16×16"):
        TrainingBatches(packed, settings)
    TrainingBatches(packed, Training(patch=7, scales=(1, 2), queries=16))


@pytest.mark.parametrize("value", ["none", "-1", "0", "1.5", ""])
def test_an_invalid_pixel_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    (tmp_path / "a.png").write_bytes(png())
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, value)
    with pytest.raises(UserError, match=f"{MAX_PIXELS_VARIABLE} .* must be a number of pixels"):
        read_picture(tmp_path / "a.png")


def test_other_files_are_no_packs(tmp_path: Path) -> None:
    metadata = {"__metadata__": {"liif": json.dumps({"pack": "x"})}}
    wrong = [
        {},
        metadata,
        {**metadata, "a": {}},
        {**metadata, "a": {"shape": [-5, 2, 3], "data_offsets": [0, 1]}},
        {**metadata, "a": {"shape": 5, "data_offsets": [0, 1]}},
    ]
    headers = [json.dumps(value).encode() for value in wrong]
    for content in (
        *(b"", b"\xff" * 8, binary("<Q", 1 << 60)),
        *(binary("<Q", len(h)) + h for h in headers),
    ):
        (tmp_path / "x.pack").write_bytes(content)
        with pytest.raises(UserError, match="is not a pack of photographs; rebuild it"):
            Pack(tmp_path / "x.pack")


@both
def test_control_characters_in_names_are_escaped(make: Archive, tmp_path: Path) -> None:
    for name in ("../\x1b]0;x\x07.png", "a\nliif: all is well.png"):
        archive = make(tmp_path, [(name, b"no picture")])
        with pytest.raises(UserError) as caught:
            open_collection(archive).read(Path(name).stem)
        assert str(caught.value).isprintable()


def test_gather_never_replaces_another_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    with pytest.raises(UserError, match=r"would be replaced, but contains .*letter\.txt"):
        gather({}, tmp_path, tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").exists()
