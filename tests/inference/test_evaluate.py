import csv
import json
from pathlib import Path
from typing import Any

import direct
import numpy as np
import pytest
import torch
from samples import SMALL, Folder, photograph

from liif import imresize
from liif.checkpoints.format import save_checkpoint
from liif.checkpoints.load import load
from liif.data.degrade import degrade
from liif.images import metrics
from liif.images.png import write_png
from liif.inference.evaluate import Result, evaluate, merge, print_table, write_tables
from liif.inference.upscaler import open_upscaler
from liif.network.build import build
from liif.system.errors import UserError


@pytest.fixture
def hr(folder: Folder) -> Path:
    return folder("hr", a=(50, 61), b=(48, 48))


def test_benchmark_pairs_with_and_without_suffix(hr: Path, tmp_path: Path) -> None:
    """HR of any size beside MATLAB LR pictures, measured on luma as the benchmarks are."""
    for i, lr in enumerate((tmp_path / "plain", tmp_path / "suffix")):
        degrade(hr, lr, scale=4)
        if i:
            for path in list(lr.iterdir()):
                path.rename(path.with_name(f"{path.stem}x4.png"))
    weights = tmp_path / "w.safetensors"
    save_checkpoint(weights, build(SMALL["rdn"]), SMALL["rdn"])
    options: dict[str, Any] = {"scale": 4, "channel": "y", "border": 4}
    upscaler = open_upscaler(weights, "cpu", precision="float32", back_projection=False)
    plain = evaluate(hr, lr=tmp_path / "plain", upscaler=upscaler, **options)
    assert plain == evaluate(hr, lr=tmp_path / "suffix", upscaler=upscaler, **options)

    # By hand, with the direct form of the network.
    truth = photograph(50, 61)[:48, :60]
    lr_unit = torch.from_numpy(imresize(truth, 0.25) / 255).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        sr = direct.image_rgb(load(weights), lr_unit, (48, 60)).clamp(0, 1)[0]
    luma = [
        (np.asarray(x, dtype=float) @ [65.738, 129.057, 25.064] / 256)[4:-4, 4:-4]
        for x in (truth / 255, sr.permute(1, 2, 0))
    ]
    psnr = -10 * np.log10(np.mean((luma[0] - luma[1]) ** 2))
    assert plain["pictures"]["a"]["psnr"] == pytest.approx(psnr, abs=1e-4)
    mean = np.mean([q["psnr"] for q in plain["pictures"].values()])
    assert plain["psnr"] == pytest.approx(mean)


def test_bicubic_is_rounded_imresize(hr: Path, tmp_path: Path) -> None:
    degrade(hr, tmp_path / "lr", scale=2)
    result = evaluate(hr, lr=tmp_path / "lr", upscaler=open_upscaler("bicubic"), scale=2)
    truth = photograph(48, 48, seed=1)
    expected = metrics.quality(truth, imresize(imresize(truth, 0.5), 2.0), channel="rgb", border=8)
    assert result["pictures"]["b"] == {
        "psnr": pytest.approx(expected.psnr),
        "ssim": pytest.approx(expected.ssim),
    }
    assert (result["channel"], result["border"]) == ("rgb", 8)


def test_pictures_upscaled_before(hr: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "sr" / "a.png", photograph(50, 61))
    result = evaluate(hr, sr=tmp_path / "sr", scale=2, border=0, names=["a"])
    assert result["psnr"] is None  # equal
    assert result["ssim"] == pytest.approx(1)


def test_misfits_are_named(hr: Path, tmp_path: Path) -> None:
    degrade(hr, tmp_path / "lr", scale=2)
    bicubic = open_upscaler("bicubic")
    with pytest.raises(UserError, match=r"a\.png: is 50×61, .* LR picture of 25×30 at scale 4"):
        evaluate(hr, lr=tmp_path / "lr", upscaler=bicubic, scale=4)
    with pytest.raises(UserError, match=r"a\.png: a border of 30 pixels leaves no pixels"):
        evaluate(hr, lr=tmp_path / "lr", upscaler=bicubic, scale=2, border=30)
    (tmp_path / "lr" / "a.png").unlink()
    with pytest.raises(UserError, match="has neither a nor ax2"):
        evaluate(hr, lr=tmp_path / "lr", upscaler=bicubic, scale=2)


