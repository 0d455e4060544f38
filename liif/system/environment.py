"""Environment of a result: the code's commit and the versions of libraries."""

from __future__ import annotations

import getpass
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from liif import __version__

UNKNOWN = "unknown"


def versions() -> dict[str, str]:
    """Versions of liif, Python and the libraries that compute."""
    found = {"liif": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "pillow"):
        found[name] = UNKNOWN
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {f"version.{name}": value for name, value in found.items()}


def commit() -> dict[str, str]:
    """The commit of this code and whether files were changed since; unknown outside of git."""
    code = Path(__file__).parents[1]
    with suppress(OSError, subprocess.SubprocessError):
        root, head = _git(code, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        # Installed inside another project's repository, the code has no commit of its own.
        if Path(root).resolve() == code.parent.resolve():
            dirty = bool(_git(code, "status", "--porcelain", "--untracked-files=no"))
            return {"mlflow.source.git.commit": head, "git.dirty": str(dirty).lower()}
    return {"mlflow.source.git.commit": UNKNOWN, "git.dirty": UNKNOWN}


def user() -> str:
    """Name of the user, who may be unknown in a container."""
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return UNKNOWN


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
