"""Small things that many tests need."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from liif.checkpoints.format import build
from liif.config import Architecture, EDSREncoder, RDNEncoder
from liif.network.model import LIIF
from liif.tracking.tracker import Tracker

# The same examples at every run, so that a test fails by a change and not by chance; `make fuzz`
# looks for more.
settings.register_profile("steady", derandomize=True, max_examples=100, deadline=None)
settings.register_profile("search", max_examples=5000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("LIIF_HYPOTHESIS", "steady"))

# Small tensors are slower with more threads, and equal bytes need an equal number.
torch.set_num_threads(min(2, os.cpu_count() or 1))

SMALL = {
    "edsr": Architecture(encoder=EDSREncoder(blocks=2, channels=8), hidden=(16, 16)),
    "rdn": Architecture(
        encoder=RDNEncoder(blocks=2, layers=2, growth=4, channels=8), hidden=(16, 16)
    ),
}


@pytest.fixture
def hangup_heeded() -> Iterator[None]:
    """SIGHUP as it is without nohup, which has it ignored here and in all that is started."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(params=sorted(SMALL))
def small(request: pytest.FixtureRequest) -> LIIF:
    """A small network of each kind with random weights."""
    torch.manual_seed(0)
    return build(SMALL[request.param]).eval()


def photograph(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture (height, width, 3) with edges, slopes and texture, so that scale matters."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[0:height, 0:width] / 16.0
    phases, angles = rng.uniform(0, 6, 3), rng.uniform(0, 3, 3)
    waves = [
        np.sin(rows * np.cos(a) + cols * np.sin(a) + p) > 0.2
        for p, a in zip(phases, angles, strict=True)
    ]
    slope = 60 + 80 * (rows + cols) / max((rows + cols).max(), 1)
    texture = rng.normal(0, 6, (height, width, 3))
    picture = slope[..., None] + 70 * np.stack(waves, axis=-1) + texture
    grey: NDArray[np.uint8] = np.clip(picture, 0, 255).astype(np.uint8)
    return grey


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test puts on record stays in its folder."""
    monkeypatch.setenv("LIIF_PROJECT", str(tmp_path))
    monkeypatch.setattr(Tracker, "warned", False)
    for name in [n for n in os.environ if n.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""For MLflow's server: no statistics to its makers, no processes for jobs of its own."""

Folder = Callable[..., Path]


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
