from pathlib import Path

import pytest
import torch
from conftest import SMALL
from safetensors.torch import save_file

from liif import load
from liif.checkpoint import BUNDLED, build, initialise_he, load_tensors, read, save
from liif.errors import UserError
from liif.files import file_sha256
from liif.model import LIIF


def test_round_trip(small: LIIF, tmp_path: Path) -> None:
    kind = "rdn" if hasattr(small.encoder, "RDBs") else "edsr"
    path = tmp_path / "model.safetensors"
    save(path, small, SMALL[kind], {"data": "abc"})
    model, architecture, provenance = read(path)
    assert architecture == SMALL[kind]
    assert provenance == {"data": "abc"}
    for name, tensor in small.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_equal_weights_are_equal_bytes(small: LIIF, tmp_path: Path) -> None:
    kind = "rdn" if hasattr(small.encoder, "RDBs") else "edsr"
    for i in range(8):
        save(tmp_path / f"{i}.safetensors", small, SMALL[kind], {"b": 1, "a": [2]})
    assert len({p.read_bytes() for p in tmp_path.iterdir()}) == 1


def test_released_weights_ship_with_provenance() -> None:
    model, _, provenance = read()
    assert provenance["epoch"] == 1000
    assert sum(p.numel() for p in model.parameters()) == 1_567_299
    assert (BUNDLED.parent / "LICENSE-edsr-baseline-liif.txt").read_text().startswith("BSD 3")
    assert not load().training


def as_the_authors_save(model: LIIF, path: Path, **args: object) -> None:
    state = {**model.state_dict(), "encoder.sub_mean.weight": torch.eye(3)}
    content = {"model": {"name": "liif", "args": args, "sd": state}, "optimizer": {}, "epoch": 7}
    torch.save(content, path)


def test_authors_format(small: LIIF, tmp_path: Path) -> None:
    as_the_authors_save(small, tmp_path / "a.pth")
    model, architecture, provenance = read(tmp_path / "a.pth")
    assert architecture in SMALL.values()
    assert provenance["epoch"] == 7
    lr = torch.rand(1, 3, 5, 4)
    ours, theirs = model.decode_image(model.encode(lr), (9, 9)), small.encode(lr)
    assert torch.equal(ours, small.decode_image(theirs, (9, 9)))


def test_authors_variants_are_refused(small: LIIF, tmp_path: Path) -> None:
    as_the_authors_save(small, tmp_path / "a.pth", local_ensemble=False)
    with pytest.raises(UserError, match="without unfolding"):
        read(tmp_path / "a.pth")


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('code from a checkpoint ran')",))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"model": Malicious()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"evil\.pth.*without running code"):
        read(tmp_path / "evil.pth")


def test_other_files_are_named(small: LIIF, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pth: no such"):
        read(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello, I am no checkpoint")
    with pytest.raises(UserError, match=r"text\.pth: is neither"):
        read(tmp_path / "text.pth")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(UserError, match=r"empty\.pth"):
        read(tmp_path / "empty.pth")
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="layout of LIIF's authors"):
        read(tmp_path / "other.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="none of liif's"):
        read(tmp_path / "foreign.safetensors")


def test_truncated_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(BUNDLED.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"cut\.safetensors"):
        read(tmp_path / "cut.safetensors")


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", build(SMALL["edsr"]), SMALL["rdn"])
    with pytest.raises(UserError, match=r"SFENet1\.weight is missing"):
        read(tmp_path / "a.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(path, build(SMALL["edsr"]), SMALL["edsr"])
    before = file_sha256(path)
    with pytest.raises(TypeError):
        save(path, build(SMALL["edsr"]), SMALL["edsr"], {"no JSON": object()})
    assert file_sha256(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert load_tensors(path)[1]["format"] == 1


def test_he_initialisation_damps_the_outputs() -> None:
    torch.manual_seed(0)
    model = build(SMALL["rdn"])
    initialise_he(model)
    last, middle = model.imnet.linears[-1], model.imnet.linears[1]
    assert last.weight.std() < 0.2 * middle.weight.std()
    assert all((b == 0).all() for n, b in model.named_parameters() if n.endswith("bias"))
