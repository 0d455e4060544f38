"""Checkpoints of others, made here in their layouts."""

import os
import re
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL
from torch import Tensor

from liif import checkpoint
from liif.errors import UserError
from liif.model import LIIF

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


def as_mmagic_names(model: LIIF, *, old: bool = False) -> dict[str, Tensor]:
    """The network's tensors by mmagic's names; or mmedit's, up to 0.9, of EDSR."""
    names = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("encoder.head.0"):
            new = name.replace("encoder.head.0", "head" if old else "conv_first")
        elif match := re.fullmatch(r"encoder\.body\.(\d+)\.body\.([02])\.(\w+)", name):
            block, conv, kind = match.groups()
            new = f"{'encoder.0' if old else 'body'}.{block}.conv{int(conv) // 2 + 1}.{kind}"
        elif match := re.fullmatch(r"encoder\.body\.\d+\.(\w+)", name):
            new = f"{'encoder.1' if old else 'conv_after_body'}.{match[1]}"
        else:
            new = name.replace("encoder.SFENet", "sfe").replace("encoder.RDBs", "rdbs")
            new = new.replace(".convs.", ".layers.").replace(".conv.0.", ".conv.")
            new = new.replace(".LFF.", ".lff.").replace("encoder.GFF", "gff")
        names[new if old else f"generator.{new}"] = tensor
    return names


