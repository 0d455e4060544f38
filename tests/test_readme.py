"""The README's examples work, its names exist, its numbers are those of the documentation."""

import re
from pathlib import Path

import numpy as np
import pytest
from documents import MAKE_TARGETS, PAGES, blocks, commands, make_targets, text_of
from PIL import Image
from projects import ROOT
from samples import photograph

NAMES = ("README.md", "README.zh-CN.md")
README, CHINESE = map(text_of, NAMES)


def test_it_is_short() -> None:
    assert len(README.split()) <= 900
    assert len(re.findall(r"[\u4e00-\u9fff]|[\w.]+", re.sub(r"\]\([^)]+\)", "", CHINESE))) <= 1600


def test_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks("README.md", "python")
    Image.fromarray(photograph(12, 9)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example, names)
    assert isinstance(names["big"], Image.Image)
    assert names["big"].size == (72, 96)
    assert isinstance(names["small"], np.ndarray)
    assert names["small"].shape == (12, 9, 3)


@pytest.mark.parametrize("text", [README, CHINESE], ids=["English", "Chinese"])
def test_files_and_targets_it_names_exist(text: str) -> None:
    for path in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text.replace("\n", "")):
        if "://" not in path:
            assert (ROOT / path).exists(), path
    assert make_targets(text) <= MAKE_TARGETS


def test_its_numbers_are_in_the_documentation() -> None:
    pages = "".join(map(text_of, PAGES))
    numbers = set(re.findall(r"\d+\.\d+", re.sub(r"\]\([^)]*\)", "", README))) - {"3.11"}
    assert len(numbers) >= 10
    assert {n for n in numbers if n not in pages} == set()


def test_the_chinese_readme_matches() -> None:
    """But for its links, which lead to Chinese pages where there are any."""
    english, chinese = map(commands, NAMES)
    assert chinese == english
    both = [blocks(name, "python") for name in NAMES]
    plain = [[re.sub(r"\s*#.*", "", block) for block in found] for found in both]
    assert plain[0] == plain[1]
    for what in (r"\d+\.\d+", r"`[^`\n]+`", r"^#+ "):
        found = [sorted(re.findall(what, text, re.MULTILINE)) for text in (README, CHINESE)]
        assert found[0] == found[1], what
    assert targets(CHINESE) == sorted(in_chinese(target) for target in targets(README))


def targets(text: str) -> list[str]:
    return sorted(re.findall(r"\]\(((?!README)[^)#]+)", text))


def in_chinese(target: str) -> str:
    chinese = target.replace("docs/", "docs/zh/", 1)
    return chinese if (ROOT / chinese).exists() else target


def test_every_package_file_is_shipped() -> None:
    import liif

    package = Path(liif.__file__).parent
    assert (package / "py.typed").exists()
    assert len(list((package / "assets" / "photos").rglob("*.webp"))) == 15
    weights = package / "assets" / "weights" / "edsr-baseline-liif.safetensors"
    assert weights.stat().st_size > 6_000_000
