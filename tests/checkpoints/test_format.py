import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from samples import SMALL, as_the_authors_save

from liif import load
from liif.checkpoints.catalog import BUNDLED, locate
from liif.checkpoints.convert import convert_weights
from liif.checkpoints.format import identity, load_tensors, save_checkpoint, save_tensors
from liif.checkpoints.load import read_checkpoint
from liif.network.build import build
from liif.network.edsr import EDSR, ResidualBlock
from liif.network.model import LIIF
from liif.recipe import Recipe
from liif.system.errors import UserError
from liif.system.files import file_sha256


def test_round_trip(small: LIIF, tmp_path: Path) -> None:
    kind = "rdn" if hasattr(small.encoder, "RDBs") else "edsr"
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, small, SMALL[kind], {"data": "abc"})
    model, architecture, provenance = read_checkpoint(path)
    assert architecture == SMALL[kind]
    assert provenance == {"data": "abc"}
    for name, tensor in small.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_equal_weights_are_equal_bytes(small: LIIF, tmp_path: Path) -> None:
    kind = "rdn" if hasattr(small.encoder, "RDBs") else "edsr"
    for i in range(8):
        save_checkpoint(tmp_path / f"{i}.safetensors", small, SMALL[kind], {"b": 1, "a": [2]})
    assert len({p.read_bytes() for p in tmp_path.iterdir()}) == 1


def test_released_weights_ship_with_provenance() -> None:
    model, _, provenance = read_checkpoint()
    assert provenance["epoch"] == 1000
    assert sum(p.numel() for p in model.parameters()) == 1_567_299
    assert (BUNDLED.parent / "LICENSE-edsr-baseline-liif.txt").read_text().startswith("BSD 3")
    assert not load().training


