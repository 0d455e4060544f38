import json
from pathlib import Path

import pytest

from liif.data.manifests import (
    Bucket,
    back_projection_of,
    lost,
    parse_bucket,
    precision_of,
    read_manifests,
    tag_of,
    write_manifest,
)
from liif.system.errors import UserError


def test_every_name_is_in_exactly_one_bucket() -> None:
    names = [f"{i:04d}" for i in range(1000)]
    counts = [sum(name in Bucket(i, 4) for name in names) for i in range(4)]
    assert sum(counts) == 1000
    assert min(counts) > 200
    assert all(name in Bucket() for name in names)


def test_buckets_are_stable() -> None:
    assert [i for i in range(20) if str(i) in Bucket(1, 4)] == [3, 5, 6, 10, 12, 14, 15, 16]


def test_parsing() -> None:
    assert parse_bucket("2/5") == Bucket(2, 5)
    for text in ("5/5", "-1/5", "x", "1/2/3", "1"):
        with pytest.raises(UserError, match=f"bucket `{text}`"):
            parse_bucket(text)


def test_tags_differ_for_every_input() -> None:
    assert len({tag_of("a", 1), tag_of("a", 2), tag_of("a1"), tag_of("a", "1", None)}) == 4


def test_manifests_of_several_buckets(tmp_path: Path) -> None:
    write_manifest(tmp_path / "0.json", {"a": "1"})
    write_manifest(tmp_path / "1.json", {"b": "2"})
    both = read_manifests([tmp_path / "0.json", tmp_path / "1.json"])
    assert both == {"a": "1", "b": "2"}
    (tmp_path / "2.json").write_text("{}")
    with pytest.raises(UserError, match=r"2\.json: is not a manifest"):
        read_manifests([tmp_path / "2.json"])
    with pytest.raises(UserError, match="no such manifest"):
        read_manifests([tmp_path / "3.json"])


def test_manifests_name_the_precision_of_a_network(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.json" for i in range(3)]
    for file, used in zip(files, (None, "bf16", "float32"), strict=True):
        write_manifest(file, {file.stem: "1"}, precision=used)
    assert json.loads(files[0].read_text()) == {"pictures": {"0": "1"}, "folders": []}
    assert precision_of(files[:1]) is None
    assert precision_of(files[:2]) == "bf16"
    assert precision_of(files) == "bf16, float32"
    assert read_manifests(files) == {"0": "1", "1": "1", "2": "1"}


def test_manifests_name_back_projection(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.json" for i in range(4)]
    for file, used in zip(files, (None, True, True, False), strict=True):
        write_manifest(file, {file.stem: "1"}, back_projection=used)
    assert "back_projection" not in json.loads(files[0].read_text())
    assert back_projection_of(files[:1]) is back_projection_of([]) is None
    assert back_projection_of(files[1:3]) is True
    assert back_projection_of(files[3:]) is False
    assert back_projection_of(files) is back_projection_of(files[2:]) is None


def test_manifests_of_deleted_pictures_are_found(tmp_path: Path) -> None:
    manifests, pictures = tmp_path / "manifests", tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").touch()
    write_manifest(manifests / "whole.json", {"a": "1"}, pictures)
    write_manifest(manifests / "lost.json", {"a": "1", "b": "2"}, pictures)
    (manifests / "damaged.json").write_text("{")
    assert [p.name for p in lost(manifests)] == ["damaged.json", "lost.json"]
