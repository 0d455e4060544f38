"""The documentation: its examples are valid, its links lead somewhere, its languages agree."""

import posixpath
import re
import shlex
import subprocess
import sys
from pathlib import Path

import command_line
import configuration
import figures
import hooks
import numpy as np
import pictures
import pytest
import yaml
from browsers import launched
from documents import DOCS, MAKE_TARGETS, PAGES, blocks, commands, make_targets, text_of
from PIL import Image
from projects import ROOT

from liif import config
from liif.config import Experiment
from liif.report import published

CHINESE = [name for name in PAGES if name.startswith("zh/")]
SLOW = {"continuity.svg", "difference.webp", "scales.webp"}
"""Figures that a network computes."""


@pytest.mark.parametrize("name", PAGES)
def test_the_options_of_every_command_exist(name: str) -> None:
    known = command_line.commands()
    inline = re.findall(r"`(liif [a-z][^`]*)`", text_of(name))
    for line in [c for c in commands(name) if c.startswith("liif ")] + inline:
        words = shlex.split(line)[1:]
        command = known.get(" ".join(words[:2])) or known.get(words[0])
        assert command is not None or words[0] == "weights", line
        options = (
            {o for p in command.params for o in (*p.opts, *p.secondary_opts)} if command else ()
        )
        for word in words[1:]:
            if re.fullmatch(r"--?[a-z][a-z-]*", word):
                assert word in {*options, "--help"}, line


@pytest.mark.parametrize("name", PAGES)
def test_the_targets_of_make_exist(name: str) -> None:
    assert make_targets(text_of(name)) <= MAKE_TARGETS


@pytest.mark.parametrize("name", [n for n in PAGES if blocks(n, "yaml")])
def test_configurations_are_accepted(name: str) -> None:
    for block in blocks(name, "yaml"):
        if "…" not in block:
            values = yaml.safe_load(block)
            if values.keys() & {"data", "models", "evaluate"}:
                config.experiment(values)
            else:
                config.recipe(block)


def test_the_configuration_of_the_how_to_means_what_it_says() -> None:
    (block,) = blocks("how-to/own-photographs.md", "yaml")
    experiment = config.experiment(yaml.safe_load(block))
    assert experiment.trained == ["rdn", "tuned"]
    assert experiment.given == ["released"]
    assert experiment.recipe("rdn").train.epochs == 100


@pytest.mark.parametrize("name", [n for n in PAGES if blocks(n, "python")])
def test_python_examples_are_python(name: str) -> None:
    for block in blocks(name, "python"):
        compile(block, name, "exec")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        path = target.partition("#")[0]
        if path and "://" not in target and "reference/co" not in path:  # those are generated
            assert (DOCS / name).parent.joinpath(path).resolve().exists(), target


@pytest.mark.parametrize("name", PAGES)
def test_names_that_link_to_a_module_are_defined_there(name: str) -> None:
    for text, target in hooks.links(text_of(name)):
        path = hooks.repository_path(target, name)
        if path and path.endswith(".py") and text.startswith("`"):
            assert hooks.definition(path, text.strip("`")), f"{text} in {path}"


def test_how_liif_works_names_the_code() -> None:
    named = re.findall(r"\[`([\w.]+)`\]\(\.\./liif/", text_of("how-liif-works.md"))
    assert len(set(named)) >= 20


@pytest.mark.parametrize("name", CHINESE)
def test_chinese_pages_match_the_english_ones(name: str) -> None:
    english = name.removeprefix("zh/")
    assert commands(name) == commands(english)
    for language in ("yaml", "python"):
        both = [[re.sub(r"\s*#.*", "", b) for b in blocks(n, language)] for n in (name, english)]
        assert both[0] == both[1]
    for what in (r"\d+\.\d+", r"`[^`\n]+`", r"^#+ ", r"^\|", r"^\$\$"):
        found = [sorted(re.findall(what, text_of(n), re.MULTILINE)) for n in (name, english)]
        assert found[0] == found[1], what
    assert targets(name) == targets(english)


