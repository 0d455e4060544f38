"""Small and read-only file systems, skipped where the user may not mount them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*words: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting failed: {done.stderr.strip()}")


@contextmanager
def small_disk(path: Path, kilobytes: int) -> Iterator[None]:
    """Mount a disk of that size on the folder within the block."""
    path.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def enlarge(path: Path) -> None:
    """Enlarge a small disk."""
    subprocess.run(["mount", "-o", "remount,size=200m", str(path)], check=True)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Make the folder read-only within the block."""
    path.mkdir(parents=True, exist_ok=True)
    _mount("--bind", str(path), str(path))
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
