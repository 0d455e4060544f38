"""Fixtures for many tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from PIL import Image
from samples import SMALL, Folder, photograph

from liif.network.build import build
from liif.network.model import LIIF
from liif.tracking import problems

# The same examples in every run, so that only a change makes a test fail; `make fuzz` searches for
# more.
settings.register_profile("steady", derandomize=True, max_examples=100, deadline=None)
settings.register_profile("search", max_examples=5000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("LIIF_HYPOTHESIS", "steady"))

# Small tensors are slower with more threads, and equal bytes need an equal number of them.
torch.set_num_threads(min(2, os.cpu_count() or 1))

# Shells start background jobs with Ctrl-C ignored; children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with whole workflows, so that no process ends up with the longest tests alone."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


@pytest.fixture
def default_sighup() -> Iterator[None]:
    """Handle SIGHUP as without nohup, which has it ignored here and in child processes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(params=sorted(SMALL))
def small(request: pytest.FixtureRequest) -> LIIF:
    """A small network of each kind with random weights."""
    torch.manual_seed(0)
    return build(SMALL[request.param]).eval()


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the records of a test in its folder."""
    monkeypatch.setenv("LIIF_PROJECT", str(tmp_path))
    monkeypatch.setattr(problems, "reported", False)
    for name in [n for n in os.environ if n.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Makes a folder of pictures: folder("hr", a=(60, 50), b=(64, 64))."""

    def make(name: str, **sizes: tuple[int, int]) -> Path:
        path = tmp_path / name
        path.mkdir(parents=True)
        for i, (stem, size) in enumerate(sizes.items()):
            Image.fromarray(photograph(*size, seed=i)).save(path / f"{stem}.png")
        return path

    return make
