"""Whatever is killed, whenever: the same command again ends in the same results."""

import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import SMALL, photograph
from killing import Command, Results, disturb, parts
from PIL import Image
from test_dvc import Versioned, git, sh
from test_workflow import ROOT, TINY

from liif.checkpoints import format as checkpoint
from liif.data.degrade import degrade
from liif.data.pack import pack
from liif.images.png import write_png

BIN = Path(sys.executable).parent
LIIF = [sys.executable, "-m", "liif"]
STOPPED = "liif: stopped; nothing half-written is left, and the same command goes on"
FEW, MANY = range(3), range(3, 23)
"""Seeds of `make test`, and of `make test-slow`."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, LR pictures, packs and weights, for all."""
    base = tmp_path_factory.mktemp("inputs")
    for name, count, size in (("photographs", 40, 160), ("few", 3, 60)):
        (base / name).mkdir()
        for i in range(count):
            Image.fromarray(photograph(size, size + i, seed=i)).save(base / name / f"{i}.png")
    degrade(base / "photographs", base / "lr", scale=4)
    pack(base / "few", base / "few.pack")
    torch.manual_seed(0)
    model = checkpoint.build(SMALL["edsr"])
    checkpoint.save(base / "weights.safetensors", model, SMALL["edsr"])
    return base


def training(inputs: Path) -> Command:
    settings: dict[str, Any] = {
        "encoder": {"name": "edsr", "blocks": 2, "channels": 8},
        "hidden": [16, 16],
        "train": {
            **{"epochs": 40, "visits": 8, "batch": 4, "patch": 8, "scales": [1, 4]},
            **{"queries": 64, "validation_patches": 4},
        },
    }
    data = str(inputs / "few.pack")
    words = [
        *[*LIIF, "train", "--data", data, "--valid", data, "--out", "m.safetensors"],
        *["--settings", json.dumps(settings), "--threads", "1", "--device", "cpu"],
        *["--save-minutes", "0", "--no-track"],
    ]
    return Command(
        words=lambda _: words, results=["m.safetensors", "m.best.safetensors"], says="goes on"
    )


def packing(inputs: Path) -> Command:
    words = [*LIIF, "pack", str(inputs / "photographs"), "out.pack"]
    return Command(words=lambda _: words, results=["out.pack"], says=STOPPED)


def degrading(inputs: Path) -> Command:
    words = [
        *[*LIIF, "degrade", str(inputs / "photographs"), "--out", "lr", "--scale", "2.5"],
        *["--crop", "160", "--truth", "hr", "--manifest", "lr.json"],
    ]
    return Command(words=lambda _: words, results=["lr/*", "hr/*", "lr.json"], says=STOPPED)


def evaluating(inputs: Path) -> Command:
    words = [
        *[*LIIF, "evaluate", "--hr", str(inputs / "photographs"), "--lr", str(inputs / "lr")],
        *["--scale", "4", "--weights", "bicubic", "--json", "out.json"],
    ]
    return Command(words=lambda _: words, results=["out.json"], says=STOPPED)


def upscaling(inputs: Path) -> Command:
    words = [
        *[*LIIF, "upscale", str(inputs / "lr"), "--out", "big", "--scale", "3", "--threads", "1"],
        *["--weights", str(inputs / "weights.safetensors"), "--device", "cpu"],
    ]
    return Command(words=lambda _: words, results=["big/*"], says=STOPPED)


class _Slow(BaseHTTPRequestHandler):
    """Serves a megabyte in a second, from any byte on."""

    data: bytes

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            last = len(self.data) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(self.data)}")
        self.send_header("Content-Length", str(len(self.data) - first))
        self.end_headers()
        try:
            for start in range(first, len(self.data), 10_000):
                self.wfile.write(self.data[start : start + 10_000])
                time.sleep(0.01)
        except ConnectionError:
            pass


@pytest.fixture(scope="module")
def address(inputs: Path) -> Iterator[str]:
    """Where weights are served slowly."""
    handler = type("Handler", (_Slow,), {"data": bytes(range(250)) * 4000})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/archive.zip"
        server.shutdown()


