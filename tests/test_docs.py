"""Names and numbers of the documentation, and a wheel that has all it needs."""

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_names_that_the_examples_import_exist() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    imports = re.findall(r"^from liif\S* import .+$", text, flags=re.MULTILINE)
    assert len(imports) >= 2
    exec("\n".join(imports), {})


@pytest.mark.slow
def test_the_limits_table_matches_its_program() -> None:
    text = (ROOT / "docs" / "how-to" / "upscale.md").read_text(encoding="utf-8")
    program = "import sys; sys.path.insert(0, 'docs'); import limits; print(limits.measured())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name, (ours, theirs) in ast.literal_eval(done.stdout).items():
        assert re.search(rf"{re.escape(name)} \| {ours:.2f} \| {theirs:.2f}", text), name


@pytest.mark.slow
def test_a_wheel_works_outside_the_repository(tmp_path: Path) -> None:
    """`pip wheel .`, installed where no repository is: weights and photographs are in it."""
    wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path)]
    subprocess.run([*wheel, str(ROOT)], check=True)
    (made,) = tmp_path.glob("liif-*.whl")
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target"]
    subprocess.run([*install, str(target), str(made)], check=True)
    program = textwrap.dedent(
        """
        import sys
        sys.path.insert(0, "site")
        import liif
        from liif.data.download import PHOTOGRAPHS
        from liif.report import render
        assert "site" in liif.__file__, liif.__file__
        photographs = sorted(PHOTOGRAPHS.rglob("*.webp"))
        assert len(photographs) == 15, photographs
        from PIL import Image
        picture = Image.open(photographs[0]).convert("RGB").crop((0, 0, 20, 10))
        assert liif.load().upscale(picture, scale=3).size == (60, 30)
        assert (PHOTOGRAPHS / "CREDITS.md").is_file()
        from liif.checkpoints.catalog import WEIGHTS, measurements
        assert measurements()["models"]
        print(*sorted(path.name for path in WEIGHTS.iterdir()))
        sys.argv = ["liif", "info", "bundled"]
        from liif.cli import main
        main()
        """
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    weights = ROOT / "liif" / "assets" / "weights"
    assert done.stdout.splitlines()[0].split() == sorted(p.name for p in weights.iterdir())


def test_every_test_that_the_documentation_names_exists() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+\.py)::(\w+)`", text))
    assert len(named) > 50
    for file, test in named:
        (path,) = (ROOT / "tests").rglob(file)
        source = path.read_text(encoding="utf-8")
        assert f"\ndef {test}(" in source, f"{file}::{test}"
