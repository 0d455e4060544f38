import errno
import json
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from hashlib import sha256
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import SMALL, Folder, photograph

from liif import imresize
from liif.checkpoints.format import save_checkpoint
from liif.checkpoints.load import load
from liif.data.collection import open_collection
from liif.data.manifests import TAG, tag_of
from liif.images.png import png_text
from liif.images.read import read_picture
from liif.inference.plan import Job, parse_format
from liif.inference.size import Size, parse_size
from liif.inference.upscale import upscale
from liif.inference.upscaler import open_upscaler
from liif.network import precision as precisions
from liif.network.build import build
from liif.network.model import LIIF
from liif.network.precision import Precision, Used
from liif.system.errors import UserError
from liif.system.files import DiskFull, atomic_write, file_sha256
from liif.system.locks import attempt


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, build(SMALL["edsr"]), SMALL["edsr"])
    return path


def job(weights: Path | str, scale: float = 2, overwrite: bool = False) -> Job:
    size = Size(scale=scale)
    upscaler = open_upscaler(weights, "cpu", precision="float32")
    return Job(upscaler=upscaler, size=size, overwrite=overwrite)


def test_model_output_is_rounded_to_grey_levels(
    folder: Folder, tmp_path: Path, weights: Path
) -> None:
    upscale([folder("lr", a=(9, 6))], tmp_path / "sr", job(weights, scale=2.5))
    expected = load(weights).upscale(photograph(9, 6), size=(23, 15), precision="float32")
    np.testing.assert_array_equal(read_picture(tmp_path / "sr" / "a.png").rgb, expected)


def test_bicubic_is_imresize(folder: Folder, tmp_path: Path) -> None:
    upscale([folder("lr", a=(9, 6))], tmp_path / "sr", job("bicubic"))
    expected = imresize(photograph(9, 6), 2.0)
    np.testing.assert_array_equal(read_picture(tmp_path / "sr" / "a.png").rgb, expected)


