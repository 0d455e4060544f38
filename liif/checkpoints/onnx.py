"""Export to ONNX: an encoder and a decoder for pictures of any size, checked by onnxruntime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from liif.checkpoints.catalog import locate
from liif.checkpoints.load import read_checkpoint
from liif.checkpoints.outputs import name_of
from liif.network import coords
from liif.network.model import LIIF, Encoded
from liif.system.errors import UserError
from liif.system.files import atomic_write, file_sha256

TOLERANCE = 1e-4
"""Largest accepted difference of the exported graphs' RGB from the original's, in 0..1."""
OPSET = 18
_SIZES = [((24, 31), 40), ((1, 1), 7), ((9, 50), 1)]
"""LR sizes and numbers of queries of the check; the first is that of the export."""
_PLANE = {0: "batch", 2: "rows", 3: "columns"}
_QUERIES = {0: "batch", 1: "queries"}
_DYNAMIC = {"lr": _PLANE, "features": _PLANE, "queries": _QUERIES, "cells": {0: "batch"}}
"""The free dimensions of each input."""


class Exported(NamedTuple):
    """The files of an exported model."""

    encoder: Path
    decoder: Path
    difference: float
    """The largest found between the exported and the original RGB, in 0..1."""


class _Part(nn.Module):
    def __init__(self, model: LIIF) -> None:
        super().__init__()
        self.model = model


class _Encoder(_Part):
    """RGB (b, 3, h, w) in 0..1 → features (b, c, h, w)."""

    def forward(self, lr: Tensor) -> Tensor:
        return self.model.encode(lr).features


class _Decoder(_Part):
    """Features, queries (b, q, 2), cells (b, 2) → RGB (b, q, 3); with a skip the LR picture too."""

    def forward(
        self, features: Tensor, queries: Tensor, cells: Tensor, lr: Tensor | None = None
    ) -> Tensor:
        normalised = features if lr is None else self.model.normalise(lr)
        return self.model.decode(Encoded(features, normalised), queries, cells)


def export_onnx(weights: str, out: Path | None = None) -> Exported:
    """Write `OUT.encoder.onnx` and `OUT.decoder.onnx`, verified against the original.

    Parameters
    ----------
    weights
        As for `load`.
    out
        The files' name without suffix, or an existing folder. By default the weights' name, in that
        folder or the current one.

    Raises
    ------
    UserError
        The weights cannot be loaded, or the exported network differs from the original.
    """
    path = locate(weights)
    model, architecture, _ = read_checkpoint(path)
    model.eval()
    if out is None or out.is_dir():
        out = (out or Path()) / name_of(path)
    names = [out.with_name(f"{out.name}.{part}.onnx") for part in ("encoder", "decoder")]
    about = {"weights_sha256": file_sha256(path), "architecture": architecture.model_dump_json()}
    with atomic_write(names[0]) as encoder, atomic_write(names[1]) as decoder:
        lr, inputs = _inputs(model, *_SIZES[0])
        _write(_Encoder(model), {"lr": lr}, "features", encoder, about)
        _write(_Decoder(model), inputs, "rgb", decoder, about)
        difference = max(_difference(model, encoder, decoder, *size) for size in _SIZES)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{weights}: the exported model differs by {difference:.1e}, more than "
                f"{TOLERANCE}; nothing was written"
            )
    return Exported(names[0], names[1], difference)


def _inputs(model: LIIF, size: tuple[int, int], queries: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Random LR pictures of that size, and the decoder's inputs for them."""
    generator = torch.Generator().manual_seed(0)
    anywhere = torch.rand(2, queries, 2, generator=generator) * 2 - 1
    # The centre of the first pixel, where the ensemble's areas are almost zero.
    on_a_pixel = torch.tensor([1 / n - 1 for n in size]).expand(2, 1, 2)
    lr = torch.rand(2, 3, *size, generator=generator)
    inputs = {
        "features": model.encode(lr).features.detach(),
        "queries": torch.cat([anywhere, on_a_pixel], dim=1),
        "cells": coords.cell((8 * size[0], 8 * size[1])).expand(2, 2).clone(),
    }
    return lr, inputs | ({"lr": lr} if model.skip != "none" else {})


def _write(
    module: nn.Module, inputs: dict[str, Tensor], output: str, path: Path, about: dict[str, str]
) -> None:
    import onnx

    with _quiet(), torch.enable_grad():  # with gradients, encoders do not work in bands
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            verbose=False,
            optimize=False,  # it would drop the ensemble's 1e−9, which prevents 0/0
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes={name: _DYNAMIC[name] for name in inputs},
        )
    assert program is not None
    proto = program.model_proto
    proto.producer_name = "liif"
    for key, value in about.items():
        proto.metadata_props.add(key=key, value=value)
    onnx.save(proto, str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's own messages."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)


def _difference(
    model: LIIF, encoder: Path, decoder: Path, size: tuple[int, int], queries: int
) -> float:
    """The largest difference in RGB for pictures of that size."""
    lr, inputs = _inputs(model, size, queries)
    (features,) = run_onnx(encoder, {"lr": lr.numpy()})
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    (rgb,) = run_onnx(decoder, {**arrays, "features": features})
    with torch.inference_mode():
        expected = model.decode(model.encode(lr), inputs["queries"], inputs["cells"])
    return float((torch.from_numpy(rgb) - expected).abs().max())


def run_onnx(path: Path, inputs: dict[str, Any]) -> list[Any]:
    """The outputs of a graph, computed by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs: list[Any] = session.run(None, inputs)
    return outputs
