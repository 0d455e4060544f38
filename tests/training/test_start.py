"""Trainings that start from weights, and that learn from a teacher."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import SETTINGS, Folder, as_the_authors_save
from torch import Tensor

from liif import config
from liif.checkpoints import catalog
from liif.checkpoints.describe import describe
from liif.checkpoints.format import identity, load_metadata, load_tensors, save_checkpoint
from liif.checkpoints.load import read_checkpoint
from liif.checkpoints.outputs import Outputs
from liif.data.pack import Pack, pack
from liif.data.patches import Batch, TrainingBatches
from liif.network.build import Architecture, build
from liif.network.model import LIIF
from liif.recipe import Recipe
from liif.system.errors import UserError
from liif.system.files import file_sha256
from liif.system.project import records_folder
from liif.tracking.records import Records
from liif.tracking.tracker import NoTracker, Tracker
from liif.training import train, trainer
from liif.training.start import networks, read_given
from liif.training.step import Replica, Teaching, train_step
from liif.training.trainer import Limits

CPU = Limits(device=torch.device("cpu"))
NETWORK = {"encoder": SETTINGS["encoder"], "hidden": SETTINGS["hidden"]}
"""That of the weights to start from."""
IMAGENET = {"mean": [0.4488, 0.4371, 0.404], "std": [1, 1, 1]}
"""The normalisation of mmagic."""


def save_network(path: Path, seed: int = 5, **changes: Any) -> Path:
    """Save a network with random weights."""
    architecture = Architecture.model_validate({**NETWORK, **changes})
    torch.manual_seed(seed)
    save_checkpoint(path, build(architecture), architecture)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save_network(tmp_path / "weights.safetensors")


@pytest.fixture
def packs(folder: Folder, tmp_path: Path) -> tuple[Path, Path]:
    """Two photographs to train on, six steps an epoch, and one to validate on."""
    pack(folder("train", a=(60, 70), b=(64, 64)), tmp_path / "train.pack")
    pack(folder("valid", c=(50, 50)), tmp_path / "valid.pack")
    return tmp_path / "train.pack", tmp_path / "valid.pack"


Train = Callable[..., Outputs]


@pytest.fixture
def run(packs: tuple[Path, Path], tmp_path: Path) -> Train:
    """Train an epoch into the folder of that name, with settings changed."""

    def call(where: str, tracker: NoTracker = train.NO_TRACKER, **changes: Any) -> Outputs:
        settings = {"train": {**SETTINGS["train"], "epochs": 1}, **changes}
        base = tmp_path / where
        return train.train(
            where,
            Recipe.model_validate(settings),
            data=packs[0],
            valid=packs[1],
            out=base / "m.safetensors",
            state=base / "state",
            store=tmp_path / "store",
            limits=CPU,
            tracker=tracker,
        )

    return call


def first_batch(packs: tuple[Path, Path]) -> Batch:
    return TrainingBatches(Pack(packs[0]), Recipe.model_validate(SETTINGS).train)[0]


def output(model: LIIF, batch: Batch) -> Tensor:
    return model.decode(model.encode(batch.lr), batch.queries, batch.cells)


def first_loss(run: Train, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> float:
    """The loss of a training's first step."""
    losses: list[float] = []

    def step(*args: Any) -> Tensor:
        losses.append(float(train_step(*args)))
        raise ConnectionAbortedError

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_step", step)
        with pytest.raises(ConnectionAbortedError):
            run("first", **changes)
    return losses[0]


@pytest.mark.parametrize("explicit", [True, False])
def test_an_equal_network_starts_from_all_tensors(
    run: Train,
    packs: tuple[Path, Path],
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    explicit: bool,
) -> None:
    """Whether the settings name its network or leave that to the start."""
    network = NETWORK if explicit else {}
    batch, model = first_batch(packs), read_checkpoint(weights)[0]
    expected = float(((output(model, batch).detach() - batch.rgb) / model.std).abs().mean())
    loss = first_loss(run, monkeypatch, start=str(weights), **network)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_another_decoder_starts_from_the_encoder_alone(weights: Path) -> None:
    recipe = Recipe.model_validate({"start": str(weights), "hidden": [8], "skip": "bicubic"})
    given = read_given(recipe)
    encoder = read_checkpoint(weights)[0].encoder.state_dict()
    assert given.start.keys() == {f"encoder.{name}" for name in encoder}
    assert all(torch.equal(given.start[f"encoder.{name}"], encoder[name]) for name in encoder)
    assert given.recipe.architecture == Architecture.model_validate(
        {**NETWORK, "hidden": [8], "skip": "bicubic"}
    )


