from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from samples import Folder, photograph

from liif import imresize
from liif.config import CASES, Case
from liif.data.degrade import degrade, degraded
from liif.data.manifests import Bucket
from liif.images.degradations import add_noise, blur, compress
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
    with pytest.raises(UserError, match=r"a\.png: is 30×9, too small to be downscaled by 12"):
        degrade(source, tmp_path / "lr", scale=12)


BLURRED, BOTH = Case(blur=0.5), CASES["both"]


def test_a_case_is_blurred_shrunk_noised_and_compressed(folder: Folder, tmp_path: Path) -> None:
    case = Case(blur=0.5, noise=10, jpeg=75)
    source, hr = folder("hr", a=(48, 60)), photograph(48, 60)
    degrade(source, tmp_path / "lr", scale=4, case=case)
    lr = imresize(blur(hr, 0.5 * 4), 1 / 4)
    seed = int(sha256(b"a").hexdigest(), 16)
    expected = compress(add_noise(lr, 10, np.random.default_rng(seed)), 75)
    np.testing.assert_array_equal(rgb(tmp_path / "lr" / "a.png"), expected)
    np.testing.assert_array_equal(degraded(hr, 4, case, "a"), expected)


def test_noise_depends_on_the_name_and_not_on_the_other_pictures(
    folder: Folder, tmp_path: Path
) -> None:
    hr = photograph(48, 60)
    both = folder("both", a=(48, 60), b=(48, 60))
    degrade(both, tmp_path / "two", scale=2, case=CASES["noise10"], bucket=Bucket(0, 1))
    write_png(tmp_path / "alone" / "b.png", hr)
    degrade(tmp_path / "alone", tmp_path / "lr", scale=2, case=CASES["noise10"])
    a, b, alone = (rgb(tmp_path / n) for n in ("two/a.png", "two/b.png", "lr/b.png"))
    np.testing.assert_array_equal(b, degraded(rgb(both / "b.png"), 2, CASES["noise10"], "b"))
    np.testing.assert_array_equal(alone, degraded(hr, 2, CASES["noise10"], "b"))
    noise = {n: x - imresize(y, 0.5) for n, x, y in (("a", a, hr), ("b", alone, hr))}
    assert not np.array_equal(noise["a"], noise["b"])


def test_a_case_is_made_again_when_its_strength_changes(folder: Folder, tmp_path: Path) -> None:
    source, lr = folder("hr", a=(20, 20)), tmp_path / "lr"
    clean, *others = (
        degrade(source, lr, scale=2, case=case) for case in (None, BLURRED, BOTH, Case(jpeg=75))
    )
    assert len({m["a"] for m in others} | {clean["a"]}) == 4
    time = (lr / "a.png").stat().st_mtime_ns
    assert degrade(source, lr, scale=2, case=Case(jpeg=75)) == others[-1]
    assert (lr / "a.png").stat().st_mtime_ns == time
    assert degrade(source, lr, scale=2) == clean
