"""A folder like a clone of the project, with tiny files under the names that its pages use."""

import re
import shutil
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from itertools import groupby
from pathlib import Path

import yaml
from PIL import Image
from projects import BIN, QUICK, ROOT, TINY, git, sh
from samples import SMALL, as_the_authors_save, make_deb, photograph

from liif.checkpoints.format import save_checkpoint
from liif.data.photographs import Photograph, catalogue
from liif.network.build import build

PICTURES = {
    **{"photo.jpg": (9, 16), "photo.png": (40, 60), "a.png": (16, 16), "b.png": (16, 16)},
    **{"folder/a.png": (9, 12), "folder/more/b.png": (12, 9)},
    **{f"{folder}/x.png": (24, 24) for folder in ("folder-a", "folder-b", "hr")},
    **{"photos/a.png": (60, 60), "valid/b.png": (60, 60)},
}
"""Pictures of every page: rows and columns."""


def clone(folder: Path) -> None:
    """Copy the part of the project that commands use, and make the files."""
    folder.mkdir()
    for name in (".dvc", "config", "profiles", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("tmp", "cache"))
    for name in (".dvcignore", ".gitignore", "Snakefile", "dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "liif").symlink_to(ROOT / "liif")
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(BIN / "activate", folder / ".venv" / "bin")
    (folder / ".venv" / "bin" / "snakemake").symlink_to(BIN / "snakemake")
    for name in ("FILE", "fast", "photo", "results/models/rdn.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder / name, build(SMALL["rdn"]), SMALL["rdn"])
    as_the_authors_save(build(SMALL["edsr"]), folder / "checkpoint.pth")
    (folder / "short.yaml").write_text(yaml.safe_dump({"train": QUICK}))
    paint(folder, PICTURES)


def paint(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    """Make pictures of these rows and columns."""
    for i, (name, size) in enumerate(sizes.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(*size, seed=i)).save(folder / name)


@lru_cache
def photographs() -> dict[Photograph, bytes]:
    """The catalogue's photographs that the tutorial copies, with synthetic contents."""
    text = (ROOT / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
    named = ",".join(re.findall(r"cp \{(.*?)\}", text)).split(",")
    made = {}
    for i, entry in enumerate(entry for entry in catalogue() if entry.name in named):
        file = BytesIO()
        Image.fromarray(photograph(770, 770, seed=i)).save(file, "JPEG")
        digest = sha256(file.getvalue()).hexdigest()
        made[entry._replace(sha256=digest)] = file.getvalue()
    return made


def packages(folder: Path) -> None:
    """Make Debian packages of these photographs."""
    folder.mkdir(exist_ok=True)
    by_package = sorted(photographs().items(), key=lambda item: item[0].package)
    for package, group in groupby(by_package, key=lambda item: item[0].package):
        files = {entry.file: data for entry, data in group}
        make_deb(folder / f"{package}_1.0_all.deb", {"usr/share/doc/copyright": b"", **files})


def crop_others(folder: Path) -> None:
    """Make the tutorial's photographs for evaluation small."""
    paint(folder, {f"others/{path.name}": (64, 64) for path in (folder / "others").iterdir()})


def project(folder: Path) -> None:
    """Make the clone a git repository with a small experiment in place of the documented one."""
    config = {**TINY, "models": {"small-edsr": TINY["models"]["small-edsr"]}, "train": QUICK}
    config |= {"data": {**TINY["data"], "valid": "data/valid"}, "evaluate": {"scales": []}}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    paint(folder, {f"data/{part}/x.png": (60, 60) for part in ("train", "valid", "test")})
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "clone")
    sh(folder, "dvc", "add", "--quiet", "data")
    shutil.rmtree(folder / ".dvc" / "cache")  # nothing is in it after a download


def commit_another_picture(folder: Path) -> None:
    """Commit another test picture, after a state with the tag `OLDER`."""
    git(folder, "tag", "OLDER")
    paint(folder, {"data/test/new.png": (60, 60)})
    sh(folder, "dvc", "commit", "--force", "--quiet", "data.dvc")
    git(folder, "commit", "--quiet", "--all", "--message", "newer")


def require_first_picture(folder: Path) -> None:
    """Require the test pictures of `OLDER`."""
    assert [path.name for path in (folder / "data" / "test").iterdir()] == ["x.png"]


def remove_remote(folder: Path) -> None:
    sh(folder, "dvc", "remote", "remove", "shared")


def use_a_folder_as_remote(folder: Path) -> None:
    remove_remote(folder)
    sh(folder, "dvc", "remote", "add", "-d", "shared", str(folder.parent / "shared"))


def demo(folder: Path) -> None:
    """Make the demo's folder with the small experiment, and a photograph to add."""
    path = folder / "demo"
    shutil.copytree(folder / "data", path / "data")
    shutil.copy(folder / "config" / "config.yaml", path)
    sh(folder, str(folder / "profiles" / "demo" / "prepare"), "demo")
    paint(path, {"somewhere/photo.jpg": (60, 60)})
