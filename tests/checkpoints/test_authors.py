"""Checkpoints of other projects, generated in their layouts."""

import os
import re
import subprocess
import sys
import tarfile
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from samples import SMALL
from torch import Tensor

from liif.checkpoints.convert import convert_weights
from liif.checkpoints.load import load, read_checkpoint
from liif.network.build import build
from liif.network.model import LIIF
from liif.system.errors import UserError

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


def as_mmagic_names(model: LIIF, *, old: bool = False) -> dict[str, Tensor]:
    """The network's tensors under mmagic's names, or for EDSR those of mmedit up to 0.9."""
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
    """Check the network and the normalisation that the file holds."""
    read, architecture, provenance = read_checkpoint(path)
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


def test_the_published_normalisation_is_assumed(small: LIIF, tmp_path: Path) -> None:
    edsr = hasattr(small.encoder, "head")
    torch.save({"state_dict": as_mmagic_names(small)}, tmp_path / "bare.pth")
    normalised = (DIV2K_MEAN, (1, 1, 1)) if edsr else ((0.5,) * 3, (0.5,) * 3)
    assert_is(tmp_path / "bare.pth", small, *normalised)
    _, _, provenance = read_checkpoint(tmp_path / "bare.pth")
    assert "published model" in provenance["normalisation"]


def test_names_of_older_releases(tmp_path: Path) -> None:
    model = build(SMALL["edsr"])
    torch.save({"meta": {}, "state_dict": as_mmagic_names(model, old=True)}, tmp_path / "old.pth")
    assert_is(tmp_path / "old.pth", model, DIV2K_MEAN, (1, 1, 1))


@pytest.fixture
def mmengine() -> Iterator[types.ModuleType]:
    """A package with classes that exist when a file is written, but not when it is read."""
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


