from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, Folder, photograph
from PIL import Image

from liif import images, imresize
from liif.checkpoint import build, load, save
from liif.errors import UserError
from liif.upscale import Job, gather, manifests_by_model, open_upscaler, upscale

PROFILE = b"\0" * 16 + b"RGB " + b"\0" * 108
"""Enough of a colour profile to say that it is of RGB."""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save(path, build(SMALL["edsr"]), SMALL["edsr"])
    return path


def job(weights: Path | str, scale: float = 2, overwrite: bool = False) -> Job:
    return Job(upscaler=open_upscaler(weights, "cpu"), scale=scale, overwrite=overwrite)


def test_model_output_is_rounded_to_grey_levels(
    folder: Folder, tmp_path: Path, weights: Path
) -> None:
    upscale([folder("lr", a=(9, 6))], tmp_path / "sr", job(weights, scale=2.5))
    expected = load(weights).upscale(photograph(9, 6), size=(23, 15))
    np.testing.assert_array_equal(images.read(tmp_path / "sr" / "a.png").rgb, expected)


def test_bicubic_is_imresize(folder: Folder, tmp_path: Path) -> None:
    upscale([folder("lr", a=(9, 6))], tmp_path / "sr", job("bicubic"))
    expected = imresize(photograph(9, 6), 2.0)
    np.testing.assert_array_equal(images.read(tmp_path / "sr" / "a.png").rgb, expected)


def test_where_pictures_go(folder: Folder, tmp_path: Path) -> None:
    source = folder("lr", a=(4, 4), b=(4, 4))
    bicubic = job("bicubic")
    upscale([source / "a.png"], None, bicubic)
    assert (source / "a_x2.png").exists()
    (source / "a_x2.png").unlink()
    upscale([source], None, bicubic)
    assert (tmp_path / "lr_x2" / "b.png").exists()
    upscale([source / "a.png"], tmp_path / "one.png", bicubic)
    assert images.read(tmp_path / "one.png").rgb.shape == (8, 8, 3)
    with pytest.raises(UserError, match=r"one\.png: (cannot hold|would be made twice)"):
        upscale([source], tmp_path / "one.png", bicubic)


def test_only_png_is_written(folder: Folder, tmp_path: Path) -> None:
    source = folder("lr", a=(4, 4))
    with pytest.raises(UserError, match=r"out\.jpg: pictures are written as \.png"):
        upscale([source], tmp_path / "out.jpg", job("bicubic"))
    upscale([source], tmp_path / "OUT.PNG", job("bicubic"))
    assert (tmp_path / "OUT.PNG").is_file()


def test_here_and_folders_with_dots(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder("trip.2023", a=(4, 4))
    monkeypatch.chdir(source)
    upscale([Path()], None, job("bicubic"))
    assert (tmp_path / "trip.2023_x2" / "a.png").exists()


def test_a_large_result_is_recognised_again(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder("lr", a=(9, 9))
    upscale([source], tmp_path / "sr", job("bicubic"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # of which the result has 324
    upscale([source], tmp_path / "sr", job("bicubic"))


def test_transparency_and_profile_are_kept(tmp_path: Path) -> None:
    rgba = np.dstack([photograph(6, 6), photograph(6, 6, seed=1)[..., 0]])
    Image.fromarray(rgba).save(tmp_path / "a.png", icc_profile=PROFILE)
    upscale([tmp_path / "a.png"], tmp_path / "sr", job("bicubic"))
    big = images.read(tmp_path / "sr" / "a.png")
    assert big.icc == PROFILE
    assert big.alpha is not None
    np.testing.assert_array_equal(big.alpha, imresize(rgba[..., 3], 2.0))


def test_what_is_current_is_skipped(folder: Folder, tmp_path: Path, weights: Path) -> None:
    source, out = folder("lr", a=(6, 6)), tmp_path / "sr" / "a.png"
    first = upscale([source], out.parent, job(weights))
    time = out.stat().st_mtime_ns
    assert upscale([source], out.parent, job(weights)) == first
    assert out.stat().st_mtime_ns == time
    with pytest.raises(UserError, match="--overwrite"):
        upscale([source], out.parent, job("bicubic"))
    assert upscale([source], out.parent, job("bicubic", overwrite=True)) != first


def test_gathered_by_hard_links_and_replaced_whole(folder: Folder, tmp_path: Path) -> None:
    source, up, out = folder("lr", a=(4, 4), b=(4, 4)), tmp_path / "up", tmp_path / "sr_800"
    made = upscale([source], up / "m", job("bicubic"))
    gather({"m": made}, up, out)
    assert (out / "m" / "a.png").stat().st_ino == (up / "m" / "a.png").stat().st_ino
    gather({"m": {"b": ""}}, up, out)
    assert [p.name for p in (out / "m").iterdir()] == ["b.png"]
    with pytest.raises(UserError, match=r"c\.png: is missing"):
        gather({"m": {"c": ""}}, up, out)
    assert (out / "m" / "b.png").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lr", "sr_800", "up"]


def test_manifests_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    from liif.buckets import write_manifest

    for model in ("m", "n"):
        for i in range(2):
            write_manifest(tmp_path / model / f"{i}.json", {f"{model}{i}": "x"})
    found = manifests_by_model(sorted(tmp_path.glob("*/*.json")))
    assert {m: sorted(p) for m, p in found.items()} == {"m": ["m0", "m1"], "n": ["n0", "n1"]}


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(UserError, match=r"a\.png: is no picture"):
        upscale([tmp_path / "a.png"], None, job("bicubic"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_bad_picture_does_not_keep_the_others(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = folder("lr", a=(4, 4), c=(4, 4), e=(4, 4)), tmp_path / "sr"
    (source / "b.png").write_text("text")
    (source / "d.png").write_bytes((source / "e.png").read_bytes()[:60])
    out.mkdir()
    (out / "e.png").write_text("of somebody else")
    with pytest.raises(UserError) as told:
        upscale([source], out, job("bicubic"))
    first, *lines = str(told.value).splitlines()
    assert first == "3 of 5 pictures were not enlarged:"
    for line, expected in zip(
        lines, ("b.png: is no picture", "d.png: is damaged", "e.png: exists already"), strict=True
    ):
        assert expected in line
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "c.png", "e.png"]
    assert (out / "e.png").read_text() == "of somebody else"
    assert capsys.readouterr().err.count("; going on with the others") == 3