def assert_is(path: Path, model: LIIF, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """The file holds that network, with that normalisation."""
    read, architecture, provenance = checkpoint.read(path)
    assert provenance["format"] == "mmagic"
    assert architecture.mean == pytest.approx(mean)
    assert architecture.std == pytest.approx(std)
    for name, tensor in model.state_dict().items():
        if name not in ("mean", "std"):
            assert torch.equal(read.state_dict()[name], tensor), name


def test_published_files_with_their_configuration(small: LIIF, tmp_path: Path) -> None:
    edsr = hasattr(small.encoder, "head")
    of_mmedit = "rgb_mean=(0.4488, 0.4371, 0.4040),\n    rgb_std=(1., 1., 1.)"
    of_mmagic = "mean=[0.5 * 255, 127.5, 127.5],\n        std=[127.5, 127.5, 127.5]"
    meta = {"mmedit_version": "0.9", "config": of_mmedit if edsr else of_mmagic}
    content = {"meta": meta, "state_dict": OrderedDict(as_mmagic_names(small))}
    path = tmp_path / "published.pth"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    normalised = (DIV2K_MEAN, (1, 1, 1)) if edsr else ((0.5,) * 3, (0.5,) * 3)
    assert_is(path, small, *normalised)


def test_without_a_configuration_it_is_the_published_one(small: LIIF, tmp_path: Path) -> None:
    edsr = hasattr(small.encoder, "head")
    torch.save({"state_dict": as_mmagic_names(small)}, tmp_path / "bare.pth")
    normalised = (DIV2K_MEAN, (1, 1, 1)) if edsr else ((0.5,) * 3, (0.5,) * 3)
    assert_is(tmp_path / "bare.pth", small, *normalised)
    _, _, provenance = checkpoint.read(tmp_path / "bare.pth")
    assert "published model" in provenance["normalisation"]


def test_names_of_older_releases(tmp_path: Path) -> None:
    model = checkpoint.build(SMALL["edsr"])
    torch.save({"meta": {}, "state_dict": as_mmagic_names(model, old=True)}, tmp_path / "old.pth")
    assert_is(tmp_path / "old.pth", model, DIV2K_MEAN, (1, 1, 1))


@pytest.fixture
def mmengine() -> Iterator[types.ModuleType]:
    """A package with a class that is there when a file is written, and gone when it is read."""
    package, module = types.ModuleType("mmengine"), types.ModuleType("mmengine.logging")

    class HistoryBuffer:
        def __init__(self) -> None:
            self.values = np.arange(3)

    class Buffers(dict[str, Any]):
        pass

    for kind in (HistoryBuffer, Buffers):
        kind.__module__, kind.__qualname__ = "mmengine.logging", kind.__name__
        setattr(module, kind.__name__, kind)
    sys.modules |= {"mmengine": package, "mmengine.logging": module}
    yield module
    for name in ("mmengine", "mmengine.logging"):
        sys.modules.pop(name, None)


def test_training_files_with_objects_of_their_own(
    small: LIIF, tmp_path: Path, mmengine: types.ModuleType
) -> None:
    hub = mmengine.Buffers(loss=mmengine.HistoryBuffer(), lr=[mmengine.HistoryBuffer()])
    content = {
        "meta": {"epoch": 3, "cfg": "nothing of it"},
        "state_dict": {**as_mmagic_names(small), "data_preprocessor.mean": torch.zeros(3)},
        "message_hub": hub,
        "optimizer": {"state": {0: {"step": torch.tensor(5.0)}}},
        "param_schedulers": [mmengine.HistoryBuffer()],
    }
    path = tmp_path / "training.pth"
    torch.save(content, path)
    for name in ("mmengine", "mmengine.logging"):
        del sys.modules[name]
    edsr = hasattr(small.encoder, "head")
    normalised = (DIV2K_MEAN, (1, 1, 1)) if edsr else ((0.5,) * 3, (0.5,) * 3)
    assert_is(path, small, *normalised)
    assert "mmengine" not in sys.modules


def test_the_same_pictures_come_out(small: LIIF, tmp_path: Path) -> None:
    """With the authors' normalisation, since that is what the network here has."""
    text = "rgb_mean=(0.5, 0.5, 0.5), rgb_std=(0.5, 0.5, 0.5)"
    torch.save({"meta": {"config": text}, "state_dict": as_mmagic_names(small)}, tmp_path / "a.pth")
    picture = np.random.default_rng(0).integers(0, 256, (7, 6, 3), dtype=np.uint8)
    ours = checkpoint.load(tmp_path / "a.pth").upscale(picture, scale=2.5)
    assert np.array_equal(np.asarray(ours), np.asarray(small.upscale(picture, scale=2.5)))


class Runs:
    """Makes a file when it is unpickled by whoever runs what it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_wherever_it_stands(small: LIIF, tmp_path: Path, zipped: bool) -> None:
    made = tmp_path / "made"
    content = {"state_dict": as_mmagic_names(small), "message_hub": Runs(made)}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"evil\.pth: is neither .* without running code"):
        checkpoint.read(tmp_path / "evil.pth")
    assert not made.exists()


def test_torchscript_is_refused(tmp_path: Path) -> None:
    class Adds(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.trace(Adds(), torch.zeros(1)).save(str(tmp_path / "script.pth"))
    with pytest.raises(UserError, match="without running code"):
        checkpoint.read(tmp_path / "script.pth")


def test_what_has_no_place_is_listed(small: LIIF, tmp_path: Path) -> None:
    state = {**as_mmagic_names(small), "generator.upsample.weight": torch.zeros(1)}
    torch.save({"state_dict": state}, tmp_path / "more.pth")
    with pytest.raises(UserError, match=r"more\.pth: has no place for upsample\.weight"):
        checkpoint.read(tmp_path / "more.pth")
    state = {"backbone.conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}
    torch.save({"state_dict": state}, tmp_path / "resnet.pth")
    with pytest.raises(UserError, match=r"it holds backbone\.conv1\.weight, fc\.bias"):
        checkpoint.read(tmp_path / "resnet.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(UserError, match=r"tensor\.pth: is a checkpoint, but not"):
        checkpoint.read(tmp_path / "tensor.pth")


def test_variants_and_broken_values_are_refused(small: LIIF, tmp_path: Path) -> None:
    meta = {"config": "imnet=dict(), local_ensemble=False, feat_unfold=True"}
    torch.save({"meta": meta, "state_dict": as_mmagic_names(small)}, tmp_path / "variant.pth")
    with pytest.raises(UserError, match="only full LIIF"):
        checkpoint.read(tmp_path / "variant.pth")
    state = as_mmagic_names(small)
    name = "generator.imnet.layers.0.bias"
    state[name] = torch.full_like(state[name], float("nan"))
    torch.save({"state_dict": state}, tmp_path / "nan.pth")
    with pytest.raises(UserError, match=r"no numbers, in imnet\.layers\.0\.bias"):
        checkpoint.read(tmp_path / "nan.pth")


def test_truncated_files_are_named(small: LIIF, tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    for zipped in (True, False):
        torch.save(
            {"state_dict": as_mmagic_names(small)}, path, _use_new_zipfile_serialization=zipped
        )
        whole = path.read_bytes()
        for share in (0.1, 0.5, 0.99):
            (tmp_path / "cut.pth").write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(UserError, match=r"cut\.pth: is neither"):
                checkpoint.read(tmp_path / "cut.pth")
