"""The models that are part of liif: their measurements, and their page."""

import json
from typing import Any

import model_tables
import models
import numpy as np
import pytest
from samples import photograph

from liif.checkpoints import catalog
from liif.checkpoints.load import load
from liif.images.metrics import quality
from liif.inference.upscaler import BICUBIC
from liif.network.model import LIIF
from liif.system.files import file_sha256

OWN = ["fast", "photo"]


def test_the_page_shows_the_last_measurements() -> None:
    text = model_tables.PAGE.read_text(encoding="utf-8")
    blocks = model_tables.blocks(catalog.measurements())
    assert model_tables.with_tables(text, catalog.measurements()) == text
    assert all(f"<!-- make models: {name} -->\n{block}\n" in text for name, block in blocks.items())


def test_the_measurements_are_of_the_bundled_weights() -> None:
    measured = catalog.measurements()["models"]
    for name in models.BUNDLED:
        assert measured[name]["sha256"] == file_sha256(catalog.local_path(name)), name
        assert measured[name]["parameters"] == sum(p.numel() for p in load(name).parameters())
    assert {n for n, m in measured.items() if "quality" in m} == set(models.MODELS)
    assert measured.keys() | set(OWN) == {BICUBIC, *catalog.CATALOG}


def test_the_best_model_is_first_and_bold() -> None:
    numbers: dict[str, Any] = {"time": 1.0}

    def model(psnr: float) -> dict[str, Any]:
        cell = {"without": {"psnr": psnr, "colour": 0.1}}
        return numbers | {
            "quality": {d: {"2": cell, "4": cell, "8": cell} for d in model_tables.INPUTS}
        }

    measured = {"bicubic": model(30), "fast": model(33), "photo": model(32.5)}
    head, *lines = model_tables.choice(measured)
    assert head[1:3] == ["clean, dB", "to the best"]
    assert [line[:3] for line in lines] == [
        ["`fast`", "33.000", "–"],
        ["`photo`", "32.500", "-0.500"],
        ["`bicubic`", "30.000", "-3.000"],
    ]
    rows = model_tables.psnrs(measured)
    assert rows[1:4] == [
        ["clean", "`bicubic`", "30.00", "30.00", "30.00"],
        ["", "`fast`", "**33.00**", "**33.00**", "**33.00**"],
        ["", "`photo`", "32.50", "32.50", "32.50"],
    ]


def test_psnr_is_that_of_evaluation() -> None:
    hr = photograph(60, 70)
    sr = np.random.default_rng(0).random((60, 70, 3))
    expected = quality(hr, sr, channel="rgb", border=10).psnr
    assert models.psnr(hr, sr, 4) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("factor", [1, 8])
def test_models_are_measured_as_they_enlarge(small: LIIF, factor: int) -> None:
    small.back_projection_factor = factor
    lr, size = photograph(12, 14), (36, 42)
    found = models.enlarged(small, lr, size)
    for way, back_projection in (("without", False), ("with", True)):
        big = small.upscale(lr, size=size, precision="float32", back_projection=back_projection)
        np.testing.assert_allclose(255 * found[way], big, atol=0.51)
    assert models.colour_shift(lr, found["with"]) < models.colour_shift(lr, found["without"])


def test_only_what_is_missing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, int]] = []
    monkeypatch.setattr(models, "quality", lambda _, damage, scale: done.append((damage, scale)))
    numbers: dict[str, Any] = {"sha256": "of other weights", "quality": {"clean": {"2": "old"}}}
    work = models.qualities("edsr-baseline", numbers)
    for _ in range(5):
        next(work)
    assert done == [*(("clean", s) for s in (2, 4, 8)), ("jpeg75", 2), ("jpeg75", 4)]
    done.clear()
    list(models.qualities("edsr-baseline", json.loads(json.dumps(numbers))))
    assert len(done) == 12 - 5
    assert done[0] == ("jpeg75", 8)
