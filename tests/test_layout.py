"""The layout that docs/internals.md describes: layers, sizes of modules, and tests beside them."""

import re
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "liif"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# Small on purpose: what imports them should import nothing else.
SMALL = {
    "cli/tracking.py",  # which every command imports
    "system/errors.py",
    "system/project.py",
    "system/redact.py",
}


def test_imports_go_downwards_without_circles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    broken = lint_imports(no_cache=True, no_logo=True)
    assert not broken, capsys.readouterr().out


def test_modules_have_40_to_300_lines() -> None:
    lines = {m: len((PACKAGE / m).read_text(encoding="utf-8").splitlines()) for m in MODULES}
    assert {m: n for m, n in lines.items() if n > 300} == {}
    ordinary = {m for m in MODULES if Path(m).stem not in {"__init__", "__main__"}}
    assert {m: lines[m] for m in ordinary - SMALL if lines[m] < 40} == {}


def test_documents_list_the_packages() -> None:
    on_disk = {p.name + "/" for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    on_disk |= {p.name for p in PACKAGE.glob("[!_]*.py")}
    for document in ("docs/internals.md", "docs/zh/internals.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        assert set(re.findall(r"^[├└]── (\S+)", text, re.MULTILINE)) == on_disk


def test_tests_mirror_the_packages() -> None:
    folders = {p.relative_to(ROOT / "tests").parts[0] for p in ROOT.glob("tests/*/**/test_*.py")}
    assert folders == {p.parent.name for p in PACKAGE.glob("*/__init__.py")} | {"workflow"}


def test_documents_name_modules_that_exist() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        text = document.read_text(encoding="utf-8")
        for name in re.findall(r"\bliif/[\w/]+\.py\b", text):
            assert (ROOT / name).is_file(), f"{document.name}: {name}"
        for name in re.findall(r"\bliif(?:\.[a-z_]\w*)+", text):
            parts = name.split(".")[1:]
            path = PACKAGE.joinpath(*parts[:-1])
            known = path.is_dir() or path.with_suffix(".py").is_file()
            assert known or len(parts) == 1, f"{document.name}: {name}"
