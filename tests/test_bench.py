"""What `make bench` shows is what it measured; here with small networks and few products."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import rates
import run
import tables
import torch
import trained
import upscaled
import variants

from liif.network import device
from liif.network.build import EDSREncoder
from liif.recipe import Recipe

ROOT = Path(__file__).parent.parent
LATEST = json.loads((ROOT / "benchmarks" / "latest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "words"), tables.DOCUMENTS.items())
def test_documents_show_the_last_measurements(name: str, words: dict[str, str]) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert tables.with_measurements(text, LATEST, words) == text


def measured(auto: str) -> dict[str, Any]:
    """A row as on a processor where `auto` is this."""
    results = {"published": {"seconds": 20.0, "peak_mb": 900.0}}
    results["float32"] = {"seconds": 5.0, "encoding_seconds": 1.0, "peak_mb": 300.0}
    if auto == "bf16":
        results["bf16"] = {"seconds": 1.0, "encoding_seconds": 0.2, "peak_mb": 310.0}
    ours = [name for name in results if name != "published"]
    row = variants.compared("a square", results, dict.fromkeys(ours, 100.0))
    row["share"] = dict.fromkeys(ours, 0.5)
    about = {**run.machine(), "auto": auto}
    return {"machine": about, "rows": {"upscaling": [{**row, "runs": {"published": 1}}]}}


def test_ours_in_both_precisions_beside_the_published_form() -> None:
    head, line = tables.precision_table(measured("bf16"))
    assert head[1:4] == ["published form", "float32", "bf16 (`auto`)"]
    assert line[1:4] == ["20.0 s (one run)", "5.00 s, 4.0×", "1.00 s, 20.0×"]
    assert line[4:] == ["100 (50%) / 100 (50%)", "900 / 300 / 310"]


def test_no_column_of_bf16_where_auto_is_float32() -> None:
    head, line = tables.precision_table(measured("float32"))
    assert head[1:-2] == ["published form", "float32 (`auto`)"]
    assert line[1:-2] == ["20.0 s (one run)", "5.00 s, 4.0×"]


def test_the_machine_says_what_auto_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert "amx_bf16; " in tables.machine_line(run.machine())
    assert tables.machine_line(run.machine()).endswith("`auto` is bf16")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    line = tables.machine_line(run.machine())
    assert "no bf16 instructions, masked by ONEDNN_MAX_CPU_ISA=AVX2" in line
    assert line.endswith("`auto` is float32")


def test_rates_and_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "ROWS", (32,))
    found = rates.product_rates(round_seconds=0)
    assert set(found) == {"float32", "bf16"}
    assert all(rate > 0 for by_way in found.values() for rate in by_way.values())
    by_way = {"torch.mm, 8 rows": 100.0, "oneDNN's linear, 8 rows": 200.0}
    (row,) = run.with_shares([{"gflops": {"float32": 150.0}}], {"float32": by_way})
    assert row["share"] == {"float32": 0.75}


def test_parts_are_repeated_on_the_same_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "OUT", tmp_path / "latest.json")
    monkeypatch.setattr(device, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(run, "product_rates", lambda: LATEST["rates"])

    def bench(part: str, threads: int) -> list[str]:
        monkeypatch.setattr(run, "machine", lambda: {**LATEST["machine"], "threads": threads})
        monkeypatch.setitem(run.PARTS, part, lambda: [])
        monkeypatch.setattr(sys, "argv", ["run.py", part])
        run.main()
        return list(json.loads(run.OUT.read_text("utf-8"))["rows"])

    assert bench("sizes", 2) == ["sizes"]
    assert bench("upscaling", 2) == ["upscaling", "sizes"]
    assert bench("loading", 4) == ["loading"]


def test_work_of_a_step() -> None:
    """That of the encoder's convolutions, counted by hand for EDSR-baseline."""
    pixels = 16 * 48 * 48
    encoder = 2 * pixels * 9 * 64 * (3 + 33 * 64) / 1e9
    grid = 2 * pixels * 9 * 64 * 256 / 1e9
    assert rates.step_gflop("edsr") == pytest.approx(
        3 * (encoder + grid + rates.decoder_gflop(16 * 2304))
    )


@pytest.mark.parametrize("who", ["published", "float32", "bf16"])
def test_upscaling_by_each(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.ENCODERS, "rdn", lambda: EDSREncoder(blocks=1))
    monkeypatch.setattr(device, "keep_freed_memory", lambda: None)
    numbers = upscaled.prepare(who, "rdn", "4")()
    assert min(numbers.values()) > 0
    assert ("encoding_seconds" in numbers) == (who != "published")


def test_a_variant_runs_in_its_own_process() -> None:
    results = variants.compare("upscaled", ["published", "float32"], "edsr", "4", runs=1)
    row = variants.compared("a small square", results, {})
    assert set(row["seconds"]) == set(row["peak_mb"]) == {"published", "float32"}
    assert row["ratio"]["float32"] > 0


def test_a_variant_that_fails_is_named() -> None:
    with pytest.raises(SystemExit, match="upscaled float32 edsr no-number failed"):
        variants.once("upscaled", "float32", "edsr", "no-number")


@pytest.mark.slow
def test_a_training_step_by_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.ENCODERS, "edsr", lambda: EDSREncoder(blocks=1))
    monkeypatch.setattr(device, "keep_freed_memory", lambda: None)
    train = {"batch": 1, "patch": 4, "queries": 4, "scales": (1, 2)}
    monkeypatch.setattr(
        trained,
        "Recipe",
        lambda encoder: Recipe.model_validate({"encoder": encoder, "train": train}),
    )
    for who in ("published", "float32", "bf16"):
        assert trained.prepare(who, "edsr")()["seconds"] > 0
