"""The README's examples work, and its names exist."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from samples import photograph

from liif import config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_configuration_examples_are_accepted() -> None:
    (example,) = blocks("yaml")
    experiment = config.experiment(yaml.safe_load(example))
    assert experiment.trained == ["rdn", "tuned"]
    assert experiment.given == ["released"]
    assert experiment.recipe("rdn").train.epochs == 100


def test_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks("python")
    Image.fromarray(photograph(12, 9)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example, names)
    assert isinstance(names["big"], Image.Image)
    assert names["big"].size == (72, 96)
    assert isinstance(names["small"], np.ndarray)
    assert names["small"].shape == (12, 9, 3)


def test_files_and_targets_it_names_exist() -> None:
    for path in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in path:
            assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^    |`)make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def commands(text: str) -> list[str]:
    """The lines of code, without their comments."""
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return [line for raw in lines if (line := re.sub(r"(^|\s+)#.*", "", raw))]


def test_the_chinese_readme_matches() -> None:
    chinese = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
    assert commands(chinese) == commands(README)
    for language in ("yaml", "python"):
        pattern = rf"```{language}\n(.*?)```"
        both = [re.findall(pattern, text, re.DOTALL) for text in (README, chinese)]
        plain = [[re.sub(r"\s*#.*", "", block) for block in found] for found in both]
        assert plain[0] == plain[1]
    for what in (r"\d+\.\d+", r"\]\((?!README)[^)]+\)", r"`[^`\n]+`", r"^#+ "):
        found = [sorted(re.findall(what, text, re.MULTILINE)) for text in (README, chinese)]
        assert found[0] == found[1], what


def test_every_package_file_is_shipped() -> None:
    import liif

    package = Path(liif.__file__).parent
    assert (package / "py.typed").exists()
    assert len(list((package / "assets" / "photos").rglob("*.webp"))) == 15
    weights = package / "assets" / "weights" / "edsr-baseline-liif.safetensors"
    assert weights.stat().st_size > 6_000_000
