from pathlib import Path

import numpy as np
import pytest
from samples import Folder, photograph

from liif import imresize
from liif.data.degrade import degrade
from liif.data.manifests import Bucket
from liif.images.pixels import RGB8
from liif.images.png import write_png
from liif.images.read import read_picture
from liif.system.errors import UserError


def rgb(path: Path) -> RGB8:
    return read_picture(path).rgb


def test_lr_is_imresize_of_the_cropped_photograph(folder: Folder, tmp_path: Path) -> None:
    made = degrade(folder("hr", a=(50, 61)), tmp_path / "lr", scale=4)
    assert list(made) == ["a"]
    expected = imresize(photograph(50, 61)[:48, :60], 1 / 4)
    np.testing.assert_array_equal(rgb(tmp_path / "lr" / "a.png"), expected)


def test_fractional_scales_take_the_whole_photograph(folder: Folder, tmp_path: Path) -> None:
    degrade(folder("hr", a=(50, 61)), tmp_path / "lr", scale=2.5)
    assert rgb(tmp_path / "lr" / "a.png").shape == (20, 25, 3)


def test_centre_crop_and_truth(folder: Folder, tmp_path: Path) -> None:
    hr, lr = tmp_path / "truth", tmp_path / "lr"
    degrade(folder("hr", a=(50, 61)), lr, scale=8, crop=40, truth=hr)
    truth = rgb(hr / "a.png")
    np.testing.assert_array_equal(truth, photograph(50, 61)[5:45, 10:50])
    np.testing.assert_array_equal(rgb(lr / "a.png"), imresize(truth, 1 / 8))


def test_only_changes_are_degraded_again(folder: Folder, tmp_path: Path) -> None:
    source, lr = folder("hr", a=(20, 20), b=(20, 20)), tmp_path / "lr"
    first = degrade(source, lr, scale=2)
    times = {n: (lr / f"{n}.png").stat().st_mtime_ns for n in "ab"}
    write_png(source / "b.png", photograph(20, 20, seed=9))
    (source / "a.png").touch()
    second = degrade(source, lr, scale=2)
    assert (lr / "a.png").stat().st_mtime_ns == times["a"]
    assert (lr / "b.png").stat().st_mtime_ns != times["b"]
    assert first["a"] == second["a"]
    assert first["b"] != second["b"]
    assert degrade(source, lr, scale=4) != second


def test_the_lock_that_a_kill_left_beside_a_finished_picture_is_removed(
    folder: Folder, tmp_path: Path
) -> None:
    source, out, truth = folder("hr", a=(8, 8)), tmp_path / "lr", tmp_path / "truth"
    degrade(source, out, scale=2, truth=truth)
    for place in (out, truth):
        (place / ".a.part.png.lock").touch()
    degrade(source, out, scale=2, truth=truth)
    assert [*out.iterdir(), *truth.iterdir()] == [out / "a.png", truth / "a.png"]


def test_buckets_cover_everything(folder: Folder, tmp_path: Path) -> None:
    source = folder("hr", **dict.fromkeys("abcdef", (8, 8)))
    parts = [degrade(source, tmp_path / "lr", scale=2, bucket=Bucket(i, 3)) for i in range(3)]
    assert sorted(n for p in parts for n in p) == list("abcdef")


def test_small_photographs_are_named(folder: Folder, tmp_path: Path) -> None:
    source = folder("hr", a=(30, 9))
    with pytest.raises(UserError, match=r"a\.png: is 30×9, smaller than the crop of 16×16"):
        degrade(source, tmp_path / "lr", scale=8, crop=16)
    with pytest.raises(UserError, match=r"a\.png: is 30×9, too small to be reduced by 12"):
        degrade(source, tmp_path / "lr", scale=12)
