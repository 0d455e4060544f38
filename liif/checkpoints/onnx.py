"""Exporting a model to ONNX: an encoder and a decoder for pictures of any size."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from liif.checkpoints.catalog import locate
from liif.checkpoints.load import read_checkpoint
from liif.network import coords
from liif.network.build import Architecture
from liif.network.model import LIIF, Encoded
from liif.system.errors import UserError
from liif.system.files import atomic_write, file_sha256

TOLERANCE = 1e-4
"""How far the exported graphs' RGB may be from the original's, in 0..1."""
OPSET = 18
_SIZES = [((24, 31), 40), ((1, 1), 7), ((9, 50), 1)]
"""LR sizes and numbers of queries that the export is checked with."""


class Exported(NamedTuple):
    """What was written."""

    encoder: Path
    decoder: Path
    difference: float
    """The largest seen between the exported and the original, in 0..1."""


class _Encoder(nn.Module):
    """RGB (b, 3, h, w) in 0..1 → features (b, c, h, w)."""

    def __init__(self, model: LIIF) -> None:
        super().__init__()
        self.model = model

    def forward(self, lr: Tensor) -> Tensor:
        features: Tensor = self.model.encoder((lr - self.model.mean[:, None, None]) / self._std)
        return features

    @property
    def _std(self) -> Tensor:
        return self.model.std[:, None, None]


class _Decoder(nn.Module):
    """Features, queries (b, q, 2), cells (b, 2) → RGB (b, q, 3); for a skip the LR picture too."""

    def __init__(self, model: LIIF) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, features: Tensor, queries: Tensor, cells: Tensor, lr: Tensor | None = None
    ) -> Tensor:
        m = self.model
        normalised = features if lr is None else (lr - m.mean[:, None, None]) / m.std[:, None, None]
        return m.decode(Encoded(features, normalised), queries, cells)


def export_onnx(weights: str, out: Path | None = None) -> Exported:
    """Write `OUT.encoder.onnx` and `OUT.decoder.onnx`, checked against the original.

    Parameters
    ----------
    weights
        `bundled`, a known name, or a file of any format that `liif.load` takes.
    out
        The files' names without ending, or a folder that there is; default the weights' name, in
        that folder or the current one.

    Raises
    ------
    UserError
        The weights cannot be read, or what was exported differs by more than 1e−4; then nothing
        is left behind.
    """
    path = locate(weights)
    model, architecture, _ = read_checkpoint(path)
    model.eval()
    if out is None or out.is_dir():
        out = (out or Path()) / path.stem
    names = [out.with_name(f"{out.name}.{part}.onnx") for part in ("encoder", "decoder")]
    about = {"weights_sha256": file_sha256(path), "architecture": architecture.model_dump_json()}
    with atomic_write(names[0]) as encoder, atomic_write(names[1]) as decoder:
        inputs = _inputs((24, 31), 40)
        features = model.encode(inputs["lr"]).features.detach()
        _write(
            _Encoder(model),
            {"lr": inputs["lr"]},
            "features",
            encoder,
            about,
            {"lr": {0: "batch", 2: "rows", 3: "columns"}},
        )
        given = {"features": features, "queries": inputs["queries"], "cells": inputs["cells"]}
        if architecture.skip != "none":
            given["lr"] = inputs["lr"]
        plane = {0: "batch", 2: "rows", 3: "columns"}
        dynamic = {
            "features": plane,
            "queries": {0: "batch", 1: "queries"},
            "cells": {0: "batch"},
            "lr": plane,
        }
        _write(_Decoder(model), given, "rgb", decoder, about, {k: dynamic[k] for k in given})
        difference = max(_difference(model, architecture, encoder, decoder, *s) for s in _SIZES)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{weights}: what was exported differs by {difference:.1e}, more than {TOLERANCE}; "
                "nothing was written"
            )
    return Exported(names[0], names[1], difference)


def _inputs(size: tuple[int, int], queries: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    anywhere = torch.rand(2, queries, 2, generator=generator) * 2 - 1
    # The centre of the first pixel, where the ensemble's areas are all but zero.
    on_a_pixel = torch.tensor([1 / n - 1 for n in size]).expand(2, 1, 2)
    return {
        "lr": torch.rand(2, 3, *size, generator=generator),
        "queries": torch.cat([anywhere, on_a_pixel], dim=1),
        "cells": coords.cell((8 * size[0], 8 * size[1])).expand(2, 2).clone(),
    }


def _write(
    module: nn.Module,
    inputs: dict[str, Tensor],
    output: str,
    path: Path,
    about: dict[str, str],
    dynamic: dict[str, dict[int, str]],
) -> None:
    import onnx

    with _quiet(), torch.enable_grad():  # with gradients, encoders take no strips of rows
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            verbose=False,
            optimize=False,  # it takes the ensemble's 1e−9, which keeps 0/0 away, for nothing
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=dynamic,
        )
    assert program is not None
    proto = program.model_proto
    proto.producer_name = "liif"
    for key, value in about.items():
        proto.metadata_props.add(key=key, value=value)
    onnx.save(proto, str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _difference(
    model: LIIF,
    architecture: Architecture,
    encoder: Path,
    decoder: Path,
    size: tuple[int, int],
    queries: int,
) -> float:
    """The largest difference in RGB for pictures of that size, run by onnxruntime."""
    inputs = _inputs(size, queries)
    (features,) = run(encoder, {"lr": inputs["lr"].numpy()})
    fed = {"features": features, **{k: inputs[k].numpy() for k in ("queries", "cells")}}
    if architecture.skip != "none":
        fed["lr"] = inputs["lr"].numpy()
    (rgb,) = run(decoder, fed)
    with torch.inference_mode():
        expected = model.decode(
            model.encode(inputs["lr"]), inputs["queries"], inputs["cells"]
        ).numpy()
    return float(np.abs(rgb - expected).max())


def run(path: Path, inputs: dict[str, Any]) -> list[Any]:
    """What a graph gives, by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs: list[Any] = session.run(None, inputs)
    return outputs
