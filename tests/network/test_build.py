"""Architectures, and that a third encoder is one module and one row of a table."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from samples import SMALL, photograph

import liif
from liif.network.build import Architecture, build, initialise_he, recognise

MODULE = '''
from torch import nn
from liif.network.tiling import Encoder

class Toy(Encoder):
    """One convolution."""

    best_tile = 64

    def __init__(self, channels):
        super().__init__()
        self.channels, self.reach, self.bytes_per_pixel = channels, 1, 32 * channels
        self.only = nn.Conv2d(3, channels, 3, padding=1)

    def forward(self, lr):
        return self.only(lr)
'''
ROW = '''
class ToyEncoder(EncoderSettings):
    """A single convolution."""

    path = "liif.network.toy.Toy"
    description = "Toy, 1 convolution"
    name: Literal["toy"] = "toy"

    @property
    def tensor_count(self) -> int:
        return 2

    @classmethod
    def recognise(cls, tensors: Mapping[str, Tensor]) -> EncoderSettings | None:
        only = tensors.get("encoder.only.weight")
        return None if only is None else cls(channels=only.shape[0])


ENCODERS: tuple[type[EncoderSettings], ...] = (ToyEncoder, '''

USE = """
import json

import torch
from liif.checkpoints.describe import describe
from liif.checkpoints.load import read_checkpoint
from liif.config import experiment

models = {"a": {"encoder": {"name": "toy"}}}
assert experiment({"models": models}).recipe("a").encoder.name == "toy"
facts = dict(describe("toy.safetensors"))
print(facts["network"], "|", facts["trained"])
model, architecture, provenance = read_checkpoint("toy.safetensors")
assert type(model.encoder).__name__ == "Toy"
assert provenance["recipe"]["encoder"] == {"name": "toy", "channels": 8}
assert provenance["results_version"] == json.load(open("toy.run.json"))["results_version"] == 1
model.upscale(torch.rand(5, 4, 3).numpy(), scale=2.5, self_ensemble=True, max_memory=1)
content = {"model": {"name": "liif", "args": {}, "sd": model.state_dict()}, "epoch": 1}
torch.save(content, "authors.pth")
assert read_checkpoint("authors.pth")[1] == architecture
"""


def run_in(folder: Path, *words: str) -> str:
    """Run Python in a folder whose copy of liif comes first, and return its output."""
    command = [sys.executable, *words]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_third_encoder_is_a_module_and_a_row(tmp_path: Path) -> None:
    """It is configured, trained by the command, saved, loaded, described and recognised."""
    package = shutil.copytree(Path(liif.__file__).parent, tmp_path / "liif")
    (package / "network" / "toy.py").write_text(MODULE)
    table = package / "network" / "build.py"
    before = "ENCODERS: tuple[type[EncoderSettings], ...] = ("
    assert table.read_text().count(before) == 1
    table.write_text(table.read_text().replace(before, ROW.lstrip("\n")))
    (tmp_path / "photographs").mkdir()
    Image.fromarray(photograph(64, 64)).save(tmp_path / "photographs" / "a.png")
    settings = (
        "{encoder: {name: toy, channels: 8}, hidden: [8], train: {epochs: 1, visits: 2, batch: 1, "
        "patch: 16, queries: 64, scales: [1, 2], validation_patches: 1}}"
    )
    train = ["train", "--data", "photographs", "--valid", "photographs", "-o", "toy.safetensors"]
    run_in(tmp_path, "-m", "liif", *train, "--settings", settings, "--no-track", "--device", "cpu")
    output = run_in(tmp_path, "-c", USE)
    assert "Toy, 1 convolution, 8 channels; decoder 8; skip none | 2 steps in" in output


@pytest.mark.parametrize("architecture", SMALL.values(), ids=SMALL)
def test_counted_and_recognised_without_being_built(architecture: Architecture) -> None:
    state = build(architecture).state_dict()
    assert architecture.tensor_count == len(state)
    assert recognise(state) == architecture


def test_other_networks_are_not_recognised() -> None:
    with pytest.raises(KeyError):
        recognise({"encoder.other.weight": torch.zeros(3, 3)})
    with pytest.raises((KeyError, ValidationError)):
        recognise({"encoder.head.0.weight": torch.zeros(8, 3, 3, 3)})


def test_he_initialisation_damps_the_outputs() -> None:
    torch.manual_seed(0)
    model = build(SMALL["rdn"])
    initialise_he(model)
    last, middle = model.imnet.linears[-1], model.imnet.linears[1]
    assert last.weight.std() < 0.2 * middle.weight.std()
    assert all((b == 0).all() for n, b in model.named_parameters() if n.endswith("bias"))


def test_settings_are_read_without_torch() -> None:
    code = "import sys, liif.config; print({'torch', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
