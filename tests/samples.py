"""Pictures, networks, settings and records that many tests use."""

import gzip
import lzma
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imagecodecs import zstd_encode
from numpy.typing import NDArray

from liif.network.build import Architecture, EDSREncoder, RDNEncoder
from liif.network.model import LIIF
from liif.tracking.run import DataSet

SMALL = {
    "edsr": Architecture(encoder=EDSREncoder(blocks=2, channels=8), hidden=(16, 16)),
    "rdn": Architecture(
        encoder=RDNEncoder(blocks=2, layers=2, growth=4, channels=8), hidden=(16, 16)
    ),
}
"""A small architecture of each kind."""

SETTINGS: dict[str, Any] = {
    "encoder": {"name": "edsr", "blocks": 1, "channels": 8},
    "hidden": [16, 16],
    "train": {
        "epochs": 4,
        "visits": 12,
        "batch": 4,
        "patch": 8,
        "scales": [1, 3],
        "queries": 64,
        "learning_rate": 1e-3,
        "schedule": {"name": "step", "every": 2, "factor": 0.5},
        "validation_patches": 6,
    },
}
"""A training of four epochs that takes less than a second."""

ROW = {"epoch": 1, "step": 6, "loss": 0.5, "timestamp": 1000.5}
"""One epoch of a training's history."""

PHOTOGRAPHS = DataSet(name="a", context="training", source="a", digest="1" * 64, counts={"n": 2})
"""An entry of a data set in the tracking records."""

Folder = Callable[..., Path]
"""Makes a folder of pictures (fixture `folder`)."""


def photograph(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A synthetic picture (height, width, 3) with edges, gradients and texture."""
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


def as_the_authors_save(model: LIIF, path: Path, **args: object) -> None:
    """Save weights as the authors' code does."""
    state = {**model.state_dict(), "encoder.sub_mean.weight": torch.eye(3)}
    content = {"model": {"name": "liif", "args": args, "sd": state}, "optimizer": {}, "epoch": 7}
    torch.save(content, path)


def make_deb(path: Path, files: dict[str, bytes], *, suffix: str = ".xz") -> Path:
    """Write a Debian package with these files, its data.tar compressed as the suffix says."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, BytesIO(content))
    pack: dict[str, Callable[[bytes], bytes]] = {
        **{"": bytes, ".xz": lzma.compress, ".gz": gzip.compress},
        ".zst": lambda data: bytes(zstd_encode(data)),
    }
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": b"odd",
        f"data.tar{suffix}": pack[suffix](buffer.getvalue()),
    }
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, content in members.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))
    return path
