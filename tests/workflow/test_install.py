"""What `make demo` shows of pip, by a program in its place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import ROOT

PIP = """
import sys
print("Collecting torch")
print("  Downloading https://example.org/whl/torch-2.13.0-cp311.whl (190.5 MB)")
print("Requirement already satisfied: pip in /x")
print("Collecting rich")
print("  Downloading rich-15-py3-none-any.whl.metadata (18 kB)")
print("Installing collected packages: torch, rich")
print("ERROR: " + " ".join(sys.argv[1:]), file=sys.stderr)
sys.exit(int("fail" in sys.argv))
"""


@pytest.mark.parametrize("words", [[".[workflow]"], ["fail"]])
def test_pip_is_summed_up_and_its_errors_are_shown(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "pip.py").write_text(PIP)
    done = subprocess.run(
        [sys.executable, str(ROOT / "workflow" / "envs" / "install.py"), *words],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = words == ["fail"]
    assert done.returncode == failed
    *lines, last = done.stdout.splitlines()
    assert lines == ["  torch-2.13.0-cp311.whl, 190.5 MB", "  installing 2 packages"]
    assert last.startswith(f"  {'failed' if failed else 'done'} in ")
    assert done.stderr == f"ERROR: install --progress-bar off {words[0]}\n"