def test_the_current_folder_and_dots_in_its_name(
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


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(UserError, match=r"a\.png: is not a picture"):
        upscale([tmp_path / "a.png"], None, job("bicubic"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_bad_picture_affects_no_other(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = folder("lr", a=(4, 4), c=(4, 4), e=(4, 4)), tmp_path / "sr"
    (source / "b.png").write_text("text")
    (source / "d.png").write_bytes((source / "e.png").read_bytes()[:60])
    Image.fromarray(photograph(4, 4)).save(source / "e.jpg")
    with pytest.raises(UserError) as caught:
        upscale([source], out, job("bicubic"))
    first, *lines = str(caught.value).splitlines()
    assert first == "3 of 6 pictures failed:"
    expected = ("e.png: ", "b.png: is not a picture", "d.png: is damaged")
    for line, start in zip(lines, expected, strict=True):
        assert start in line
    assert lines[0].endswith(f"e.png is already the output of {source / 'e.jpg'}; rename one")
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "c.png", "e.png"]
    assert capsys.readouterr().err.count("; continuing with the others") == 3


def test_existing_output_is_skipped(
    folder: Folder, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = folder("lr", a=(6, 6)), tmp_path / "sr" / "a.png"
    first = upscale([source], out.parent, job(weights))
    time = out.stat().st_mtime_ns
    capsys.readouterr()
    assert upscale([source], out.parent, job(weights, overwrite=True)) == first
    assert f"upscaling: 1 existing → {out.parent} (" in capsys.readouterr().err
    assert upscale([source], out.parent, job("bicubic")) == first
    assert "made from another input or with other settings" in capsys.readouterr().err
    assert out.stat().st_mtime_ns == time
    assert upscale([source], out.parent, job("bicubic", overwrite=True)) != first


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_the_lock_that_a_kill_left_beside_a_finished_picture_is_removed(
    folder: Folder, tmp_path: Path, name: str
) -> None:
    source, out = folder("lr", a=(4, 4)), tmp_path / name
    upscale([source / "a.png"], out, job("bicubic"))
    left = tmp_path / f".{out.stem}.part{out.suffix}.lock"
    left.touch()
    upscale([source / "a.png"], out, job("bicubic"))
    assert not left.exists()


def test_results_of_an_older_version_are_replaced(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = folder("lr", a=(4, 4)), tmp_path / "sr" / "a.png"
    # The tag of before there were versions, which counts as of version 1.
    parts = ["upscale", sha256((source / "a.png").read_bytes()).hexdigest(), "bicubic", "2"]
    tag = sha256(json.dumps(parts).encode()).hexdigest()
    always = job("bicubic", overwrite=True)
    upscale([source], out.parent, always)
    assert png_text(out) == {"liif": tag}
    first = out.stat().st_mtime_ns
    upscale([source], out.parent, always)
    assert out.stat().st_mtime_ns == first
    monkeypatch.setattr("liif.data.manifests.RESULTS_VERSION", 2)
    upscale([source], out.parent, always)
    assert out.stat().st_mtime_ns != first
    assert png_text(out)["liif"] not in ("", tag)


def test_a_bad_input_affects_no_other(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = folder("lr", a=(4, 4)), tmp_path / "sr"
    empty, notes = tmp_path / "empty", tmp_path / "notes.txt"
    empty.mkdir()
    notes.write_text("no picture")
    strange = folder("strange", b=(4, 4))
    (strange / os.fsdecode(b"\xff.png")).write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.png")
    bad = [notes, tmp_path / "none.png", empty, tmp_path / "pipe.png"]
    with pytest.raises(UserError) as caught:
        upscale([*bad, source / "a.png", strange], out, job("bicubic"))
    first, *lines = str(caught.value).splitlines()
    assert first == "5 of 7 pictures failed:"
    reasons = (
        "neither a picture",
        "no such",
        "contains no pictures",
        "neither a file",
        "not UTF-8",
    )
    for line, reason in zip(lines, reasons, strict=True):
        assert reason in line
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "b.png"]
    err = capsys.readouterr().err
    assert err.count("; continuing with the others") == 5
    assert f"upscaling: 2 made, 5 failed → {out} (" in err
    for single in bad:
        with pytest.raises(UserError) as caught:
            upscale([single], out, job("bicubic"))
        assert "\n" not in str(caught.value)


def test_a_bad_target_affects_no_other(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = "n" * 251  # with its ending all that a name may have
    source, out = folder("lr", a=(4, 4), b=(4, 4), c=(4, 4), **{longest: (4, 4)}), tmp_path / "sr"
    (out / "a.png").mkdir(parents=True)
    busy = attempt(out / ".b.part.png.lock")
    assert busy is not None
    with busy, pytest.raises(UserError) as caught:
        upscale([source], out, job("bicubic"))
    first, *lines = str(caught.value).splitlines()
    assert first == "2 of 4 pictures failed:"
    assert "a.png: is a folder" in lines[0]
    assert "b.png: is being written by another process" in lines[1]
    made = {p.name for p in out.iterdir() if p.is_file() and not p.name.startswith(".")}
    assert made == {"c.png", f"{longest}.png"}
    # Beside it there is no room for the name.
    with pytest.raises(UserError, match=r"1 of 2 .*\n.*n_x2\.png: cannot be written: File name"):
        upscale([source / f"{longest}.png", source / "c.png"], None, job("bicubic"))
    assert (source / "c_x2.png").is_file()


def test_a_read_only_folder_affects_no_other(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = folder("a", x=(4, 4)), folder("b", y=(4, 4))

    def denied(path: Path) -> AbstractContextManager[Path]:
        if path.parent == a:
            raise UserError(f"{a}: cannot be written")
        return atomic_write(path)

    monkeypatch.setattr("liif.images.write.atomic_write", denied)
    with pytest.raises(UserError, match="1 of 2 pictures failed"):
        upscale([a / "x.png", b / "y.png"], None, job("bicubic"))
    assert (b / "y_x2.png").is_file()
    with pytest.raises(UserError, match=f"^{a}: cannot be written$"):
        upscale([a / "x.png"], None, job("bicubic"))


def test_the_only_folder_that_is_read_only_is_reported_once(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = folder("a", x=(4, 4), y=(4, 4))

    def denied(*places: Path) -> None:
        raise UserError(f"{places[0]}: cannot be written")

    monkeypatch.setattr("liif.inference.plan.require_writable", denied)
    with pytest.raises(UserError, match=f"^{a}: cannot be written$"):
        upscale([a / "x.png", a / "y.png"], None, job("bicubic"))


def test_a_full_disk_stops_at_once(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def full(path: Path, *_: object, **__: object) -> None:
        tried.append(path)
        with atomic_write(path):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("liif.images.write.write", full)
    with pytest.raises(DiskFull, match=r"a\.png: the disk is full"):
        upscale([folder("lr", a=(4, 4), b=(4, 4))], tmp_path / "sr", job("bicubic"))
    assert len(tried) == 1


def test_running_out_of_memory_is_reported(
    folder: Folder, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder("lr", a=(4, 4))

    def none(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("liif.images.write.write", none)
    with pytest.raises(UserError, match="bicubic makes the whole picture at once"):
        upscale([source], tmp_path / "sr", job("bicubic"))
    with pytest.raises(UserError, match="lower --max-memory"):
        upscale([source], tmp_path / "sr", job(weights))


def test_bicubic_logs_ignored_options(capsys: pytest.CaptureFixture[str]) -> None:
    for precision in ("auto", "float32"):
        assert open_upscaler("bicubic", threads=1, precision=precision).precision is None
    assert capsys.readouterr().err == ""
    opened = open_upscaler("bicubic", "cpu", None, None, True, "bf16", True)
    assert opened.back_projection is None
    ignored = "these options have no effect: --device, --self-ensemble, --precision"
    assert ignored in capsys.readouterr().err


def test_output_files(folder: Folder, tmp_path: Path) -> None:
    source = folder("lr", a=(4, 4), b=(4, 4))
    folder("lr/inner", a=(4, 4))
    bicubic = job("bicubic")
    upscale([source / "a.png"], None, bicubic)
    assert (source / "a_x2.png").exists()
    (source / "a_x2.png").unlink()
    upscale([source], None, bicubic)
    assert sorted(p.name for p in (tmp_path / "lr_x2").iterdir()) == ["a.png", "b.png"]
    upscale([source / "a.png"], tmp_path / "one.png", bicubic)
    assert read_picture(tmp_path / "one.png").rgb.shape == (8, 8, 3)
    with pytest.raises(UserError, match=r"one\.png: cannot hold several pictures"):
        upscale([source], tmp_path / "one.png", bicubic)
    for ending in ("ppm", "gif", "jp2"):
        with pytest.raises(UserError, match=rf"a\.{ending}: cannot be written; the suffix must be"):
            upscale([source / "a.png"], tmp_path / f"a.{ending}", bicubic)


def test_subfolders_are_upscaled_on_request(folder: Folder, tmp_path: Path) -> None:
    source = folder("lr", a=(4, 4))
    folder("lr/inner/deep", a=(4, 4))
    out = source / "enlarged"
    recursive = replace(job("bicubic"), recursive=True, suffix=".webp")
    made = upscale([source], out, recursive)
    assert sorted(made) == ["a.png", "inner/deep/a.png"]
    found = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*"))
    assert found == ["a.webp", "inner/deep/a.webp"]
    assert sorted(upscale([source], out, recursive)) == sorted(made)  # what it made is not input


def test_a_picture_never_replaces_itself(folder: Folder, tmp_path: Path) -> None:
    source = folder("lr", a=(4, 4))
    before = (source / "a.png").read_bytes()
    always = job("bicubic", overwrite=True)
    with pytest.raises(UserError, match="is the picture itself"):
        upscale([source / "a.png"], source / "a.png", always)
    with pytest.raises(UserError, match="is the folder of the input pictures"):
        upscale([source], source, always)
    assert (source / "a.png").read_bytes() == before


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (33, 57)])
@pytest.mark.parametrize("scale", [1, 1.37, 8, 30])
def test_any_size_at_any_scale(
    folder: Folder, tmp_path: Path, weights: Path, shape: tuple[int, int], scale: float
) -> None:
    source = folder("lr", a=shape)
    upscale([source], tmp_path / "sr", job(weights, scale=scale))
    big = read_picture(tmp_path / "sr" / "a.png").rgb
    assert big.shape == (ceil(shape[0] * scale), ceil(shape[1] * scale), 3)


def test_sizes() -> None:
    assert parse_size(None, None, None, None) == Size(scale=8)
    assert parse_size(None, "1920x1080", None, None).of((100, 100)) == (1080, 1920)
    assert parse_size(None, None, 300, None).of((100, 200)) == (150, 300)
    assert parse_size(None, None, None, 300).of((100, 200)) == (300, 600)
    assert parse_size(None, None, 30, 40).of((10, 10)) == (40, 30)
    assert Size(scale=1.37).of((33, 57)) == (46, 79)
    labels = [Size(scale=2.5), Size(width=3, height=4), Size(width=3), Size(height=4)]
    assert [size.label for size in labels] == ["x2.5", "3x4", "w3", "h4"]
    with pytest.raises(ValueError, match=r"size 50x100 is less than the picture's 200x100 pixels"):
        Size(width=50, height=100).of((100, 200))
    for bad in ("1920", "x", "0x5", "-3x4", "3x4x5", "²x4"):
        with pytest.raises(UserError, match="must look like 1920x1080"):
            parse_size(None, bad, None, None)
    with pytest.raises(UserError, match="pass only one of"):
        parse_size(2, None, 100, None)
    with pytest.raises(UserError, match="format `gif` is not one of png, jpg"):
        parse_format("gif")
    assert parse_format("JPG") == ".jpg"
    assert parse_format("jpeg", Path("a.jpg")) == ".jpeg"
    with pytest.raises(UserError, match=r"a\.jpg: its suffix says JPEG, --format says webp"):
        parse_format("webp", Path("a.jpg"))


def test_sizes_below_the_picture_are_refused(folder: Folder, tmp_path: Path) -> None:
    source = folder("lr", a=(4, 9), b=(4, 6))
    narrow = replace(job("bicubic"), size=Size(width=8))
    with pytest.raises(
        UserError,
        match=r"1 of 2 pictures failed:\n.*a\.png: size 8x4 is less than the picture's 9x4 p",
    ):
        upscale([source], tmp_path / "sr", narrow)
    assert read_picture(tmp_path / "sr" / "b.png").rgb.shape == (5, 8, 3)


def test_other_proportions_are_reported(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stretched = replace(job("bicubic"), size=Size(width=400, height=100))
    upscale([folder("lr", a=(40, 40))], tmp_path / "sr", stretched)
    assert "a.png: 40x40 is stretched to 400x100" in capsys.readouterr().err


def test_self_ensemble_is_another_picture(folder: Folder, tmp_path: Path, weights: Path) -> None:
    source, out = folder("lr", a=(5, 6)), tmp_path / "sr"
    once = upscale([source], out, job(weights))
    way = open_upscaler(weights, "cpu", self_ensemble=True, precision="float32")
    eightfold = replace(job(weights, overwrite=True), upscaler=way)
    assert upscale([source], out, eightfold) != once
    model = load(weights)
    expected = model.upscale(photograph(5, 6), scale=2, self_ensemble=True, precision="float32")
    np.testing.assert_array_equal(read_picture(out / "a.png").rgb, expected)


def test_pictures_in_bf16_are_others_and_those_of_before_stay_current(
    folder: Folder, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = folder("lr", a=(5, 6)), tmp_path / "sr"

    def call(precision: Precision, self_ensemble: bool = False) -> tuple[bool, str]:
        """Whether the file was made again, and its mark."""
        way = open_upscaler(
            *(weights, "cpu"),
            precision=precision,
            self_ensemble=self_ensemble,
            back_projection=False,
        )
        before = out.exists() and (out / "a.png").stat().st_mtime_ns
        upscale([source], out, replace(job(weights, overwrite=True), upscaler=way))
        return (out / "a.png").stat().st_mtime_ns != before, png_text(out / "a.png")[TAG]

    made, mark = call("float32")
    digest = open_collection(source).digest("a")
    assert (made, mark) == (True, tag_of("upscale", digest, file_sha256(weights), 2))
    assert call("float32") == (False, mark)
    assert "made in bf16" not in capsys.readouterr().err
    marks = {mark, call("bf16")[1], call("float32", True)[1], call("bf16", True)[1]}
    assert len(marks) == 4
    assert capsys.readouterr().err.count("upscaling: 1 made in bf16 → ") == 2
    upscale([source], out, job(weights))
    assert "1 of 1 existed already, made from another" in capsys.readouterr().err


def test_corrected_pictures_are_others_and_those_of_before_stay_current(
    folder: Folder, tmp_path: Path, weights: Path
) -> None:
    source, out = folder("lr", a=(5, 6)), tmp_path / "sr"

    def call(back_projection: bool) -> tuple[bool, str]:
        """Whether the file was made again, and its mark."""
        way = open_upscaler(weights, "cpu", precision="float32", back_projection=back_projection)
        before = out.exists() and (out / "a.png").stat().st_mtime_ns
        upscale([source], out, replace(job(weights, overwrite=True), upscaler=way))
        return (out / "a.png").stat().st_mtime_ns != before, png_text(out / "a.png")[TAG]

    made, mark = call(False)
    digest = open_collection(source).digest("a")
    assert (made, mark) == (True, tag_of("upscale", digest, file_sha256(weights), 2))
    assert call(False) == (False, mark)
    made, corrected = call(True)
    assert made
    assert corrected != mark
    assert call(True) == (False, corrected)
    expected = load(weights).upscale(photograph(5, 6), scale=2, precision="float32")
    np.testing.assert_array_equal(read_picture(out / "a.png").rgb, expected)


@pytest.mark.parametrize(("fast", "used"), [(True, "bf16"), (False, "float32")])
def test_auto_is_what_is_used(
    weights: Path, monkeypatch: pytest.MonkeyPatch, fast: bool, used: Used
) -> None:
    monkeypatch.setattr(precisions, "has_fast_bf16", lambda _: fast)
    auto, explicit = (open_upscaler(weights, "cpu", precision=p) for p in ("auto", used))
    assert auto.precision == used
    assert auto.identity == explicit.identity
    asked: list[object] = []
    monkeypatch.setattr(LIIF, "upscale_bands", lambda *_, precision, **__: asked.append(precision))
    open_upscaler(weights, "cpu").bands(photograph(2, 2), (4, 4))
    assert asked == [used]


def test_bf16_where_it_is_slower_is_pointed_out_once(
    folder: Folder,
    tmp_path: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(precisions, "has_fast_bf16", lambda _: False)
    way = open_upscaler(weights, "cpu", precision="bf16")
    source = folder("lr", a=(3, 3), b=(3, 3))
    upscale([source], tmp_path / "sr", replace(job(weights), upscaler=way))
    assert capsys.readouterr().err.count("cpu computes bf16 slowly") == 1


def test_only_the_first_of_several_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (Image.fromarray(photograph(4, 4, seed=i)) for i in range(2))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    upscale([tmp_path / "a.tif"], tmp_path / "sr", job("bicubic", scale=1))
    np.testing.assert_array_equal(read_picture(tmp_path / "sr" / "a.png").rgb, photograph(4, 4))
    assert "has 2 frames; only the first is upscaled" in capsys.readouterr().err


@pytest.mark.slow
def test_fifty_pictures_killed_in_the_middle(folder: Folder, tmp_path: Path, weights: Path) -> None:
    source, out = folder("lr", **{f"p{i}": (24, 24) for i in range(50)}), tmp_path / "sr"
    words = ["upscale", str(source), "-o", str(out), "--weights", str(weights), "--threads", "1"]
    command = [sys.executable, "-m", "liif", *words, "--precision", "float32"]
    rng = np.random.default_rng(0)
    times: dict[Path, int] = {}
    for stop_at in sorted(rng.choice(np.arange(5, 45), 2, replace=False)):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while len(list(out.glob("p*.png"))) < stop_at:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        process.wait()
        for path in out.glob("p*.png"):
            assert read_picture(path).rgb.shape == (192, 192, 3)
            assert times.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert 0 < len(times) < 50
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    summary = f"upscaling: {50 - len(times)} made, {len(times)} existing → {out} ("
    assert summary in done.stderr
    assert sorted(p.name for p in out.iterdir()) == sorted(f"p{i}.png" for i in range(50))
    assert all(path.stat().st_mtime_ns == then for path, then in times.items())
