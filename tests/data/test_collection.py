import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from samples import Folder, photograph

from liif.data.collection import open_collection
from liif.system.errors import UserError


def archives(folder: Path) -> list[Path]:
    """The folder as a zip and as a tar archive, with a top folder as DIV2K has."""
    zipped, tarred = folder.with_suffix(".zip"), folder.with_suffix(".tar")
    with zipfile.ZipFile(zipped, "w") as z, tarfile.open(tarred, "w") as t:
        z.mkdir("top")
        for path in folder.iterdir():
            z.write(path, f"top/{path.name}")
            t.add(path, f"top/{path.name}")
    return [zipped, tarred]


def test_folder_and_archives_read_alike(folder: Folder) -> None:
    path = folder("set", b=(5, 6), a=(7, 3))
    (path / "notes.txt").write_text("no picture")
    (path / ".hidden.png").write_text("nor this")
    for source in [path, *archives(path)]:
        pictures = open_collection(source)
        assert pictures.names == ["a", "b"]
        np.testing.assert_array_equal(pictures.read("b"), photograph(5, 6, seed=0))
        assert pictures.digest("a") == open_collection(path).digest("a")


def test_subfolders_are_searched(folder: Folder) -> None:
    path = folder("set/inner", a=(4, 4))
    assert open_collection(path.parent).names == ["a"]


def test_mistakes_are_named(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        open_collection(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: contains no pictures"):
        open_collection(tmp_path / "empty")
    path = folder("set", a=(4, 4))
    (path / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.jpg and a\.png have the same name"):
        open_collection(path)
    (path / "notes.txt").write_text("no archive")
    with pytest.raises(UserError, match=r"neither a picture .* nor a folder"):
        open_collection(path / "notes.txt")


def test_cut_archives_are_named(folder: Folder) -> None:
    path = folder("set", a=(40, 40))
    for archive in archives(path):
        archive.write_bytes(archive.read_bytes()[:1500])
        with pytest.raises(UserError, match=archive.name):
            open_collection(archive).read("a")


def test_damaged_member_is_named(folder: Folder) -> None:
    zipped = archives(folder("set", a=(40, 40)))[0]
    content = bytearray(zipped.read_bytes())
    content[1000] ^= 0xFF
    zipped.write_bytes(content)
    with pytest.raises(UserError, match=r"set\.zip/top/a\.png: cannot be read"):
        open_collection(zipped).read("a")


def test_compressed_tar_archives_are_refused(folder: Folder, tmp_path: Path) -> None:
    path = folder("set", a=(4, 4))
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as archive:
        archive.add(path / "a.png", "a.png")
    with pytest.raises(UserError, match="compressed tar archive cannot be read"):
        open_collection(tmp_path / "set.tar.gz")


def test_names_that_are_not_utf_8(folder: Folder) -> None:
    path = folder("set", a=(4, 4))
    (path / os.fsdecode(b"\xff.png")).write_bytes(b"")
    with pytest.raises(UserError, match="a file name is not UTF-8"):
        open_collection(path)
    pictures = open_collection(path, lenient=True)
    assert pictures.names == ["a"]
    assert pictures.file("a") == path / "a.png"
    assert "is not UTF-8" in str(pictures.unusable[0])
    assert open_collection(archives(folder("other", a=(4, 4)))[0]).file("a") is None
