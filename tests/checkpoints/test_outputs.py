from pathlib import Path

from liif.checkpoints.outputs import Outputs, name_of


def test_names_beside_safetensors() -> None:
    outputs = Outputs(weights=Path("models/rdn.safetensors"))
    names = [path.name for path in outputs.all]
    assert names == ["rdn.safetensors", "rdn.best.safetensors", "rdn.history.csv", "rdn.run.json"]


def test_other_endings_share_no_file() -> None:
    first, second, third = (Outputs(weights=Path(name)) for name in ("rdn.v1", "rdn.v2", "rdn"))
    assert first.sidecar.name == "rdn.v1.run.json"
    assert not {*first.all, first.beside(".state")} & {*second.all, second.beside(".state")}
    assert not {*first.all} & {*third.all}


def test_names_with_dots_stay_whole() -> None:
    names = ("rdn.v1", "rdn.v2", "a/rdn.v1.safetensors", "rdn.pth")
    assert [name_of(Path(name)) for name in names] == ["rdn.v1", "rdn.v2", "rdn.v1", "rdn"]