def test_training_files_with_objects_of_missing_classes(
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


def test_converted_weights_give_the_same_pictures(small: LIIF, tmp_path: Path) -> None:
    """With the authors' normalisation, which is that of the network here."""
    text = "rgb_mean=(0.5, 0.5, 0.5), rgb_std=(0.5, 0.5, 0.5)"
    torch.save({"meta": {"config": text}, "state_dict": as_mmagic_names(small)}, tmp_path / "a.pth")
    picture = np.random.default_rng(0).integers(0, 256, (7, 6, 3), dtype=np.uint8)
    ours = load(tmp_path / "a.pth").upscale(picture, scale=2.5)
    assert np.array_equal(np.asarray(ours), np.asarray(small.upscale(picture, scale=2.5)))


class Runs:
    """Creates a file when an unsafe unpickler reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_anywhere_in_the_file(small: LIIF, tmp_path: Path, zipped: bool) -> None:
    made = tmp_path / "made"
    content = {"state_dict": as_mmagic_names(small), "message_hub": Runs(made)}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"evil\.pth: is neither .* without running code"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not made.exists()


def test_torchscript_is_refused(tmp_path: Path) -> None:
    class Adds(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.trace(Adds(), torch.zeros(1)).save(str(tmp_path / "script.pth"))
    with pytest.raises(UserError, match="without running code"):
        read_checkpoint(tmp_path / "script.pth")


def test_unknown_tensors_are_listed(small: LIIF, tmp_path: Path) -> None:
    state = {**as_mmagic_names(small), "generator.upsample.weight": torch.zeros(1)}
    torch.save({"state_dict": state}, tmp_path / "more.pth")
    with pytest.raises(UserError, match=r"more\.pth: contains 1 unknown tensor: upsample"):
        read_checkpoint(tmp_path / "more.pth")
    state = {"backbone.conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}
    torch.save({"state_dict": state}, tmp_path / "resnet.pth")
    with pytest.raises(UserError, match=r"it contains backbone\.conv1\.weight, fc\.bias"):
        read_checkpoint(tmp_path / "resnet.pth")
    state = {**as_mmagic_names(small), **{f"critic.{i}": torch.zeros(1) for i in range(9)}}
    torch.save({"state_dict": state}, tmp_path / "many.pth")
    with pytest.raises(UserError, match=r"9 unknown tensors: critic\.0.*critic\.8"):
        read_checkpoint(tmp_path / "many.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(UserError, match=r"tensor\.pth: is a checkpoint, but not"):
        read_checkpoint(tmp_path / "tensor.pth")


def test_variants_and_broken_values_are_refused(small: LIIF, tmp_path: Path) -> None:
    meta = {"config": "imnet=dict(), local_ensemble=False, feat_unfold=True"}
    torch.save({"meta": meta, "state_dict": as_mmagic_names(small)}, tmp_path / "variant.pth")
    with pytest.raises(UserError, match="only full LIIF"):
        read_checkpoint(tmp_path / "variant.pth")
    state = as_mmagic_names(small)
    name = "generator.imnet.layers.0.bias"
    state[name] = torch.full_like(state[name], float("nan"))
    torch.save({"state_dict": state}, tmp_path / "nan.pth")
    with pytest.raises(UserError, match=r"not finite, in imnet\.layers\.0\.bias"):
        read_checkpoint(tmp_path / "nan.pth")


def test_truncated_files_are_refused(small: LIIF, tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    for zipped in (True, False):
        torch.save(
            {"state_dict": as_mmagic_names(small)}, path, _use_new_zipfile_serialization=zipped
        )
        whole = path.read_bytes()
        for share in (0.1, 0.5, 0.99):
            (tmp_path / "cut.pth").write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(UserError, match=r"cut\.pth: is neither"):
                read_checkpoint(tmp_path / "cut.pth")


def test_scaled_residuals_of_a_configuration(tmp_path: Path) -> None:
    model = build(SMALL["edsr"])
    text = (
        "encoder=dict(type='EDSRNet', res_scale=0.5, rgb_mean=(0.4, 0.4, 0.4), rgb_std=(1, 1, 1))"
    )
    for name, cfg in (("a.pth", text), ("b.pth", f"{text}, dict(res_scale=0.25)")):
        content = {"meta": {"cfg": cfg}, "state_dict": as_mmagic_names(model)}
        torch.save(content, tmp_path / name)
    read, _, provenance = read_checkpoint(tmp_path / "a.pth")
    assert provenance["res_scale"] == 0.5
    for key, tensor in model.state_dict().items():
        half = re.fullmatch(r"encoder\.body\.\d\.body\.2\.\w+", key) is not None
        assert torch.equal(read.state_dict()[key], tensor * 0.5 if half else tensor), key
    with pytest.raises(UserError, match=r"several values of res_scale \(0\.25, 0\.5\)"):
        read_checkpoint(tmp_path / "b.pth")


def test_the_models_own_normalisation_has_precedence(small: LIIF, tmp_path: Path) -> None:
    text = (
        "img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])\n"
        "data_preprocessor=dict(type='X', pad=(1, 2), mean=[51, 51, 1.02e2], std=[255, 255, 255])"
    )
    content = {"meta": {"cfg": text}, "state_dict": as_mmagic_names(small)}
    torch.save(content, tmp_path / "a.pth")
    assert_is(tmp_path / "a.pth", small, (0.2, 0.2, 0.4), (1, 1, 1))
    content["meta"] = {"cfg": "mean=[1e2, 2, 3], std=[0.0, 0.0, 0.0]"}
    torch.save(content, tmp_path / "b.pth")
    with pytest.raises(UserError, match=r"b\.pth: its configuration has a `std` of 0"):
        read_checkpoint(tmp_path / "b.pth")


@pytest.mark.parametrize("stated", [True, False])
def test_import_logs_the_basis_of_the_normalisation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stated: bool
) -> None:
    model = build(SMALL["edsr"])
    cfg = "res_scale=0.5, mean=[114.444, 111.4605, 103.02], std=[255, 255, 255]" if stated else ""
    content = {"meta": {"cfg": cfg}, "state_dict": as_mmagic_names(model)}
    torch.save(content, tmp_path / "a.pth")
    out = tmp_path / "a.safetensors"
    convert_weights(str(tmp_path / "a.pth"), out, sha256=None, partial=tmp_path)
    line = capsys.readouterr().err
    assert "mean 0.4488/0.4371/0.404, std 1/1/1" in line
    assert ("assumed" in line) == (not stated)
    assert ("(as the file says)" in line) == stated
    assert ("residual scaling 0.5 folded" in line) == stated


def test_a_small_file_cannot_claim_gigabytes(tmp_path: Path) -> None:
    """It numbers its only object 50,000,000; the unpickler in C would allocate room for as many."""
    path = tmp_path / "x.pth"
    path.write_bytes(b"\x80\x02]r" + (50_000_000).to_bytes(4, "little") + b"." + bytes(100))
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from liif.checkpoints.load import read_checkpoint\n"
        "from liif.system.errors import UserError\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\n"
        "try: read_checkpoint(Path(sys.argv[1]))\n"
        "except UserError: print(peak() - before)"
    )
    words = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100, "megabytes"


@pytest.mark.parametrize(
    "content",
    [
        {"model": torch.zeros(2), "state_dict": {}},
        {"model": {"sd": torch.zeros(2)}},
        {"model": {"sd": {}, "args": torch.zeros(2)}},
        {"model": {"sd": {}, "args": [1]}},
        {"model": {"sd": {}, "args": {"encoder_spec": torch.zeros(2)}}},
        {"state_dict": torch.zeros(2)},
        [1],
    ],
)
def test_values_of_unexpected_types_are_refused(tmp_path: Path, content: object) -> None:
    """Found by fuzzing: a tensor in place of a dictionary raises RuntimeError."""
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match="is a checkpoint, but not in a layout of"):
        read_checkpoint(tmp_path / "x.pth")


def test_a_tar_archive_is_refused(tmp_path: Path) -> None:
    """PyTorch would unpack a member to disk: here a pipe, on which it would wait for ever."""
    path = tmp_path / "x.pth"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("storages")
        member.type = tarfile.FIFOTYPE
        archive.addfile(member)
    with pytest.raises(UserError, match="is a tar archive, which is not a supported checkpoint"):
        read_checkpoint(path)
