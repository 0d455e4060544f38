from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import onnx
import pytest
import torch
from samples import SMALL, photograph
from typer.testing import CliRunner

from liif.checkpoints import onnx as liif_onnx
from liif.checkpoints.format import save_checkpoint
from liif.checkpoints.load import load
from liif.checkpoints.onnx import export_onnx, run_onnx
from liif.cli import app
from liif.network import coords
from liif.network.build import Architecture, build
from liif.network.interpolation import Skip
from liif.system.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporter


@pytest.fixture(autouse=True)
def _shapes_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter traces with symbolic sizes, which the shape checker refuses."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def upscale(encoder: Path, decoder: Path, picture: np.ndarray, scale: int) -> np.ndarray:
    """Upscale a picture with nothing of liif but the two files."""
    lr = (picture.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    (features,) = run_onnx(encoder, {"lr": lr})
    rows, cols = (n * scale for n in picture.shape[:2])
    y, x = ((2 * np.arange(n, dtype=np.float32) + 1) / n - 1 for n in (rows, cols))
    queries = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(1, -1, 2)
    cells = np.array([[2 / rows, 2 / cols]], dtype=np.float32)
    inputs = {"features": features, "queries": queries, "cells": cells}
    wanted = [i.name for i in onnx.load(decoder).graph.input]
    (rgb,) = run_onnx(decoder, {k: v for k, v in {**inputs, "lr": lr}.items() if k in wanted})
    clipped: np.ndarray = np.clip(rgb, 0, 1).reshape(rows, cols, 3)
    return clipped


@pytest.mark.parametrize(
    ("name", "skip"),
    [
        ("edsr", "bicubic"),
        pytest.param("rdn", "bicubic", marks=pytest.mark.slow),
        pytest.param("edsr", "none", marks=pytest.mark.slow),
        pytest.param("rdn", "none", marks=pytest.mark.slow),
    ],
)
def test_any_size_of_any_network(tmp_path: Path, name: str, skip: Skip) -> None:
    architecture: Architecture = SMALL[name].model_copy(update={"skip": skip})
    torch.manual_seed(0)
    model = build(architecture).eval()
    save_checkpoint(tmp_path / "a.safetensors", model, architecture)
    made = export_onnx(str(tmp_path / "a.safetensors"), tmp_path / "out" / "a")
    assert made.difference <= 1e-5
    for size in ((1, 1), (1, 13), (20, 9)):
        picture = photograph(*size)
        ours = upscale(made.encoder, made.decoder, picture, 3)
        unit = picture.astype(np.float32) / 255
        expected = model.upscale(unit, scale=3, precision="float32", back_projection=False)
        np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.slow
def test_released_weights_with_their_metadata(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", "bundled", "--onnx", "-o", str(tmp_path / "a")])
    assert result.exit_code == 0, result.output
    assert "differs from the original by at most" in result.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.decoder.onnx", "a.encoder.onnx"]
    proto = onnx.load(tmp_path / "a.encoder.onnx")
    onnx.checker.check_model(proto)
    assert {p.key for p in proto.metadata_props} >= {"weights_sha256", "architecture"}
    picture = photograph(40, 30)
    ours = upscale(tmp_path / "a.encoder.onnx", tmp_path / "a.decoder.onnx", picture, 4)
    unit = picture.astype(np.float32) / 255
    expected = load().upscale(unit, scale=4, precision="float32", back_projection=False)
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.slow
def test_files_in_a_folder_are_named_after_the_weights(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.safetensors", build(SMALL["edsr"]), SMALL["edsr"])
    (tmp_path / "out").mkdir()
    made = export_onnx(str(tmp_path / "a.safetensors"), tmp_path / "out")
    assert made.encoder == tmp_path / "out" / "a.encoder.onnx"
    assert made.encoder.is_file()


@pytest.mark.slow
def test_a_differing_export_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = SMALL["edsr"]
    save_checkpoint(tmp_path / "a.safetensors", build(architecture), architecture)
    rightly = liif_onnx._write

    def write(*args: Any) -> None:
        with monkeypatch.context() as wrongly:
            wrongly.setattr(coords, "EPS", 0.3)
            rightly(*args)

    monkeypatch.setattr(liif_onnx, "_write", write)
    with pytest.raises(UserError, match=r"differs by .*nothing was written"):
        export_onnx(str(tmp_path / "a.safetensors"), tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_format_must_be_named() -> None:
    result = CliRunner().invoke(app, ["export", "bundled"])
    assert isinstance(result.exception, UserError)
    assert "--onnx" in str(result.exception)
