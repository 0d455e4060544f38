import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from liif.app.limits import Refused
from liif.app.options import output_name, parse
from liif.app.weights import Weights, available
from liif.cli import app
from liif.system.errors import UserError

WEIGHTS = {name: Weights(Path(f"{name}.safetensors"), "") for name in ("first", "other")}


@pytest.mark.parametrize(
    ("query", "about"),
    [
        ({"scale": "0.5"}, "scale `0.5`"),
        ({"scale": "inf"}, "scale `inf`"),
        ({"scale": "4; rm"}, "scale"),
        ({"scale": "2", "width": "100"}, "one of scale, size"),
        ({"size": "100"}, "1920x1080"),
        ({"width": "0"}, "width `0`"),
        ({"width": "١٢"}, "width"),
        ({"height": "9" * 40}, "height"),
        ({"quality": "101"}, "quality"),
        ({"format": "gif"}, "format `gif`"),
        ({"precision": "int8"}, "precision `int8`"),
        ({"self_ensemble": "maybe"}, "self_ensemble `maybe`"),
        ({"weights": "/etc/passwd"}, "must be one of first, other"),
        ({"weights": "first.safetensors"}, "must be one of first, other"),
        ({"device": "cuda"}, "`device` is not one of"),
    ],
)
def test_mistakes_are_one_line(query: dict[str, str], about: str) -> None:
    with pytest.raises(UserError) as error:
        parse(query, WEIGHTS, "first")
    assert about in str(error.value)
    assert "\n" not in str(error.value)


def test_other_files_are_refused_as_weights() -> None:
    with pytest.raises(Refused):
        parse({"weights": "../first"}, WEIGHTS, "first")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"scale": "2.75", "weights": "other", "self_ensemble": "true"},
        {"size": "300x200", "precision": "float32", "back_projection": "false"},
        {"width": "300", "format": "webp", "quality": "80"},
        {"height": "300", "format": "tif"},
    ],
)
def test_the_command_has_the_same_options(query: dict[str, str]) -> None:
    options = parse(query, WEIGHTS, "first")
    name = "my photo's.jpg"
    words = shlex.split(options.command(name))
    assert words[:2] == ["liif", "upscale"]
    command = get_command(app).commands["upscale"]  # type: ignore[attr-defined]
    given = command.make_context("upscale", words[2:]).params
    assert given["inputs"] == [Path(name)]
    assert given["weights"] == query.get("weights", "first")
    assert given["quality"] == options.quality
    assert given["precision"] == options.precision
    assert given["self_ensemble"] == options.self_ensemble
    assert given["no_back_projection"] == (not options.back_projection)
    size = options.size
    if query.get("size"):
        assert given["size"] == "300x200"
    else:
        assert (given["scale"], given["width"], given["height"]) == (
            *(size.scale, size.width, size.height),
        )
    ending = query.get("format", "png")
    assert (given["format_"] or "png") == ending
    assert output_name(name, options) == f"my photo's_{size.label}.{ending}"


def test_trained_weights_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "results" / "models"
    models.mkdir(parents=True)
    for name in ("rdn", "rdn.best"):
        (models / f"{name}.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    found = available()
    assert next(iter(found)) == "edsr-baseline"
    assert [name for name in found if "/" in name] == ["results/models/rdn.safetensors"]
