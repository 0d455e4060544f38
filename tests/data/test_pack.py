import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from samples import Folder, photograph

from liif.data import versions
from liif.data.pack import Pack, pack
from liif.system.errors import UserError


def test_a_pack_returns_the_same_pixels(folder: Folder, tmp_path: Path) -> None:
    packed = pack(folder("set", b=(5, 6), a=(7, 3)), tmp_path / "set.pack")
    assert [e.name for e in packed.entries] == ["a", "b"]
    np.testing.assert_array_equal(packed.photograph(0), photograph(7, 3, seed=1))
    np.testing.assert_array_equal(packed.photograph(1), photograph(5, 6, seed=0))


def test_a_pack_is_a_safetensors_file(folder: Folder, tmp_path: Path) -> None:
    pack(folder("set", a=(7, 3)), tmp_path / "set.pack")
    np.testing.assert_array_equal(load_file(tmp_path / "set.pack")["a"], photograph(7, 3))


def test_fingerprint_is_of_pixels_and_names(folder: Folder, tmp_path: Path) -> None:
    a = pack(folder("one", a=(5, 5), b=(6, 6)), tmp_path / "1.pack").fingerprint
    same = folder("two", a=(5, 5), b=(6, 6))
    (same / "a.png").touch()
    assert pack(same, tmp_path / "2.pack").fingerprint == a
    (same / "a.png").rename(same / "c.png")
    assert pack(same, tmp_path / "3.pack").fingerprint != a


def test_a_bad_picture_leaves_no_pack(folder: Folder, tmp_path: Path) -> None:
    path = folder("set", a=(5, 5))
    (path / "b.png").write_text("no picture")
    with pytest.raises(UserError, match=r"b\.png: is not a picture"):
        pack(path, tmp_path / "out" / "set.pack")
    assert list((tmp_path / "out").iterdir()) == []


def test_small_photographs_are_named(folder: Folder, tmp_path: Path) -> None:
    packed = pack(folder("set", big=(50, 60), flat=(20, 90)), tmp_path / "set.pack")
    packed.require(20, "x")
    with pytest.raises(UserError, match=r"photograph flat \(20×90\) is smaller than x \(21×21\)"):
        packed.require(21, "x")


def test_cut_or_foreign_files_are_named(folder: Folder, tmp_path: Path) -> None:
    pack(folder("set", a=(50, 60)), tmp_path / "set.pack")
    content = (tmp_path / "set.pack").read_bytes()
    for name, data in {"cut": content[:-9], "head": content[:100], "text": b"hello"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=rf"{name}: is (truncated|not a pack)"):
            Pack(tmp_path / name)
    with pytest.raises(UserError, match="no such pack"):
        Pack(tmp_path / "none")


def test_another_process_gets_the_path_not_the_pixels(folder: Folder, tmp_path: Path) -> None:
    packed = pack(folder("set", a=(90, 90)), tmp_path / "set.pack")
    sent = pickle.dumps(packed)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).photograph(0), packed.photograph(0))


def test_another_archive_of_div2ks_name_is_reported_without_hashing_it_again(
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = tmp_path / "DIV2K_train_HR"
    archive = Path(shutil.make_archive(str(name), "zip", folder("set", a=(5, 5))))
    versions.fingerprint(archive, tmp_path / versions.CACHE)
    monkeypatch.delattr(versions, "digests")
    monkeypatch.delattr("liif.system.files.file_digest")
    pack(archive, tmp_path / "set.pack")
    assert "is not the archive that DIV2K publishes" in capsys.readouterr().err