def test_settings_of_the_network_are_the_starts_where_none_are_set(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"skip": "bicubic", "hidden": [8, 8], **IMAGENET}
    path = save_network(tmp_path / "other.safetensors", **changes)
    recipe = config.recipe("{train: {epochs: 2}}", start=str(path))
    given = read_given(recipe)
    assert given.recipe.architecture == Architecture.model_validate({**NETWORK, **changes})
    assert given.start.keys() == read_checkpoint(path)[0].state_dict().keys()
    assert given.recipe.train.epochs == 2


def test_weights_of_other_projects(tmp_path: Path, weights: Path) -> None:
    model = read_checkpoint(weights)[0]
    as_the_authors_save(model, tmp_path / "authors.pth")
    recipe = {"start": str(tmp_path / "authors.pth"), "teacher": str(tmp_path / "authors.pth")}
    given = read_given(Recipe.model_validate(recipe))
    for tensors in (given.start, given.teacher.state_dict() if given.teacher else {}):
        assert tensors.keys() == model.state_dict().keys()
        assert all(torch.equal(t, tensors[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize("kind", ["l1", "l2"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bf16", 0.02)])
def test_the_loss_with_a_teacher(
    packs: tuple[Path, Path],
    weights: Path,
    tmp_path: Path,
    kind: Any,
    precision: Any,
    tolerance: float,
) -> None:
    """Distance to the truth + weight · L1 distance to the teacher's output; the gradients, too."""
    batch = first_batch(packs)
    teacher = read_checkpoint(save_network(tmp_path / "teacher.safetensors", 9, hidden=[8]))[0]
    ours, expected = (read_checkpoint(weights)[0] for _ in range(2))
    rgb = output(expected, batch)
    error, distance = (rgb - batch.rgb) / 0.5, (rgb - output(teacher, batch).detach()) / 0.5
    loss = (error.abs() if kind == "l1" else error**2).mean() + 0.7 * distance.abs().mean()
    loss.backward()
    teaching = Teaching(teacher.eval().requires_grad_(False), 0.7)
    adam = torch.optim.Adam(ours.parameters())
    found = train_step(ours, adam, batch, kind, precision, teaching)
    assert float(found) == pytest.approx(float(loss.detach()), rel=tolerance)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    if precision == "float32":
        for a, b in zip(ours.parameters(), expected.parameters(), strict=True):
            assert a.grad is not None
            assert b.grad is not None
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)


def test_the_shares_of_a_step_sum_to_its_loss_with_a_teacher(
    packs: tuple[Path, Path], weights: Path
) -> None:
    batch = first_batch(packs)
    teaching = Teaching(read_checkpoint(weights)[0].requires_grad_(False), 0.7)

    def loss(part: slice) -> float:
        torch.manual_seed(0)
        model = build(Architecture.model_validate(NETWORK))
        share = Batch(*(tensor[part] for tensor in batch))
        replica = Replica(model, len(batch.lr))
        return float(
            train_step(replica, torch.optim.Adam(model.parameters()), share, teaching=teaching)
        )

    whole = loss(slice(None))
    assert loss(slice(0, 1)) + loss(slice(1, None)) == pytest.approx(whole, rel=1e-5)


def test_a_teacher_teaches(run: Train, packs: tuple[Path, Path], weights: Path) -> None:
    """With a large weight, the student comes to resemble its teacher, not the truth."""
    settings = {**NETWORK, "train": {**SETTINGS["train"], "epochs": 6, "learning_rate": 5e-3}}
    batch = first_batch(packs)
    teacher = output(read_checkpoint(weights)[0], batch)
    distances = []
    for where, weight in (("little", 0.01), ("much", 20)):
        outputs = run(where, **settings, teacher={"weights": str(weights), "weight": weight})
        found = output(read_checkpoint(outputs.weights)[0], batch)
        distances.append(float((found - teacher).detach().abs().mean()))
    assert distances[1] < 0.5 * distances[0]


def test_the_optimizers_rates(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate of its own for the encoder, and a warm-up of both."""
    rates: list[tuple[float, float]] = []

    def step(replica: Replica, optimizer: torch.optim.Optimizer, *args: Any) -> Tensor:
        encoder, decoder = optimizer.param_groups
        assert encoder["params"] == list(replica.model.encoder.parameters())
        rates.append((encoder["lr"], decoder["lr"]))
        return train_step(replica, optimizer, *args)

    monkeypatch.setattr(trainer, "train_step", step)
    changes = {"epochs": 1, "learning_rate": 1e-3, "encoder_learning_rate": 2e-4, "warmup": 3}
    run("a", **NETWORK, train={**SETTINGS["train"], **changes})
    expected = [0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3]
    assert [decoder for _, decoder in rates] == pytest.approx(expected)
    assert [encoder for encoder, _ in rates] == pytest.approx([r / 5 for r in expected])


@pytest.mark.parametrize("shared", [True, False])
def test_a_rate_of_zero_keeps_the_encoder(
    run: Train, packs: tuple[Path, Path], weights: Path, tmp_path: Path, shared: bool
) -> None:
    """The decoder learns as if features were constants, computed once if they are the teacher's."""
    other = save_network(tmp_path / "teacher.safetensors", 9)
    teacher = {"weights": str(weights if shared else other)}
    changes = {"epochs": 1, "encoder_learning_rate": 0, "warmup": 3}
    settings = {**NETWORK, "hidden": [8], "start": str(weights), "teacher": teacher}
    settings["train"] = {**SETTINGS["train"], **changes}
    model, teaching = networks(read_given(Recipe.model_validate(settings)), CPU.device)
    assert teaching is not None
    assert teaching.same_features == shared
    batch, losses = first_batch(packs), []
    for each in (teaching, teaching._replace(same_features=False)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0)
        losses.append(float(train_step(model, optimizer, batch, teaching=each)))
    assert losses[0] == losses[1]
    assert all(p.grad is not None for p in model.imnet.parameters())
    trained = load_tensors(run("a", **settings).weights)[0]
    start = load_tensors(weights)[0]
    encoder = [name for name in trained if name.startswith("encoder.")]
    assert all(torch.equal(trained[name], start[name]) for name in encoder)
    assert len(encoder) == len(model.encoder.state_dict())


def test_the_result_depends_on_the_content_alone(
    run: Train, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found again from any path; the weights name no path, and their identity is the key."""
    changes = {"start": str(weights), "teacher": {"weights": str(weights), "weight": 0.5}}
    monkeypatch.setattr(Tracker, "start", lambda _: None)  # nothing is delivered
    first = run("a", tracker=Tracker(tmp_path), **changes)
    (stored,) = (p for p in (tmp_path / "store").glob("*.safetensors") if p.name.count(".") == 1)
    assert identity(first.weights) == stored.stem
    content = first.weights.read_bytes()
    assert str(tmp_path).encode() not in content
    assert weights.name.encode() not in content
    recipe = load_metadata(first.weights)["provenance"]["recipe"]
    digest = file_sha256(weights)
    assert (recipe["start"], recipe["teacher"]) == (
        {"sha256": digest},
        {"sha256": digest, "weight": 0.5},
    )
    (record,) = Records(records_folder(tmp_path)).all()
    params: dict[str, Any] = {}
    for *_, event in record.events(0):
        params |= event["values"] if event["kind"] == "params" else {}
    assert (params["start.sha256"], params["teacher.weight"]) == (digest, "0.5")
    assert str(weights) not in params.values()

    (tmp_path / "elsewhere").mkdir()
    moved = weights.rename(tmp_path / "elsewhere" / "mine.safetensors")
    monkeypatch.setattr(trainer, "train_step", None)  # no step is taken
    named = {"weights": str(moved), "sha256": digest}
    again = run("b", start=named, teacher={**named, "weight": 0.5})
    assert again.weights.read_bytes() == content
    facts = dict(describe(str(again.weights)))
    assert facts["start"] == f"sha256 {digest}"
    assert facts["teacher"] == f"sha256 {digest}, weight 0.5"


def test_bundled_weights_are_named_in_the_description(tmp_path: Path) -> None:
    recipe = read_given(Recipe.model_validate({"start": "bundled"})).recipe
    path = tmp_path / "m.safetensors"
    provenance = {"recipe": recipe.model_dump(mode="json"), "data": "x"}
    save_checkpoint(path, build(recipe.architecture), recipe.architecture, provenance)
    digest = file_sha256(catalog.BUNDLED)
    assert dict(describe(str(path)))["start"] == f"bundled, sha256 {digest}"


def test_other_weights_are_another_training(tmp_path: Path) -> None:
    paths = [save_network(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]

    def key(**names: Any) -> str:
        return read_given(Recipe.model_validate({**NETWORK, **names})).recipe.key("x")

    variants: list[dict[str, Any]] = [
        {},
        *({role: str(path)} for role in ("start", "teacher") for path in paths),
        {"teacher": {"weights": str(paths[0]), "weight": 2}},
    ]
    assert len({key(**variant) for variant in variants}) == len(variants)


def test_provenance_that_names_weights_has_the_same_identity() -> None:
    digest = "1" * 64
    named = {"start": {"weights": "bundled", "url": None, "sha256": digest}}
    keys = {
        Recipe.model_validate(
            {**start, "hidden": [80], "teacher": {**start["start"], "weight": 1.0}}
        ).key("x")
        for start in (named, {"start": {"sha256": digest}})
    }
    assert keys == {"534084e3eed3d686d338e63e08afdab559437e35f7e0e139dd481e6f6def4421"}


CLAIMS: dict[str, Callable[[Path], dict[str, Any]]] = {
    r"start: .*weights\.safetensors is another network: encoder EDSR, 1 blocks, 8 channels instead "
    r"of EDSR, 2 blocks, 8 channels; leave out these settings": lambda path: {
        "start": str(path),
        "encoder": {"name": "edsr", "blocks": 2, "channels": 8},
    },
    r"start: .* is another network: mean 0\.5, 0\.5, 0\.5 instead of 0\.4, 0\.4, 0\.4; std 0\.5": (
        lambda path: {"start": str(path), "mean": [0.4] * 3, "std": [1] * 3}
    ),
    r"teacher: .*weights\.safetensors has another normalisation: mean 0\.5, 0\.5, 0\.5 instead of "
    r"0\.4, 0\.4, 0\.4; set its `mean` and `std`": lambda path: {
        "teacher": str(path),
        "mean": [0.4] * 3,
    },
    r"edsr-basline: no such weights file": lambda _: {"start": "edsr-basline"},
    r"rdn: not fetched yet; run `liif weights fetch rdn`": lambda _: {"start": "rdn"},
    r"gone\.safetensors: no such weights file": lambda path: {
        "teacher": str(path.with_name("gone.safetensors"))
    },
    r"weights\.safetensors: its sha256 is [0-9a-f]{64}, not 0{64}; is it another version\?": (
        lambda path: {"start": {"weights": str(path), "sha256": "0" * 64}}
    ),
    r"start: `sha256` alone does not say where the file is; add `weights` or `url`": (
        lambda _: {"start": {"sha256": "0" * 64}}
    ),
    r"train\.pack: contains no network; is it a pack of photographs or a training's state\?": (
        lambda path: {"teacher": str(path.with_name("train.pack"))}
    ),
    r"test_start\.py: is neither a liif safetensors file nor a checkpoint": (
        lambda _: {"start": __file__}
    ),
}


@pytest.mark.parametrize("message", CLAIMS)
def test_weights_that_do_not_fit_are_refused_in_one_line(
    run: Train, weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, message: str
) -> None:
    monkeypatch.setenv(catalog.CACHE, str(tmp_path / "cache"))
    with pytest.raises(UserError, match=message) as caught:
        run("a", **CLAIMS[message](weights))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a folder's files, and the requests for them."""
    requests: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            requests.append(self.path)

    (tmp_path / "served").mkdir()
    handler = partial(Handler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()


def test_weights_at_a_url_are_downloaded_once(
    tmp_path: Path,
    weights: Path,
    served: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, requests = served
    monkeypatch.setenv(catalog.CACHE, str(tmp_path / "cache"))
    digest = file_sha256(weights)
    weights.rename(tmp_path / "served" / "a.safetensors")
    recipe = Recipe.model_validate(
        {"start": {"url": f"{address}/a.safetensors?token=1", "sha256": digest}}
    )
    given = [read_given(recipe) for _ in range(2)]
    assert len(requests) == 1
    assert [g.recipe.start.sha256 if g.recipe.start else "" for g in given] == [digest] * 2
    wrong = {"url": f"{address}/a.safetensors?token=1", "sha256": "0" * 64}
    with pytest.raises(UserError, match="checksum of the file is wrong") as caught:
        read_given(Recipe.model_validate({"teacher": wrong}))
    assert "token" not in str(caught.value)
    (kept,) = (p for p in (tmp_path / "cache").rglob("*") if p.is_file())
    assert kept.name == f"{digest}.weights"


def killed_and_resumed(words: list[str], base: Path) -> int:
    """Kill a training within an epoch, then run it to its end; returns the step it resumed at."""
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not (states := list(base.glob("**/state.safetensors"))):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    seen = states[0].stat().st_mtime_ns
    while states[0].stat().st_mtime_ns == seen and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    step = load_metadata(states[0])["state"]["step"]
    subprocess.run(words, check=True, capture_output=True)
    return int(step)


@pytest.mark.parametrize("role", ["start", pytest.param("teacher", marks=pytest.mark.slow)])
def test_killed_and_resumed_is_byte_for_byte_the_same(
    packs: tuple[Path, Path], weights: Path, tmp_path: Path, role: str
) -> None:
    """By SIGKILL, within an epoch of 60 steps, after a save."""
    settings = {"train": {**SETTINGS["train"], "epochs": 2, "visits": 120}}
    own = {"warmup": 20, "encoder_learning_rate": 0}
    settings |= NETWORK if role == "teacher" else {"train": {**settings["train"], **own}}

    def words(where: str, *more: str) -> list[str]:
        return [
            *[sys.executable, "-m", "liif", "train", "--settings", json.dumps(settings)],
            *["--data", str(packs[0]), "--valid", str(packs[1]), f"--{role}", str(weights)],
            *["--out", str(tmp_path / where / "m.safetensors"), "--device", "cpu", "--no-track"],
            *["--threads", "1", *more],
        ]

    subprocess.run(words("a"), check=True, capture_output=True)
    resumed_at = killed_and_resumed(words("b", "--save-minutes", "0"), tmp_path / "b")
    assert resumed_at % 60 != 0
    a, b = (file_sha256(tmp_path / where / "m.safetensors") for where in "ab")
    assert a == b


@pytest.mark.slow
def test_ranks_share_the_start_and_the_teacher(
    packs: tuple[Path, Path], weights: Path, tmp_path: Path
) -> None:
    """Rank 0 reads the weights; a mistake in them is one line."""
    changes = {"epochs": 1, "encoder_learning_rate": 0}
    settings = json.dumps({"train": {**SETTINGS["train"], **changes}})

    def finish(where: str, processes: str, start: Path) -> subprocess.CompletedProcess[str]:
        words = [
            *[sys.executable, "-m", "liif", "train", "--settings", settings, "--no-track"],
            *["--data", str(packs[0]), "--valid", str(packs[1]), "--device", "cpu"],
            *["--out", str(tmp_path / where / "m.safetensors"), "--processes", processes],
            *["--start", str(start), "--teacher", str(weights)],
        ]
        return subprocess.run(words, capture_output=True, text=True, env={**os.environ})

    for processes in "12":
        done = finish(processes, processes, weights)
        assert done.returncode == 0, done.stderr
    tensors = [load_tensors(tmp_path / where / "m.safetensors")[0] for where in "12"]
    assert all(torch.allclose(tensors[0][n], tensors[1][n], atol=1e-5) for n in tensors[0])
    done = finish("wrong", "2", tmp_path / "gone")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("gone: no such weights file")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{start: {weights: x, url: 'http://y'}}", r"`start`: takes `weights` or `url`, not both"),
        ("{start: {url: 'http://y'}}", r"`start`: `url` needs `sha256`, the checksum of its file"),
        ("{start: 'http://y'}", r"`start` .*: put a URL under `url`, with the `sha256`"),
        ("{start: {}}", r"`start`: needs a name, a file, or `url` with `sha256`"),
        ("{teacher: {weights: x, weight: 0}}", r"`teacher\.weight` \(=0\): .*greater than 0"),
        ("{teacher: {weights: x, weight: -1}}", r"`teacher\.weight` \(=-1\)"),
        ("{teacher: {wieght: 2}}", r"unknown key `teacher\.wieght`; did you mean `weight`\?"),
        ("{start: {weights: x, weight: 2}}", r"unknown key `start\.weight`"),
    ],
)
def test_mistakes_in_the_settings(settings: str, message: str) -> None:
    with pytest.raises(UserError, match=f"configuration: {message}") as caught:
        config.recipe(settings)
    assert "\n" not in str(caught.value)


def test_weights_of_the_command_line_replace_those_of_the_settings() -> None:
    text = "{start: a, teacher: {weights: b, weight: 2}}"
    assert config.recipe(text).given.keys() == {"start", "teacher"}
    recipe = config.recipe(text, start="c", teacher="d")
    assert recipe.model_dump(include={"start", "teacher"}) == {
        "start": "c",
        "teacher": {"weights": "d", "weight": 2.0},
    }
