"""Commands of liif, Snakemake and DVC on small inputs, to be killed or run on a full disk."""

import json
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import yaml
from killing import Command
from projects import BIN, ROOT, TINY, Versioned, git, sh
from samples import photograph

from liif.images.png import write_png

LIIF = [sys.executable, "-m", "liif"]
STOPPED = "liif: stopped; nothing half-written is left; run the same command to resume"


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
        words=lambda _: words,
        results=["m.safetensors", "m.best.safetensors"],
        stop_message="run the same command to resume",
    )


def packing(inputs: Path) -> Command:
    words = [*LIIF, "pack", str(inputs / "photographs"), "out.pack"]
    return Command(words=lambda _: words, results=["out.pack"], stop_message=STOPPED)


def collecting(inputs: Path) -> Command:
    words = [*LIIF, "collect", str(inputs / "wallpapers"), "out"]
    return Command(words=lambda _: words, results=["out/*"], stop_message=STOPPED)


def degrading(inputs: Path) -> Command:
    words = [
        *[*LIIF, "degrade", str(inputs / "photographs"), "--out", "lr", "--scale", "2.5"],
        *["--crop", "160", "--truth", "hr", "--manifest", "lr.json"],
    ]
    return Command(words=lambda _: words, results=["lr/*", "hr/*", "lr.json"], stop_message=STOPPED)


def evaluating(inputs: Path) -> Command:
    words = [
        *[*LIIF, "evaluate", "--hr", str(inputs / "photographs"), "--lr", str(inputs / "lr")],
        *["--scale", "4", "--weights", "bicubic", "--json", "out.json"],
    ]
    return Command(words=lambda _: words, results=["out.json"], stop_message=STOPPED)


def upscaling(inputs: Path) -> Command:
    words = [
        *[*LIIF, "upscale", str(inputs / "lr"), "--out", "big", "--scale", "3", "--threads", "1"],
        *["--weights", str(inputs / "weights.safetensors"), "--device", "cpu"],
    ]
    return Command(words=lambda _: words, results=["big/*"], stop_message=STOPPED)


CONTENT = bytes(range(250)) * 4000
"""The served file."""


class SlowServer(BaseHTTPRequestHandler):
    """Serves a megabyte in a second, with support for ranges."""

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            last = len(CONTENT) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - first))
        self.end_headers()
        try:
            for start in range(first, len(CONTENT), 10_000):
                self.wfile.write(CONTENT[start : start + 10_000])
                time.sleep(0.01)
        except ConnectionError:
            pass


def downloading(inputs: Path, address: str) -> Command:
    """`liif download` with a local archive in place of DIV2K's."""
    code = (
        "import sys\nfrom liif import cli\nfrom liif.data import div2k\n"
        f"archive = div2k.Archive(({address!r},), {len(CONTENT)}, "
        f"{sha256(CONTENT).hexdigest()!r})\n"
        "div2k.ARCHIVES['DIV2K_valid_HR'] = archive\n"
        "sys.argv = ['liif', 'download', 'DIV2K_valid_HR', '--to', 'data', '--partial', 'work']\n"
        "cli.main()"
    )
    words = [sys.executable, "-c", code]
    return Command(words=lambda _: words, results=["data/*.zip"], stop_message=STOPPED)


def prepare_project(inputs: Path, folder: Path, **changes: Any) -> None:
    """Make a project with tiny data, one model to train and one given."""
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
            "given": {"weights": "data/given.safetensors", "scales": []},
        },
        "train": {**TINY["train"], "epochs": 24},
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
    "collect": collecting,
    "pack": packing,
    "degrade": degrading,
    "evaluate": evaluating,
    "upscale": upscaling,
    "download": downloading,
    "snakemake": workflow,
    "dvc": reproducing,
}
