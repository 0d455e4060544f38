"""The rows that `make bench` measures on a GPU; here their code on a CPU, with small networks."""

import gpu
import pytest
import torch

from liif.network.build import EDSREncoder
from liif.recipe import Training

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "ENCODERS", {"RDN": EDSREncoder(blocks=1)})
    monkeypatch.setattr(gpu, "choose", lambda *_: "bf16")


def test_no_row_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.gpu_rows() == []


def test_products() -> None:
    rates = gpu.rates_row(CPU, rows=256, repeat=1)["tflops"]
    assert len(rates) == 4
    assert all(rate >= 0 for rate in rates.values())


def test_upscaling() -> None:
    row = gpu.upscaling_row("RDN", CPU, 3)
    assert row["what"] == "RDN-LIIF, 3×3 → 24×24 on the CPU"
    assert set(row["seconds"]) == {"float32", "bf16"}
    assert min(row["seconds"].values()) > 0
    assert row["ours"].endswith(" ms")


@pytest.mark.slow
def test_a_training_step() -> None:
    settings = Training(batch=1, patch=4, queries=4, scales=(1, 2))
    row = gpu.training_row("RDN", CPU, settings)
    assert set(row["seconds"]) == set(row["patches_per_second"]) == {"float32", "bf16"}
    assert row["loader"] > 0
    assert "the loader alone" in row["notes"]
