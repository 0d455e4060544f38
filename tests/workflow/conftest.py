"""Projects, and inputs of the commands that are killed."""

import threading
import zipfile
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from commands import SlowServer
from PIL import Image
from projects import Project, Versioned
from samples import SMALL, Folder, photograph

from liif.checkpoints.format import save_checkpoint
from liif.data.degrade import degrade
from liif.data.pack import pack
from liif.network.build import build


@pytest.fixture
def project(folder: Folder, tmp_path: Path) -> Project:
    path = tmp_path / "project"
    folder("project/data/train", a=(60, 70), b=(50, 50))
    folder("project/data/test", street=(64, 48), house=(50, 50))
    valid = folder("valid", c=(48, 60), d=(56, 56))
    with zipfile.ZipFile(path / "data" / "valid.zip", "w") as archive:
        for picture in valid.iterdir():
            archive.write(picture, f"top/{picture.name}")
    state = build(SMALL["edsr"]).state_dict()
    torch.save({"model": {"name": "liif", "args": {}, "sd": state}}, path / "data" / "given.pth")
    project = Project(path)
    project.configure()
    return project


@pytest.fixture
def versioned(project: Project) -> Versioned:
    return Versioned(project.path)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs small and large, LR pictures, a pack and weights."""
    base = tmp_path_factory.mktemp("inputs")
    for name, count, size in (("photographs", 40, 160), ("few", 3, 60), ("wallpapers", 20, 400)):
        (base / name).mkdir()
        for i in range(count):
            Image.fromarray(photograph(size, size + i, seed=i)).save(base / name / f"{i}.png")
    degrade(base / "photographs", base / "lr", scale=4)
    pack(base / "few", base / "few.pack")
    torch.manual_seed(0)
    model = build(SMALL["edsr"])
    save_checkpoint(base / "weights.safetensors", model, SMALL["edsr"])
    return base


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a file that is served slowly."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SlowServer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/archive.zip"
        server.shutdown()