def test_pictures_that_are_not_the_same_are_refused(hr: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "sr" / "a.png", photograph(12, 15))
    with pytest.raises(UserError, match=r"a\.png: is 50×61, the upscaled picture 12×15"):
        evaluate(hr, sr=tmp_path / "sr", scale=4, names=["a"])


def test_fractional_scales_may_give_a_pixel_more(hr: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "sr" / "a.png", photograph(53, 63))
    expected = metrics.quality(
        photograph(50, 61), photograph(53, 63)[:50, :61], channel="rgb", border=0
    )
    result = evaluate(hr, sr=tmp_path / "sr", scale=3.3, border=0, names=["a"])
    assert result["psnr"] == pytest.approx(expected.psnr)


def test_an_empty_bucket_needs_no_folder(tmp_path: Path) -> None:
    empty = evaluate(tmp_path / "no", sr=tmp_path / "no", scale=2, names=[])
    assert empty["pictures"] == {}
    assert merge([]) == []


def result(model: str, scale: float, **psnr: float) -> Result:
    pictures = {n: {"psnr": p, "ssim": 0.5} for n, p in psnr.items()}
    head = {"model": model, "set": "valid", "scale": scale, "channel": "rgb", "border": 8}
    return {**head, "psnr": sum(psnr.values()) / len(psnr), "ssim": 0.5, "pictures": pictures}


def test_buckets_are_averaged_by_pictures_not_by_jobs(tmp_path: Path) -> None:
    parts = [result("m", 2, a=30, b=31, c=32), result("m", 2, d=20)]
    for i, part in enumerate(parts):
        (tmp_path / f"{i}.json").write_text(json.dumps(part))
    (whole,) = merge([tmp_path / "0.json", tmp_path / "1.json"])
    assert whole["psnr"] == pytest.approx((30 + 31 + 32 + 20) / 4)
    assert list(whole["pictures"]) == ["a", "b", "c", "d"]
    assert merge([tmp_path], 2) == [whole]
    (tmp_path / "2.json").write_text("{}")
    with pytest.raises(UserError, match=r"2\.json: is not an evaluation"):
        merge([tmp_path / "2.json"])


def test_what_was_used_is_in_the_result(hr: Path, tmp_path: Path) -> None:
    degrade(hr, tmp_path / "lr", scale=2)
    weights = tmp_path / "w.safetensors"
    save_checkpoint(weights, build(SMALL["edsr"]), SMALL["edsr"])
    used = {}
    for precision in ("float32", "bf16"):
        upscaler = open_upscaler(weights, "cpu", precision=precision)
        found = evaluate(hr, lr=tmp_path / "lr", upscaler=upscaler, scale=2)
        used[precision] = found["precision"]
    assert used == {"float32": "float32", "bf16": "bf16"}
    bicubic = open_upscaler("bicubic", precision="bf16")
    assert evaluate(hr, lr=tmp_path / "lr", upscaler=bicubic, scale=2)["precision"] is None
    made_before = evaluate(hr, sr=hr, sr_precision="bf16", scale=2)
    assert made_before["precision"] == "bf16"
    assert evaluate(hr, sr=hr, scale=2)["precision"] is None