def test_loading_needs_no_locks_signals_or_processes(tmp_path: Path) -> None:
    code = """
import os, sys
os.umask(0o027)
import liif
liif.load()
assert os.umask(0o027) == 0o027
names = ("files", "locks", "processes", "signals")
assert not {f"liif.system.{name}" for name in names} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_authors_format(small: LIIF, tmp_path: Path) -> None:
    as_the_authors_save(small, tmp_path / "a.pth")
    model, architecture, provenance = read_checkpoint(tmp_path / "a.pth")
    assert architecture in SMALL.values()
    assert provenance["epoch"] == 7
    lr = torch.rand(1, 3, 5, 4)
    ours, theirs = model.decode_image(model.encode(lr), (9, 9)), small.encode(lr)
    assert torch.equal(ours, small.decode_image(theirs, (9, 9)))


def test_authors_variants_are_refused(small: LIIF, tmp_path: Path) -> None:
    as_the_authors_save(small, tmp_path / "a.pth", local_ensemble=False)
    with pytest.raises(UserError, match="without unfolding"):
        read_checkpoint(tmp_path / "a.pth")


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('code from a checkpoint ran')",))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"model": Malicious()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"evil\.pth.*without running code"):
        read_checkpoint(tmp_path / "evil.pth")


def test_other_files_are_refused(small: LIIF, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pth: no such"):
        read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello, I am no checkpoint")
    with pytest.raises(UserError, match=r"text\.pth: is neither"):
        read_checkpoint(tmp_path / "text.pth")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(UserError, match=r"empty\.pth"):
        read_checkpoint(tmp_path / "empty.pth")
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="layout of LIIF's authors"):
        read_checkpoint(tmp_path / "other.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="not one of liif's"):
        read_checkpoint(tmp_path / "foreign.safetensors")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(BUNDLED.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"cut\.safetensors"):
        read_checkpoint(tmp_path / "cut.safetensors")


def test_tensors_that_do_not_match_are_listed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.safetensors", build(SMALL["edsr"]), SMALL["rdn"])
    with pytest.raises(UserError, match=r"SFENet1\.weight is missing"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, build(SMALL["edsr"]), SMALL["edsr"])
    before = file_sha256(path)
    with pytest.raises(TypeError):
        save_checkpoint(path, build(SMALL["edsr"]), SMALL["edsr"], {"no JSON": object()})
    assert file_sha256(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert load_tensors(path)[1]["format"] == 1


@pytest.mark.parametrize(
    ("encoder", "scale"),
    [
        ({"name": "edsr-baseline", "args": {"no_upsampling": True}}, 1),
        ({"name": "edsr-baseline", "args": {"res_scale": 0.25}}, 0.25),
        ({"name": "edsr", "args": {"no_upsampling": True}}, 0.1),  # what their code takes then
        ({"name": "edsr", "args": {"res_scale": 1}}, 1),
        ({"name": "edsr"}, 0.1),
    ],
)
def test_scaled_residuals_are_the_same_network(
    tmp_path: Path, encoder: dict[str, Any], scale: float
) -> None:
    torch.manual_seed(0)
    plain = build(SMALL["edsr"]).eval()
    as_the_authors_save(plain, tmp_path / "a.pth", encoder_spec=encoder)
    model, _, provenance = read_checkpoint(tmp_path / "a.pth")
    assert provenance.get("res_scale", 1) == scale
    lr = torch.rand(1, 3, 5, 4)
    assert isinstance(plain.encoder, EDSR)
    shallow = x = plain.encoder.head(lr)
    *blocks, last = plain.encoder.body.children()
    for block in blocks:
        assert isinstance(block, ResidualBlock)
        x = x + block.body(x) * scale
    torch.testing.assert_close(model.encoder(lr), last(x) + shallow, rtol=1e-5, atol=1e-6)


def test_other_networks_of_the_authors(tmp_path: Path) -> None:
    as_the_authors_save(build(SMALL["edsr"]), tmp_path / "a.pth")
    content = torch.load(tmp_path / "a.pth")
    content["model"]["name"] = "metasr"
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match="the authors' model metasr"):
        read_checkpoint(tmp_path / "a.pth")
    wrong = {"name": "edsr", "args": {"res_scale": "much"}}
    as_the_authors_save(build(SMALL["edsr"]), tmp_path / "b.pth", encoder_spec=wrong)
    with pytest.raises(UserError, match=r"res_scale=much.* is not a number"):
        read_checkpoint(tmp_path / "b.pth")


BIAS = "imnet.layers.0.bias"


@pytest.mark.filterwarnings("ignore:.*torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: 5, "is int"),
        (lambda t: t.to(torch.int32), "is of int32"),
        (lambda t: t.to(torch.complex64), "is of complex64"),
        (lambda t: t.to_sparse(), "is sparse"),
        (lambda t: t.to("meta"), "without values"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "quantised"),
        (lambda t: t[:1].expand(10**9, 10**9), "fewer values than its shape says"),
    ],
)
def test_only_plain_tensors_are_weights(
    tmp_path: Path, change: Callable[[torch.Tensor], object], message: str
) -> None:
    state: dict[str, Any] = dict(build(SMALL["edsr"]).state_dict())
    state[BIAS] = change(state[BIAS])
    torch.save({"model": {"name": "liif", "args": {}, "sd": state}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=rf"a\.pth: {BIAS} .*{message}"):
        read_checkpoint(tmp_path / "a.pth")
    if "int32" in message or "complex" in message:
        metadata = {"format": 1, "architecture": SMALL["edsr"].model_dump(mode="json")}
        save_tensors(tmp_path / "a.safetensors", state, metadata)
        with pytest.raises(UserError, match=rf"a\.safetensors: {BIAS} .*{message}"):
            read_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("epoch", "kept"),
    [
        (torch.tensor(5), 5),
        (np.int64(5), None),
        (float("inf"), None),
        (6.0, 6),
        ("x", None),
        (None, None),
        (torch.zeros(3), None),
    ],
)
def test_the_epoch_is_a_number_or_nothing(tmp_path: Path, epoch: object, kept: int | None) -> None:
    state = build(SMALL["edsr"]).state_dict()
    content = {"model": {"name": "liif", "args": None, "sd": state}, "epoch": epoch}
    torch.save(content, tmp_path / "a.pth")
    convert_weights(
        str(tmp_path / "a.pth"), tmp_path / "b.safetensors", sha256=None, partial=tmp_path
    )
    assert read_checkpoint(tmp_path / "b.safetensors")[2].get("epoch") == kept


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"blocks": 10**9}, r"does not match its architecture, which has 4000000010 tensors"),
        ({"channels": 10**9}, "tensors do not match its architecture|too large to build"),
        ({"channels": 10**30}, "too large to build"),
        ({"blocks": 3}, "8 tensors do not match its architecture: "),
    ],
)
def test_sizes_claimed_by_the_file_are_checked_first(
    tmp_path: Path, sizes: dict[str, int], message: str
) -> None:
    """They are refused at once, before memory is allocated."""
    architecture = SMALL["edsr"].model_dump(mode="json")
    architecture["encoder"] |= sizes
    tensors = build(SMALL["edsr"]).state_dict()
    save_tensors(tmp_path / "a.safetensors", tensors, {"format": 1, "architecture": architecture})
    with pytest.raises(UserError, match=message):
        read_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize("provenance", [5, [1], "x", {"format": [1]}, {"format": 1}])
def test_damaged_provenance_is_refused(tmp_path: Path, provenance: object) -> None:
    metadata = {"format": 1, "architecture": SMALL["edsr"].model_dump(mode="json")}
    tensors = build(SMALL["edsr"]).state_dict()
    save_tensors(tmp_path / "a.safetensors", tensors, {**metadata, "provenance": provenance})
    with pytest.raises(UserError, match=r"a\.safetensors: its provenance is damaged"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_the_format_is_detected_by_content(tmp_path: Path) -> None:
    model = build(SMALL["edsr"])
    as_the_authors_save(model, tmp_path / "a.safetensors")
    assert read_checkpoint(tmp_path / "a.safetensors")[2] == {"format": "authors", "epoch": 7}
    save_checkpoint(tmp_path / "b.pth", model, SMALL["edsr"])
    assert read_checkpoint(tmp_path / "b.pth")[1] == SMALL["edsr"]


def test_every_mismatch_is_listed(tmp_path: Path) -> None:
    state = {**build(SMALL["edsr"]).state_dict(), **{f"x.{i}": torch.zeros(1) for i in range(9)}}
    torch.save({"model": {"args": {}, "sd": state}}, tmp_path / "a.pth")
    with pytest.raises(
        UserError, match=r"9 tensors do not match .*x\.0 is unknown.*x\.8 is unknown"
    ):
        read_checkpoint(tmp_path / "a.pth")


def test_names_in_a_file_are_printed_safely(tmp_path: Path) -> None:
    state = {**build(SMALL["edsr"]).state_dict(), "x\n\x1b[2J": torch.zeros(1)}
    torch.save({"model": {"args": {}, "sd": state}}, tmp_path / "a.pth")
    torch.save({"state_dict": {"y\n\x1b[2J": torch.zeros(1)}}, tmp_path / "b.pth")
    for name in ("a.pth", "b.pth"):
        with pytest.raises(UserError) as caught:
            read_checkpoint(tmp_path / name)
        assert str(caught.value).isprintable()


def test_a_file_is_not_converted_onto_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    as_the_authors_save(build(SMALL["edsr"]), path)
    before = file_sha256(path)
    with pytest.raises(UserError, match="is the file to convert; choose another output name"):
        convert_weights(str(path), path, sha256=None, partial=tmp_path)
    assert file_sha256(path) == before


def test_the_bundled_weights_are_in_the_catalog() -> None:
    assert locate("edsr-baseline") == BUNDLED


def test_a_checkpoint_of_0_1_0_keeps_its_identity(tmp_path: Path) -> None:
    """Its provenance has no version of the results, which means 1."""
    path, recipe = tmp_path / "a.safetensors", Recipe.model_validate(SMALL["edsr"].model_dump())
    architecture = {
        **{"encoder": {"name": "edsr", "blocks": 2, "channels": 8}, "hidden": [16, 16]},
        **{"skip": "none", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }
    provenance: dict[str, Any] = {"recipe": recipe.model_dump(mode="json"), "data": "x"}
    metadata = {"format": 1, "architecture": architecture, "provenance": provenance}
    save_tensors(path, build(SMALL["edsr"]).state_dict(), metadata)
    assert read_checkpoint(path)[1] == SMALL["edsr"]
    assert identity(path) == recipe.key("x")
    provenance["results_version"] = 2
    save_tensors(path, build(SMALL["edsr"]).state_dict(), metadata)
    assert identity(path) == recipe.key("x", 2) != recipe.key("x")
