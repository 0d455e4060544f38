"""Planned outputs: no original is replaced, no result is upscaled again unasked."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from samples import Folder, photograph

from liif.inference.plan import Job, require_place
from liif.inference.size import Size
from liif.inference.upscale import upscale
from liif.inference.upscaler import open_upscaler
from liif.system.errors import UserError

JOB = Job(upscaler=open_upscaler("bicubic"), size=Size(scale=2))
ALWAYS = replace(JOB, overwrite=True)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.mark.parametrize("job", [JOB, ALWAYS])
def test_an_input_is_never_replaced(folder: Folder, tmp_path: Path, job: Job) -> None:
    a, b = folder("a", x=(4, 4), y=(4, 5)), folder("b", x=(5, 4))
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"2 of 2.*\n.*a/x\.png: would replace .*b/x\.png, which"):
        upscale([a / "x.png", b / "x.png"], b, job)
    assert contents(tmp_path) == before
    # By another name too, and where only one of several is in the way.
    (tmp_path / "link").symlink_to(b)
    with pytest.raises(UserError, match=r"2 of 3.*\n.*a/x\.png: would replace"):
        upscale([a, b / "x.png"], tmp_path / "link", job)
    after = contents(tmp_path)
    assert {k: after[k] for k in before} == before
    assert set(after) - set(before) == {"b/y.png"}


@pytest.mark.parametrize("job", [JOB, ALWAYS])
def test_originals_within_the_folder_of_results(folder: Folder, tmp_path: Path, job: Job) -> None:
    """What lies there without our mark was not made by an earlier call."""
    source, inner = folder("d", x=(4, 4), z=(4, 4)), folder("d/sub", x=(5, 4))
    before = contents(source)
    with pytest.raises(UserError, match=r"1 of 3 .*\n.*d/x\.png: would replace .*sub/x\.png"):
        upscale([source], inner, replace(job, recursive=True))
    after = contents(source)
    assert {k: after[k] for k in before} == before
    assert set(after) - set(before) == {"sub/z.png", "sub/sub/x.png"}


def test_formats_without_a_mark_are_not_replaced_there(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder("d", x=(4, 4))
    (source / "sub").mkdir()
    Image.fromarray(photograph(5, 4)).save(source / "sub" / "x.jpg")
    before = contents(source)
    job = replace(JOB, recursive=True, suffix=".jpg")
    upscale([source], source / "sub", job)
    assert (
        f"since they look like results of an earlier call: {source}/sub/x.jpg"
        in capsys.readouterr().err
    )
    with pytest.raises(
        UserError,
        match=r"would replace .*sub/x\.jpg, which may be .*choose another",
    ):
        upscale([source], source / "sub", replace(job, overwrite=True))
    assert contents(source) == before
    upscale([source], tmp_path / "out", job)  # elsewhere it is what the user asks for
    upscale([source], tmp_path / "out", replace(job, overwrite=True))


def test_results_beside_pictures_are_not_upscaled_again(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder("lr", a=(4, 4), b=(4, 4))

    def all_of(folder: Path) -> list[Path]:
        return sorted(folder.glob("*.png"))

    upscale(all_of(source), None, JOB)
    first = contents(source)
    assert sorted(first) == ["a.png", "a_x2.png", "b.png", "b_x2.png"]
    for job in (JOB, ALWAYS):
        capsys.readouterr()
        upscale(all_of(source), None, job)
        assert contents(source) == first
        err = capsys.readouterr().err
        assert f"results of an earlier call: {source / 'a_x2.png'} and 1 more" in err
        assert "upscaling: 2 existing → " in err
    upscale([source / "a_x2.png"], None, JOB)  # alone it is meant
    assert (source / "a_x2_x2.png").is_file()


def test_folders_of_results_are_not_upscaled_again(folder: Folder, tmp_path: Path) -> None:
    folder("in/pics", a=(4, 4))
    for _ in range(3):
        upscale(sorted((tmp_path / "in").iterdir()), None, JOB)
    assert sorted(contents(tmp_path)) == ["in/pics/a.png", "in/pics_x2/a.png"]


def test_a_picture_without_our_mark_is_upscaled(folder: Folder) -> None:
    source = folder("lr", a=(4, 4), a_x2=(5, 5))
    before = contents(source)
    with pytest.raises(UserError, match=r"1 of 2 .*\n.*a\.png: would replace .*a_x2\.png"):
        upscale(sorted(source.iterdir()), None, ALWAYS)
    after = contents(source)
    assert after.pop("a_x2_x2.png")
    assert after == before


def test_a_picture_given_twice_is_upscaled_once(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = folder("lr", a=(4, 4)), tmp_path / "out"
    again = source / ".." / "lr" / "a.png"
    upscale([source / "a.png", again, source], out, JOB)
    assert f"upscaling: 1 made → {out} (" in capsys.readouterr().err


def test_pictures_of_a_manifest_that_are_gone(folder: Folder, tmp_path: Path) -> None:
    job = replace(JOB, flat=True, names=["a", "b"])
    with pytest.raises(UserError, match=r"1 of 2 pictures failed:\n.*lr: has no picture b"):
        upscale([folder("lr", a=(4, 4))], tmp_path / "out", job)
    assert list(contents(tmp_path / "out")) == ["a.png"]


def test_a_hidden_picture_that_is_named(folder: Folder, tmp_path: Path) -> None:
    source = folder("lr", a=(4, 4), b=(4, 4))
    (source / "a.png").rename(source / ".a.png")
    upscale([source], tmp_path / "one", JOB)
    upscale([source / ".a.png"], tmp_path / "two", JOB)
    assert os.listdir(tmp_path / "one") == ["b.png"]  # noqa: PTH208 (hidden files count)
    assert os.listdir(tmp_path / "two") == [".a.png"]  # noqa: PTH208


def test_a_folder_that_another_process_makes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(Path, "is_dir", lambda _: next(answers))
    require_place(tmp_path)


def test_invalid_output_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("out.txt", "out.heic", "a.tar.gz", "a.json"):
        with pytest.raises(
            UserError, match=rf"{name}: is neither a folder nor a picture .*create it"
        ):
            require_place(Path(name))
    with pytest.raises(UserError, match="not written to standard output"):
        require_place(Path("-"))
    Path("file").touch()
    with pytest.raises(UserError, match="file: is a file; choose a folder"):
        require_place(Path("file"))
    for name in ("trip.2023", "v1.5", "out", "a.png", "out.d"):
        require_place(Path(name))
    for name in ("out.txt", "-", "out.heic"):
        Path(name).mkdir()
        require_place(Path(name))


def test_a_link_has_its_output_beside_it(folder: Folder, tmp_path: Path) -> None:
    """As links into the caches of DVC and Hugging Face, whose files have other names."""
    folder("cache", **{"3f2a": (4, 4)})
    stored = (tmp_path / "cache" / "3f2a.png").rename(tmp_path / "cache" / "3f2a")
    (tmp_path / "mine").mkdir()
    link = tmp_path / "mine" / "photo.png"
    link.symlink_to(stored)
    (tmp_path / "set").symlink_to(tmp_path / "mine")
    upscale([tmp_path / "set"], None, JOB)
    upscale([link], None, JOB)
    upscale(sorted((tmp_path / "mine").iterdir()), None, ALWAYS)  # knows its result
    assert sorted(p.name for p in link.parent.iterdir()) == ["photo.png", "photo_x2.png"]
    assert sorted(contents(tmp_path / "set_x2")) == ["photo.png"]
    assert list(contents(tmp_path / "cache")) == ["3f2a"]