def test_evaluation_with_back_projection(hr: Path, tmp_path: Path) -> None:
    degrade(hr, tmp_path / "lr", scale=2)
    weights = tmp_path / "w.safetensors"
    save_checkpoint(weights, build(SMALL["edsr"]), SMALL["edsr"])

    def measured(used: bool) -> tuple[bool, float]:
        upscaler = open_upscaler(weights, "cpu", precision="float32", back_projection=used)
        found = evaluate(hr, lr=tmp_path / "lr", upscaler=upscaler, scale=2)
        return found["back_projection"], found["psnr"]

    plain, corrected = measured(False), measured(True)
    assert (plain[0], corrected[0]) == (False, True)
    assert corrected[1] > plain[1]  # of random weights
    bicubic = evaluate(hr, lr=tmp_path / "lr", upscaler=open_upscaler("bicubic"), scale=2)
    assert bicubic["back_projection"] is None
    assert evaluate(hr, sr=hr, scale=2)["back_projection"] is None
    made_before = evaluate(hr, sr=hr, sr_back_projection=True, scale=2)
    assert made_before["back_projection"] is True


@pytest.mark.parametrize(
    ("model", "parts", "expected"),
    [
        ("m", [True, True], True),
        ("m", [True, "before"], None),
        ("m", ["before", False], False),  # results of before lack it
        ("bicubic", ["before", None], None),
    ],
)
def test_back_projection_in_buckets(
    tmp_path: Path, model: str, parts: list[bool | str | None], expected: bool | None
) -> None:
    for i, used in enumerate(parts):
        part = result(model, 2, **{str(i): 30})
        part |= {} if used == "before" else {"back_projection": used}
        (tmp_path / f"{i}.json").write_text(json.dumps(part))
    (whole,) = merge([tmp_path], len(parts))
    assert whole["back_projection"] is expected


@pytest.mark.parametrize(
    ("model", "parts", "expected"),
    [
        ("m", ["bf16", "bf16"], "bf16"),
        ("m", ["float32", "bf16"], "bf16, float32"),
        ("m", ["before", "before"], "float32"),  # results of before name none
        ("m", ["before", "bf16"], "bf16, float32"),
        ("bicubic", ["before", None], None),
        ("m", [None], None),
    ],
)
def test_the_precision_of_buckets(
    tmp_path: Path, model: str, parts: list[str | None], expected: str | None
) -> None:
    for i, used in enumerate(parts):
        part = {**result(model, 2, **{str(i): 30}), "precision": used}
        if used == "before":
            del part["precision"]
        (tmp_path / f"{i}.json").write_text(json.dumps(part))
    (whole,) = merge([tmp_path], len(parts))
    assert whole["precision"] == expected


def test_the_printed_table_names_a_precision_other_than_float32(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bicubic, model = result("bicubic", 2, a=30), result("m", 2, a=31)
    print_table([bicubic, model])
    assert "float32" not in capsys.readouterr().out
    print_table([bicubic, {**model, "precision": "bf16"}, result("n", 2, a=32)])
    rows = [line for line in capsys.readouterr().out.splitlines() if ".000" in line]
    named = [[name for name in ("bf16", "float32") if name in row] for row in rows]
    assert named == [[], ["bf16"], ["float32"]]


def test_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = [result("m", 12, a=20), result("m", 2, a=30), result("n", 2, a=31)]
    write_tables(results, tmp_path / "metrics", tmp_path / "all.csv")
    assert sorted(p.name for p in (tmp_path / "metrics").iterdir()) == ["m.json", "n.json"]
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text().splitlines()))
    assert [(r["scale"], r["model"], r["psnr"]) for r in rows] == [
        ("2", "m", "30.000"),
        ("2", "n", "31.000"),
        ("12", "m", "20.000"),
    ]
    print_table(results)
    assert "31.000" in capsys.readouterr().out


def test_the_printed_table_names_back_projection(capsys: pytest.CaptureFixture[str]) -> None:
    bicubic, model = result("bicubic", 2, a=30), result("m", 2, a=31)
    print_table([bicubic, {**model, "back_projection": False}])
    assert "back-projection" not in capsys.readouterr().out
    print_table([bicubic, {**model, "back_projection": True}, result("n", 2, a=32)])
    output = capsys.readouterr().out
    assert "back-projection" in output
    rows = [line for line in output.splitlines() if ".000" in line]
    assert ["yes" in row for row in rows] == [False, True, False]
