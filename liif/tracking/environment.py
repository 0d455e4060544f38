"""What a result was made with: the code's commit, versions, the machine."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from liif import __version__
from liif.data.versions import UNKNOWN


def versions() -> dict[str, str]:
    """The versions of what computes."""
    found = {"liif": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = UNKNOWN
    return {f"version.{name}": value for name, value in found.items()}


def commit() -> dict[str, str]:
    """The commit of this code, and whether files were changed since; unknown outside of git."""
    code = Path(__file__).parents[1]
    try:
        inside = _git(code, "rev-parse", "--show-toplevel")
        # Installed elsewhere, as in an environment below some other project, it is not that
        # project's commit that counts.
        if Path(inside).resolve() != code.parent.resolve():
            raise FileNotFoundError
        head = _git(code, "rev-parse", "HEAD")
        dirty = bool(_git(code, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {"mlflow.source.git.commit": UNKNOWN, "git.dirty": UNKNOWN}
    return {"mlflow.source.git.commit": head, "git.dirty": str(dirty).lower()}


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
