"""Coverage-guided fuzzing of the readers of untrusted files: `make fuzz`.

    python tests/fuzz.py pictures|checkpoints|layouts --seconds 120

A picture or checkpoint is read, or refused by a `UserError` of one line. Anything else (another
error, a started program or connection, more than ten seconds or four gigabytes) is a finding: it is
written to the folder given by --finds, and the exit code is not 0.
"""

from __future__ import annotations

import argparse
import atexit
import io
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(
    include=["liif", "PIL", "tifffile"], exclude=["liif.tracking.tracker", "liif.tracking.store"]
):
    from liif.checkpoints import authors  # noqa: F401 (instrumented)
    from liif.checkpoints.format import save_checkpoint
    from liif.checkpoints.load import read_checkpoint
    from liif.images import metadata, sixteen_bit  # noqa: F401 (instrumented)
    from liif.images.read import read_picture
    from liif.network.build import Architecture, EDSREncoder, RDNEncoder, build

import numpy as np
import torch
from PIL import Image

from liif.system.errors import UserError

_FORBIDDEN = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect")
"""Audit events that no file may cause."""
_SMALL = (
    Architecture(encoder=EDSREncoder(blocks=1, channels=4), hidden=(4,)),
    Architecture(encoder=RDNEncoder(blocks=1, layers=1, growth=2, channels=4), hidden=(4,)),
)


def _watch(event: str, _: Any) -> None:
    if event.startswith(_FORBIDDEN):
        os.write(2, f"a file caused {event}\n".encode())
        os.abort()


def _refused_in_one_line(read: Callable[[], object]) -> None:
    message = ""
    try:
        read()
    except UserError as error:
        message = str(error)
    assert "\n" not in message


# --- pictures --------------------------------------------------------------------------------


def picture(data: bytes) -> None:
    """Read any bytes as a picture."""

    def read() -> None:
        read = read_picture(io.BytesIO(data), "x")
        assert read.pixels.ndim == 3
        assert read.pixels.dtype in (np.uint8, np.uint16)
        assert read.rgb.shape[2] == 3

    _refused_in_one_line(read)


def pictures() -> list[bytes]:
    """Small pictures of every kind as seeds."""
    import tifffile

    rng = np.random.default_rng(0)
    rgb = rng.integers(256, size=(6, 5, 4), dtype=np.uint8)
    kinds: dict[str, Any] = {
        "RGB": rgb[..., :3],
        "RGBA": rgb,
        "L": rgb[..., 0],
        "LA": rgb[..., :2],
        "I;16": rgb[..., 0].astype(np.uint16) * 257,
    }
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x"
    made = []
    for mode, pixels in kinds.items():
        for name in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM"):
            file = io.BytesIO()
            try:
                Image.fromarray(pixels).save(file, format=name, exif=exif)
            except (OSError, KeyError, ValueError):
                continue
            made.append(file.getvalue())
        file = io.BytesIO()
        tifffile.imwrite(file, pixels.astype(np.uint16), compression=None)
        made.append(file.getvalue())
        if mode == "RGB":
            for other in ("P", "1", "CMYK", "LAB"):
                image = Image.fromarray(pixels)
                image = image.convert(other) if other != "LAB" else Image.new("LAB", (5, 6))
                file = io.BytesIO()
                image.save(file, format="TIFF")
                made.append(file.getvalue())
    return made


# --- checkpoints -----------------------------------------------------------------------------

_scratch = Path(
    tempfile.mkdtemp(prefix="liif-fuzz-", dir="/dev/shm" if os.name == "posix" else None)
)

atexit.register(shutil.rmtree, _scratch, ignore_errors=True)


def checkpoint_file(data: bytes) -> None:
    """Read any bytes as a weights file."""
    path = _scratch / "x"
    path.write_bytes(data)
    _refused_in_one_line(lambda: read_checkpoint(path))


def _authors(architecture: Architecture) -> dict[str, Any]:
    state = build(architecture).state_dict()
    return {"model": {"name": "liif", "args": {}, "sd": dict(state)}, "epoch": 1}


