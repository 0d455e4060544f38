from pathlib import Path

import pytest
from samples import Folder

from liif.inference.gather import (
    back_projection_by_model,
    gather,
    manifests_by_model,
    precision_by_model,
)
from liif.inference.plan import Job
from liif.inference.size import Size
from liif.inference.upscale import upscale
from liif.inference.upscaler import open_upscaler
from liif.system.errors import UserError


def test_gathered_by_hard_links_and_replaced_whole(folder: Folder, tmp_path: Path) -> None:
    source, up, out = folder("lr", a=(4, 4), b=(4, 4)), tmp_path / "up", tmp_path / "sr_800"
    job = Job(upscaler=open_upscaler("bicubic"), size=Size(scale=2), flat=True)
    made = upscale([source], up / "m", job)
    gather({"m": made}, up, out)
    assert (out / "m" / "a.png").stat().st_ino == (up / "m" / "a.png").stat().st_ino
    gather({"m": {"b": ""}}, up, out)
    assert [p.name for p in (out / "m").iterdir()] == ["b.png"]
    with pytest.raises(UserError, match=r"c\.png: is missing"):
        gather({"m": {"c": ""}}, up, out)
    assert (out / "m" / "b.png").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lr", "sr_800", "up"]


def test_manifests_are_grouped_by_folder(tmp_path: Path) -> None:
    from liif.data.manifests import write_manifest

    for model in ("m", "n"):
        for i in range(2):
            used = "bf16" if model == "m" else None
            path, made = tmp_path / model / f"{i}.json", {f"{model}{i}": "x"}
            write_manifest(path, made, precision=used, back_projection=model == "m" or None)
    folders = [tmp_path / "m", tmp_path / "n"]
    assert precision_by_model(folders, 2) == {"m": "bf16", "n": None}
    assert back_projection_by_model(folders, 2) == {"m": True, "n": None}
    found = manifests_by_model(sorted(tmp_path.glob("*/*.json")))
    assert {m: sorted(p) for m, p in found.items()} == {"m": ["m0", "m1"], "n": ["n0", "n1"]}