def targets(name: str) -> list[str]:
    """Where a page links to, in the repository, whatever the language."""
    folder = posixpath.dirname(name)
    found = re.findall(r"\]\(([^)\s#]+)", text_of(name))
    paths = [t if "://" in t else posixpath.normpath(posixpath.join(folder, t)) for t in found]
    return sorted(re.sub(r"^zh/|(?<=\.)zh\.(?=svg$)", "", path) for path in paths)


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for name in PAGES:
        assert f": {name}\n" in navigation, name


def test_the_references_have_every_command_and_key() -> None:
    page = command_line.page()
    for name, command in command_line.commands().items():
        assert f"### liif {name}\n" in page
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                assert f"`{parameter.opts[0]}" in page
    schema = Experiment.model_json_schema()
    assert sorted(configuration.ORDER) == sorted(schema["$defs"])
    assert all(f"| `{key}` |" in configuration.page() for key in schema["properties"])


@pytest.mark.parametrize("name", ["how-to/evaluate.md", "zh/how-to/evaluate.md"])
def test_published_values_are_those_of_the_report(name: str) -> None:
    tables = re.findall(r"<!-- published: \w+ -->\n(.*?)<!-- end -->", text_of(name), re.DOTALL)
    div2k, benchmarks = (
        [[float(v) for v in re.findall(r"\d+\.\d\d", row)] for row in table.splitlines()[2:]]
        for table in tables
    )
    assert div2k == [list(v.values()) for v in published.scores("valid", "rgb").values()]
    sets = ("set5", "set14", "b100", "urban100")
    (expected,) = zip(*(published.scores(s, "y").values() for s in sets), strict=True)
    assert benchmarks == [list(values.values()) for values in expected]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in figures.DRAWINGS],
)
def test_drawings_are_what_the_program_draws(name: str) -> None:
    number = r"(?<![\w#])-?\d+\.?\d*"
    kept, drawn = (DOCS / "figures" / name).read_text(encoding="utf-8"), figures.DRAWINGS[name]()
    assert re.sub(number, "", kept) == re.sub(number, "", drawn)
    found = [[float(v) for v in re.findall(number, svg)] for svg in (kept, drawn)]
    assert found[0] == pytest.approx(found[1], abs=1)  # pixels, of curves that a network computes


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in pictures.PICTURES],
)
def test_pictures_are_what_the_program_paints(name: str) -> None:
    kept = np.asarray(Image.open(DOCS / "figures" / name).convert("RGBA")).astype(int)
    painted = pictures.PICTURES[name]().astype(int)
    assert kept.shape == painted.shape
    seen = painted[..., 3] > 0
    assert np.abs(kept - painted)[seen].mean() < 8  # WebP is lossy, most of all at single pixels


def test_every_figure_is_shown_and_drawn() -> None:
    made = figures.DRAWINGS.keys() | pictures.PICTURES.keys()
    assert made == {path.name for path in (DOCS / "figures").iterdir()}
    shown = {target for n in PAGES for target in re.findall(r"figures/([\w.]+)\)", text_of(n))}
    assert shown == made


@pytest.mark.slow
def test_the_site_opens_without_a_network(tmp_path: Path) -> None:
    """Built strictly, in a folder, in a browser: no request to a host, equations, search."""
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    subprocess.run([*build, "--site-dir", str(tmp_path / "site")], cwd=ROOT, check=True)
    with launched() as browser:
        page = browser.new_page()
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        for name, language in (("how-liif-works", "en"), ("zh/how-liif-works", "zh")):
            page.goto((tmp_path / "site" / f"{name}.html").as_uri())
            assert page.get_attribute("html", "lang") == language
            assert page.locator("math").count() > 30
            assert page.locator("svg.figure").count() == 6
            search = page.locator(".md-search__input")
            search.click()
            search.press_sequentially("ensemble")
            page.locator(".md-search-result__item").first.wait_for(timeout=30_000)
        assert all(url.startswith(("file:", "data:", "blob:")) for url in requests), requests
