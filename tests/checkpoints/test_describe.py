"""The description of a checkpoint."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_results import make_results
from samples import SMALL, as_the_authors_save

from liif.checkpoints.catalog import BUNDLED
from liif.checkpoints.describe import describe
from liif.checkpoints.format import save_checkpoint
from liif.network.build import build
from liif.recipe import Recipe
from liif.system.errors import UserError
from liif.system.files import file_sha256, write_json


def test_the_released_weights() -> None:
    facts = dict(describe("bundled"))
    assert facts["network"].startswith("EDSR-baseline-LIIF as published: EDSR, 16 blocks")
    assert facts["parameters"] == "1,567,299"
    assert facts["converted from"].startswith("the authors' format, sha256 1cf77e16f33ee17b")
    assert facts["epoch"] == "1000"
    assert facts["sha256"] == file_sha256(BUNDLED)


def test_a_training_with_its_sidecar_and_metrics(tmp_path: Path) -> None:
    folder = make_results(tmp_path / "results", ["a"], 48)
    weights = folder / "models" / "better.safetensors"
    recipe = Recipe.model_validate(SMALL["rdn"].model_dump())
    provenance = {"recipe": recipe.model_dump(mode="json"), "data": "abc", "data_version": "x.dir"}
    save_checkpoint(weights, build(SMALL["rdn"]), SMALL["rdn"], provenance)
    sidecar = folder / "models" / "better.run.json"
    write_json(sidecar, {"steps": 30, "seconds": 61, "device": "cpu", "finished": "today"})
    facts = dict(describe(str(weights)))
    assert "1000 epochs, batches of 16, LR patches of 48, scales 1 to 4" in facts["training"]
    assert facts["data version"] == "x.dir"
    assert facts["trained"] == "30 steps in 1 min 1 s on cpu, finished today"
    sidecar_of_today = json.loads(sidecar.read_text()) | {"precision": "bf16"}
    write_json(sidecar, sidecar_of_today)
    facts = dict(describe(str(weights)))
    assert facts["trained"] == "30 steps in 1 min 1 s on cpu, in bf16, finished today"
    found = json.loads((folder / "metrics" / "better.json").read_text())["results"]
    (test,) = (r for r in found if r["set"] == "test")
    assert facts["test ×8"].startswith(f"{test['psnr']:.3f} dB")
    measured = facts["test ×8"]
    for used, expected in ((None, measured), ("bf16", f"{measured}, in bf16")):
        for result in found:
            result["precision"] = used
        write_json(folder / "metrics" / "better.json", {"results": found})
        assert dict(describe(str(weights)))["test ×8"] == expected
    for result in found:
        result["back_projection"] = True
    write_json(folder / "metrics" / "better.json", {"results": found})
    assert dict(describe(str(weights)))["test ×8"] == f"{measured}, in bf16, with back-projection"
    for content in ("{", "{}", "[]"):
        sidecar.write_text(content)
        with pytest.raises(UserError, match=r"better\.run\.json: is damaged") as caught:
            describe(str(weights))
        assert "delete" not in str(caught.value)  # it may be another program's file
    sidecar.unlink()
    (folder / "metrics" / "better.json").write_text('{"results": [{"of": "another program"}]}')
    with pytest.raises(UserError, match=r"metrics/better\.json: is damaged, or not liif's"):
        describe(str(weights))


def test_a_training_on_degraded_pictures(tmp_path: Path) -> None:
    degrade = {"noise": {"range": [1, 20], "probability": 0.4}, "jpeg": {"range": [25, 95]}}
    recipe = Recipe.model_validate(SMALL["edsr"].model_dump() | {"train": {"degrade": degrade}})
    provenance = {"recipe": recipe.model_dump(mode="json"), "data": "abc"}
    save_checkpoint(tmp_path / "a", build(SMALL["edsr"]), SMALL["edsr"], provenance)
    facts = dict(describe(str(tmp_path / "a")))
    assert facts["degraded"] == "noise 1 to 20 (40%), jpeg 25 to 95 (100%)"


def test_checkpoints_of_other_projects(tmp_path: Path) -> None:
    as_the_authors_save(build(SMALL["edsr"]), tmp_path / "a.pth")
    facts = dict(describe(str(tmp_path / "a.pth")))
    assert (facts["format"], facts["epoch"]) == ("the authors'", "7")
    (tmp_path / "a.pth").rename(tmp_path / "a.safetensors")  # the content counts
    assert dict(describe(str(tmp_path / "a.safetensors")))["format"] == "the authors'"
    save_checkpoint(tmp_path / "b.pth", build(SMALL["edsr"]), SMALL["edsr"], {"res_scale": 0.1})
    facts = dict(describe(str(tmp_path / "b.pth")))
    assert facts["format"] == "liif's safetensors"
    assert facts["residual scaling"] == "0.1, folded into the weights"


def test_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "liif", "info"]
    done = subprocess.run([*command, "bundled", "--json"], capture_output=True, text=True)
    assert json.loads(done.stdout) == dict(describe("bundled"))
    done = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        f"liif: {tmp_path / 'none'}: no such weights file\n",
    )
