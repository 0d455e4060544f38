"""Any configuration and any arguments give a result or a one-line error."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from liif import config
from liif.cli import app
from liif.cli.options import parse_sources
from liif.config_file import merge
from liif.data import manifests
from liif.images import metrics
from liif.inference import plan
from liif.inference.size import parse_size
from liif.system.errors import UserError

ROOT = Path(__file__).parent.parent
DOCUMENTED: dict[str, Any] = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from([10**400, -1, 0, "bundled", "rdn", "1e-4", "../x", "\0"]),
)
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(plain, st.text()), inner, max_size=3)
    ),
    max_leaves=8,
)


def keys(tree: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of the documented configuration, with those above it."""
    if not isinstance(tree, dict):
        return []
    found = [(*at, key) for key in tree]
    return [*found, *(k for key in tree for k in keys(tree[key], (*at, key)))]


def changed(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The documented configuration with one value replaced."""
    for key in reversed(place):
        value = {key: value}
    return merge(DOCUMENTED, value)


@given(st.sampled_from(keys(DOCUMENTED)), values)
@example(("train", "epochs"), 10**400)
@example(("models",), {"../a": {"weights": "bundled"}})
def test_one_wrong_value_in_the_configuration(place: tuple[str, ...], value: Any) -> None:
    message = ""
    try:
        config.experiment(changed(place, value))
    except UserError as error:
        message = str(error)
    assert "\n" not in message
    assert not message or {*place} & {*re.findall(r"\w+", message)}


@given(values)
def test_any_value_as_configuration(value: Any) -> None:
    if isinstance(value, dict):
        with suppress(UserError):
            config.experiment(value)


@given(st.text(max_size=60))
@example("{a: 1, a: 2}")
@example("!!python/object/apply:os.system ['true']")
@example("\0")
@example("a" * 300)
@example("&a [*a]")
def test_any_text_as_settings(text: str) -> None:
    with suppress(UserError):
        config.recipe(text)


number = st.one_of(st.none(), st.integers(1, 1 << 40))


@given(st.one_of(st.none(), st.text(max_size=12)), number, number, st.tuples(number, number))
@example("9999999999x1", None, None, (1, 1))
@example("٣x٤", None, None, (1, 1))
def test_sizes(
    text: str | None, width: int | None, height: int | None, shape: tuple[int | None, int | None]
) -> None:
    with suppress(UserError):
        size = parse_size(None, text, width, height)
        with suppress(ValueError):  # of a size below the picture's
            assert min(size.of((shape[0] or 1, shape[1] or 1))) >= 1


def one_source(text: str) -> object:
    return parse_sources([text])


@given(st.text(max_size=12))
@example("1/1/1")
@example("²/4")
def test_any_text_as_option_value(text: str) -> None:
    parsers: list[Callable[[str], object]] = [
        manifests.parse_bucket,
        metrics.parse_border,
        metrics.parse_channel,
        plan.parse_format,
        one_source,
    ]
    for parse in parsers:
        with suppress(UserError):
            parse(text)


word = st.one_of(
    st.sampled_from(
        [
            *["upscale", "collect", "degrade", "evaluate", "pack", "import", "info", "table"],
            *["gather", "compare"],
        ]
    ),
    st.sampled_from(
        ["--scale", "--size", "--width", "-o", "--weights", "--hr", "--lr", "--bucket"]
    ),
    st.sampled_from(["a.png", "none", "2", "0", "-1", "nan", "inf", "1e9", "1x1", "bicubic", "."]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(word, min_size=1, max_size=7))
@example(words=["upscale", "a.png", "--scale", "nan"])
@example(words=["degrade", "a.png", "-o", "out", "--scale", "nan"])
def test_any_arguments_on_the_command_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit | OSError):
        assert isinstance(result.exception, UserError), (words, result.exception)