def downloading(inputs: Path, address: str) -> Command:
    """The command line with a local archive in place of DIV2K's."""
    import hashlib

    data = bytes(range(250)) * 4000
    code = (
        "import sys\nfrom liif import cli\nfrom liif.data import download\n"
        f"archive = download.Archive(({address!r},), {len(data)}, "
        f"{hashlib.sha256(data).hexdigest()!r})\n"
        "download.ARCHIVES['DIV2K_valid_HR'] = archive\n"
        "sys.argv = ['liif', 'download', 'DIV2K_valid_HR', '--to', 'data', '--partial', 'work']\n"
        "cli.main()"
    )
    words = [sys.executable, "-c", code]
    return Command(words=lambda _: words, results=["data/*.zip"], says=STOPPED)


def prepare_project(inputs: Path, folder: Path, **changes: Any) -> None:
    """A project with tiny data of its own; one model is trained, one given."""
    for part in ("train", "valid", "test"):
        (folder / "data" / part).mkdir(parents=True)
    for i in range(3):
        for part, size in (("train", 60), ("valid", 56), ("test", 64)):
            path = folder / "data" / part / f"{part}{i}.png"
            write_png(path, photograph(size, size + 8 * i, seed=i))
    shutil.copy(inputs / "weights.safetensors", folder / "data" / "given.safetensors")
    config = {
        **TINY,
        "data": {
            **{"train": "data/train", "valid": "data/valid", "test": {"hr": "data/test"}},
            "crop": 48,
        },
        "models": {
            "small-rdn": TINY["models"]["small-rdn"],
            "given": {"weights": "data/given.safetensors", "scales": [8]},
        },
        "train": {**TINY["train"], "epochs": 60},
        "evaluate": {"scales": [2], "border": "scale"},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**config, **changes}))


RESULTS = ["results/sr_800/*/*.png", "results/models/*.safetensors", "results/metrics.csv"]


def workflow(inputs: Path) -> Command:
    words = [
        *[str(BIN / "snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"],
        *["results/sr_800", "--configfile", "tiny.yaml"],
    ]
    return Command(words=lambda _: words, results=RESULTS, prepare=partial(prepare_project, inputs))


def prepare_versions(inputs: Path, folder: Path) -> None:
    prepare_project(inputs, folder)
    versioned = Versioned(folder)
    text = (folder / "tiny.yaml").read_text()
    versioned.prepare()
    (folder / "tiny.yaml").write_text(text)
    sh(folder, "dvc", "add", "--quiet", "data")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "data")


def reproducing(inputs: Path) -> Command:
    return Command(
        words=lambda _: [str(BIN / "dvc"), "repro"],
        results=RESULTS,
        prepare=partial(prepare_versions, inputs),
        environment={"PATH": f"{BIN}:/usr/bin:/bin"},
    )


COMMANDS: dict[str, Callable[..., Command]] = {
    "train": training,
    "pack": packing,
    "degrade": degrading,
    "evaluate": evaluating,
    "upscale": upscaling,
    "download": downloading,
    "snakemake": workflow,
    "dvc": reproducing,
}
_known: dict[str, tuple[Results, float, float]] = {}


def check(
    name: str, seed: int, inputs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    more = (request.getfixturevalue("address"),) if name == "download" else ()
    command = COMMANDS[name](inputs, *more)
    if name not in _known:
        (tmp_path / "undisturbed").mkdir()
        _known[name] = command.undisturbed(tmp_path / "undisturbed", tmp_path / "undisturbed.log")
    results, first, last = _known[name]
    folder, log = tmp_path / "disturbed", tmp_path / "disturbed.log"
    folder.mkdir()
    story = disturb(command, folder, log, seed, first, last)
    print(f"\n{name}, seed {seed}: " + "; ".join(story))
    assert command.found(folder) == results, log.read_text()
    assert not parts(folder)


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_in_every_way(
    name: str, seed: int, inputs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    check(name, seed, inputs, tmp_path, request)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_in_every_way_often(
    name: str, seed: int, inputs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    check(name, seed, inputs, tmp_path, request)