def _mmagic(_: Architecture) -> dict[str, Any]:
    t = torch.zeros
    state = {
        "generator.conv_first.weight": t(4, 3, 3, 3),
        "generator.conv_first.bias": t(4),
        "generator.body.0.conv1.weight": t(4, 4, 3, 3),
        "generator.body.0.conv1.bias": t(4),
        "generator.body.0.conv2.weight": t(4, 4, 3, 3),
        "generator.body.0.conv2.bias": t(4),
        "generator.conv_after_body.weight": t(4, 4, 3, 3),
        "generator.conv_after_body.bias": t(4),
        "generator.imnet.layers.0.weight": t(4, 40),
        "generator.imnet.layers.0.bias": t(4),
        "generator.imnet.layers.2.weight": t(3, 4),
        "generator.imnet.layers.2.bias": t(3),
    }
    return {"meta": {"config": "mean=[0.4, 0.4, 0.4], std=[1., 1., 1.]"}, "state_dict": state}


def checkpoints() -> list[bytes]:
    """Small checkpoints of every layout as seeds."""
    made = []
    for architecture in _SMALL:
        for content in (_authors(architecture), _mmagic(architecture)):
            for zipped in (True, False):
                file = io.BytesIO()
                torch.save(content, file, _use_new_zipfile_serialization=zipped)
                made.append(file.getvalue())
        path = _scratch / "ours.safetensors"
        save_checkpoint(path, build(architecture), architecture)
        made.append(path.read_bytes())
    return made


def layout(data: bytes) -> None:
    """Read a valid checkpoint with some keys and values changed."""
    provider = atheris.FuzzedDataProvider(data)
    make = provider.PickValueInList([_authors, _mmagic])
    content = make(provider.PickValueInList(list(_SMALL)))
    for _ in range(provider.ConsumeIntInRange(1, 4)):
        _mutate(provider, content)
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=provider.ConsumeBool())
    checkpoint_file(file.getvalue())


def _mutate(provider: Any, tree: dict[Any, Any]) -> None:
    """Change something in a tree of dictionaries."""
    key = provider.PickValueInList(list(tree) or [""])
    value = tree.get(key)
    if isinstance(value, dict) and value and provider.ConsumeIntInRange(0, 5):
        _mutate(provider, value)
        return
    what = provider.ConsumeIntInRange(0, 4)
    if what == 0:
        tree.pop(key, None)
    elif what == 1:
        name = str(key)
        at = provider.ConsumeIntInRange(0, len(name))
        tree[name[:at] + provider.ConsumeUnicodeNoSurrogates(4) + name[at:]] = tree.pop(key, None)
    elif what == 2 and torch.is_tensor(value):
        shape = [provider.ConsumeIntInRange(0, 6) for _ in range(provider.ConsumeIntInRange(0, 5))]
        kinds = [torch.float32, torch.float16, torch.int64, torch.bool, torch.complex64]
        tree[key] = torch.zeros(shape, dtype=provider.PickValueInList(kinds))
    else:
        tree[key] = _anything(provider)


def _anything(provider: Any) -> Any:
    makers: list[Callable[[], Any]] = [
        lambda: None,
        lambda: provider.ConsumeInt(8),
        lambda: provider.ConsumeFloat(),
        lambda: provider.ConsumeUnicodeNoSurrogates(8),
        lambda: provider.ConsumeBytes(4),
        lambda: [1, "x"],
        lambda: {provider.ConsumeUnicodeNoSurrogates(3): 1},
        lambda: torch.full((2,), float("nan")),
        lambda: torch.zeros(3).to_sparse(),
    ]
    return provider.PickValueInList(makers)()


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "pictures": (picture, pictures),
    "checkpoints": (checkpoint_file, checkpoints),
    "layouts": (layout, lambda: [os.urandom(64) for _ in range(8)]),
}


def main() -> None:
    """Fuzz one target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--finds", type=Path, default=Path(tempfile.gettempdir()) / "liif-finds")
    options = parser.parse_args()
    target, seeds = TARGETS[options.target]
    corpus = _scratch / "corpus"
    corpus.mkdir()
    for i, seed in enumerate(seeds()):
        (corpus / str(i)).write_bytes(seed)
    options.finds.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    sys.addaudithook(_watch)
    words = [
        *[sys.argv[0], str(corpus), f"-max_total_time={options.seconds}", "-timeout=10"],
        *["-rss_limit_mb=4000", f"-artifact_prefix={options.finds}/{options.target}-"],
        "-print_final_stats=1",
    ]
    atheris.Setup(words, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
