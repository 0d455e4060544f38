import zipfile
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import make_deb, photograph

from liif import imresize
from liif.data import collect as stage
from liif.data.collect import LeftOut, collect, prepare
from liif.data.download import PHOTOGRAPHS
from liif.data.pack import pack
from liif.data.photographs import Photograph
from liif.images.pixels import RGB8
from liif.images.read import read_picture
from liif.system.errors import PictureError, UserError

SIZES = {"dune": (900, 1000), "lake": (800, 771), "path": (1000, 900)}
"""Rows and columns of the photographs in the made packages."""


def encoded(rgb: RGB8, kind: str, **options: object) -> bytes:
    file = BytesIO()
    Image.fromarray(rgb).save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> RGB8:
    return read_picture(BytesIO(data)).rgb


FILES = {
    name: encoded(photograph(*size, seed=i), "JPEG") for i, (name, size) in enumerate(SIZES.items())
}
CATALOGUE = [
    Photograph(
        name=name,
        package="nature" if name != "path" else "woods",
        file=f"usr/share/{name}.jpg",
        sha256=sha256(FILES[name]).hexdigest(),
        size="1x1",
        author="A. Nonym",
        licence="CC0 1.0",
    )
    for name in SIZES
]


@pytest.fixture
def debs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages with three photographs in all, and a catalogue of these."""
    monkeypatch.setattr(stage, "catalogue", lambda: CATALOGUE)
    folder = tmp_path / "debs"
    folder.mkdir()
    for package in ("nature", "woods"):
        files = {p.file: FILES[p.name] for p in CATALOGUE if p.package == package}
        make_deb(folder / f"{package}_1.0_all.deb", {"usr/share/doc/copyright": b"", **files})
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_photographs_of_packages(debs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    collect(debs, out)
    assert names(out) == ["CREDITS.md", "dune.png", "lake.png", "path.png"]
    for name, (rows, cols) in SIZES.items():
        expected = imresize(decoded(FILES[name]), (rows // 2, cols // 2))
        np.testing.assert_array_equal(read_picture(out / f"{name}.png").rgb, expected)
    assert "Jens Ansorg | GPL-2+ |" in (out / "CREDITS.md").read_text(encoding="utf-8")
    assert len(pack(out, tmp_path / "out.pack")) == 3


def test_finished_photographs_are_skipped(debs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    collect(debs, out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    (debs / "nature_1.0_all.deb").unlink()  # no longer needed
    (out / "path.png").unlink()
    collect(debs, out)
    after = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert [path.name for path in after if after[path] != before[path]] == ["path.png"]


def test_missing_packages_are_named_with_the_command_to_run(debs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (debs / "woods_1.0_all.deb").unlink()
    with pytest.raises(UserError, match=r"debs: packages are missing; .*: apt-get download woods$"):
        collect(debs, out)
    (debs / "nature_1.0_all.deb").unlink()
    with pytest.raises(UserError, match=r"apt-get download nature woods$"):
        collect(debs, out)
    assert not out.exists()


def test_a_wrong_checksum_stops_and_the_right_package_resumes(debs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = (debs / "woods_1.0_all.deb").read_bytes()
    changed = encoded(photograph(800, 800, seed=9), "JPEG")
    make_deb(debs / "woods_1.0_all.deb", {"usr/share/path.jpg": changed})
    with pytest.raises(UserError, match=r"woods_1.0_all.deb: usr/share/path.jpg: differs from the"):
        collect(debs, out)
    assert names(out) == ["dune.png", "lake.png"]
    (debs / "woods_1.0_all.deb").write_bytes(whole)
    collect(debs, out)
    assert names(out) == ["CREDITS.md", "dune.png", "lake.png", "path.png"]


def test_a_damaged_package(debs: Path, tmp_path: Path) -> None:
    deb = debs / "nature_1.0_all.deb"
    deb.write_bytes(deb.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"nature_1.0_all.deb: is damaged or truncated \(.*\); dow"):
        collect(debs, tmp_path / "out")


def test_jpegs_are_halved_and_large_pictures_shrunk_to_4_megapixels() -> None:
    rgb = photograph(801, 903)
    np.testing.assert_array_equal(prepare(encoded(rgb, "PNG"), "a"), rgb)
    lossless = encoded(rgb, "WEBP", lossless=True)
    np.testing.assert_array_equal(prepare(lossless, "a"), rgb)
    for data in (encoded(rgb, "JPEG"), encoded(rgb, "WEBP")):
        np.testing.assert_array_equal(prepare(data, "a"), imresize(decoded(data), (400, 451)))
    large = photograph(1500, 3000)
    shrunk = prepare(encoded(large, "PNG", compress_level=1), "a")
    np.testing.assert_array_equal(shrunk, imresize(large, (1414, 2828)))
    assert prepare(encoded(photograph(4000, 4400), "JPEG"), "a").shape == (1906, 2097, 3)


def test_grey_and_turned_photographs() -> None:
    grey = photograph(400, 500)[..., 0]
    assert (prepare(encoded(grey, "PNG"), "a") == grey[..., None]).all()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° to the right
    assert prepare(encoded(photograph(800, 1000), "JPEG", exif=exif), "a").shape == (500, 400, 3)


def test_small_pictures_are_left_out() -> None:
    assert prepare(encoded(photograph(384, 400), "PNG"), "a").shape == (384, 400, 3)
    with pytest.raises(LeftOut, match=r"^a: has 400x383 pixels, less than 384 on a side$"):
        prepare(encoded(photograph(383, 400), "PNG"), "a")
    with pytest.raises(
        LeftOut, match=r"^a: has 900x767 pixels, 450x383 when downscaled, less than"
    ):
        prepare(encoded(photograph(767, 900), "JPEG"), "a")
    with pytest.raises(PictureError, match=r"^a: is not a picture$"):
        prepare(b"text", "a")


def fill(folder: Path) -> Path:
    folder.mkdir()
    (folder / "sea.png").write_bytes(encoded(photograph(400, 500), "PNG"))
    (folder / "hill.jpg").write_bytes(encoded(photograph(800, 900), "JPEG"))
    (folder / "icon.png").write_bytes(encoded(photograph(48, 48), "PNG"))
    dogs = read_picture(PHOTOGRAPHS / "test" / "dogs.webp").rgb
    (folder / "pets.jpg").write_bytes(encoded(imresize(dogs, 1.5), "JPEG", quality=40))
    return folder


def test_a_folder_of_your_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, out = fill(tmp_path / "own"), tmp_path / "out"
    collect(own, out)
    assert names(out) == ["hill.png", "sea.png"]
    lines = capsys.readouterr().err.splitlines()
    assert f"{own}/icon.png: has 48x48 pixels, less than 384 on a side; left out" in lines
    assert (
        f"{own}/pets.jpg: shows the bundled picture test/dogs, reserved for evaluation; left out"
        in lines
    )
    assert (
        lines[-1] == f"{out}: 2 photographs, 2 left out; to pack them: liif pack {out} {out}.pack"
    )
    made = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    collect(own, out)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == made
    (own / "sea.png").write_bytes(encoded(photograph(400, 400), "PNG"))
    collect(own, out)
    assert read_picture(out / "sea.png").rgb.shape == (400, 400, 3)


def test_an_archive_of_your_own(tmp_path: Path) -> None:
    own, out = fill(tmp_path / "own"), tmp_path / "out"
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for path in own.iterdir():
            archive.write(path, path.name)
    collect(tmp_path / "own.zip", out)
    assert names(out) == ["hill.png", "sea.png"]


def test_unreadable_pictures_are_reported_and_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, out = fill(tmp_path / "own"), tmp_path / "out"
    (own / "bad.jpg").write_bytes(b"text")
    with pytest.raises(UserError, match=r"^1 of 5 pictures failed$"):
        collect(own, out)
    assert names(out) == ["hill.png", "sea.png"]
    assert f"{own}/bad.jpg: is not a picture; left out" in capsys.readouterr().err


def test_when_no_photograph_is_left(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "icon.png").write_bytes(encoded(photograph(48, 48), "PNG"))
    with pytest.raises(UserError, match=r"own: no photograph remains$"):
        collect(tmp_path / "own", tmp_path / "out")


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    own = fill(tmp_path / "own")
    before = (own / "sea.png").read_bytes()
    with pytest.raises(
        UserError, match=r"icon\.png: exists and was not made by this command; choose"
    ):
        collect(own, own)
    assert (own / "sea.png").read_bytes() == before
