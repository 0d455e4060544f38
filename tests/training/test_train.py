import csv
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import direct
import pytest
import torch
from samples import SETTINGS, Folder
from torch import Tensor

from liif.checkpoints.format import load_checkpoint, load_tensors, save_tensors
from liif.checkpoints.load import read_checkpoint
from liif.checkpoints.outputs import Outputs
from liif.data.pack import Pack, pack
from liif.data.patches import TrainingBatches
from liif.network import precision
from liif.network.build import build
from liif.recipe import Recipe
from liif.system.errors import UserError
from liif.system.files import file_sha256
from liif.system.locks import lock
from liif.system.processes import this_workflow
from liif.system.project import records_folder
from liif.system.signals import Interrupted
from liif.tracking.records import Records
from liif.tracking.tracker import NoTracker, Tracker
from liif.training import losses, train, trainer
from liif.training.step import Replica, train_step
from liif.training.trainer import Limits


def history(outputs: Outputs) -> list[dict[str, str]]:
    """The rows of a training's history."""
    return list(csv.DictReader(outputs.history.read_text().splitlines()))


CPU = Limits(device=torch.device("cpu"))
Train = Callable[..., Outputs]


@pytest.fixture
def packs(folder: Folder, tmp_path: Path) -> tuple[Path, Path]:
    """Two photographs to train on (24 patches, 6 steps an epoch), one to validate on."""
    pack(folder("train", a=(60, 70), b=(64, 64)), tmp_path / "train.pack")
    pack(folder("valid", c=(50, 50)), tmp_path / "valid.pack")
    return tmp_path / "train.pack", tmp_path / "valid.pack"


@pytest.fixture
def run(packs: tuple[Path, Path], tmp_path: Path) -> Train:
    """Trains into the folder of that name, with settings changed."""

    def call(
        where: str, limits: Limits = CPU, tracker: NoTracker = train.NO_TRACKER, **changes: Any
    ) -> Outputs:
        recipe = Recipe.model_validate({**SETTINGS, **changes})
        base = tmp_path / where
        return train.train(
            where,
            recipe,
            data=packs[0],
            valid=packs[1],
            out=base / "m.safetensors",
            state=base / "state",
            store=base / "store",
            limits=limits,
            tracker=tracker,
        )

    return call


def test_training_learns_and_writes_its_history(run: Train) -> None:
    longer = {**SETTINGS["train"], "epochs": 15, "learning_rate": 3e-3}
    outputs = run("a", train=longer)
    rows = history(outputs)
    assert [int(r["epoch"]) for r in rows] == list(range(1, 16))
    assert [int(r["step"]) for r in rows] == list(range(6, 91, 6))
    assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])
    assert float(rows[-1]["valid_psnr"]) > float(rows[0]["valid_psnr"]) + 3
    assert float(rows[1]["learning_rate"]) == 2 * float(rows[2]["learning_rate"])
    assert all(float(r["patches_per_second"]) > 0 for r in rows)
    assert json.loads(outputs.sidecar.read_text())["steps"] == 90
    best = max(float(r["valid_psnr"]) for r in rows)
    assert read_checkpoint(outputs.best)[2]["valid_psnr"] == pytest.approx(best, abs=1e-4)


def test_result_is_the_last_not_the_best(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([30.0, 40.0, 20.0, 10.0])
    monkeypatch.setattr(trainer, "validate", lambda *_: next(scores))
    outputs = run("a")
    assert read_checkpoint(outputs.best)[2]["valid_psnr"] == 40
    assert outputs.best.read_bytes() != outputs.weights.read_bytes()


def test_fifty_steps_follow_the_direct_forms_loss(packs: tuple[Path, Path]) -> None:
    recipe = Recipe.model_validate(SETTINGS)
    batches = TrainingBatches(Pack(packs[0]), recipe.train)
    curves = []
    for step in (train_step, direct.train_step):
        torch.manual_seed(0)
        model = build(recipe.architecture)
        adam = torch.optim.Adam(model.parameters(), lr=1e-4)
        curves.append([float(step(model, adam, batches[i % len(batches)])) for i in range(50)])
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)
    assert curves[0][0] != curves[0][-1]


@pytest.mark.parametrize("encoder", ["edsr", "rdn"])
def test_a_step_equals_the_direct_form(packs: tuple[Path, Path], encoder: str) -> None:
    recipe = Recipe.model_validate({**SETTINGS, "encoder": {"name": encoder, "blocks": 1}})
    batches = TrainingBatches(Pack(packs[0]), recipe.train)
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(build(recipe.architecture))
    adams = [torch.optim.Adam(m.parameters(), lr=1e-3) for m in models]
    for step in range(5):
        batch = batches[step]
        ours = float(train_step(models[0], adams[0], batch))
        published = direct.train_step(models[1], adams[1], batch)
        assert ours == pytest.approx(published, abs=1e-5)


def test_other_losses_and_optimizers_train_too(run: Train) -> None:
    base = history(run("a"))
    other = history(run("b", train={**SETTINGS["train"], "loss": "l2", "optimizer": "adamw"}))
    assert 0 < float(other[-1]["loss"]) < float(base[-1]["loss"])  # errors below 1, squared


@pytest.mark.slow
def test_bf16_learns_as_float32_does(run: Train) -> None:
    longer = {**SETTINGS["train"], "epochs": 10}
    exact = history(run("a", train=longer))[-1]
    low = history(run("b", train={**longer, "precision": "bf16"}))[-1]
    assert float(low["loss"]) != float(exact["loss"])
    assert float(low["loss"]) == pytest.approx(float(exact["loss"]), rel=0.05)
    assert float(low["valid_psnr"]) == pytest.approx(float(exact["valid_psnr"]), abs=0.5)


AUTO = {"train": {**SETTINGS["train"], "precision": "auto"}}
BF16 = {"train": {**SETTINGS["train"], "precision": "bf16"}}
RDN = {"encoder": {"name": "rdn", "blocks": 2, "layers": 2, "growth": 4, "channels": 8}}
_DEGRADE = {
    "blur": {"range": [0.2, 1]},
    "noise": {"range": [1, 20], "probability": 0.5},
    "jpeg": {"range": [30, 90], "probability": 0.5},
}
DEGRADED = {"train": {**SETTINGS["train"], "degrade": _DEGRADE}}


def fast_bf16(patch: pytest.MonkeyPatch, fast: bool) -> None:
    """Let `auto` be bf16 or float32 on this machine."""
    patch.setattr(precision, "has_fast_bf16", lambda _: fast)


def tensors_of(outputs: Outputs) -> bytes:
    """The trained weights, without what the file says about them."""
    tensors = load_tensors(outputs.weights)[0]
    return b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))


@pytest.mark.parametrize("fast", [True, False])
def test_auto_decides_when_a_training_starts(
    run: Train, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    fast_bf16(monkeypatch, fast)
    auto = run("auto", **AUTO)
    expected = run("explicit", **(BF16 if fast else {}))
    assert tensors_of(auto) == tensors_of(expected)
    for outputs in (auto, expected):
        used = "bf16" if fast else "float32"
        assert json.loads(outputs.sidecar.read_text())["precision"] == used
        assert read_checkpoint(outputs.weights)[2]["precision"] == used


@pytest.mark.parametrize("fast", [True, False])
def test_a_resumed_training_keeps_its_precision_on_another_device(
    run: Train, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    fast_bf16(monkeypatch, fast)
    undisturbed = run("a", **AUTO)
    interrupted(run, "b", **AUTO)
    fast_bf16(monkeypatch, not fast)
    resumed = run("b", **AUTO)
    assert resumed.weights.read_bytes() == undisturbed.weights.read_bytes()


@pytest.mark.parametrize("changes", [{}, BF16], ids=["float32", "bf16"])
def test_a_state_of_before_auto_continues_as_its_recipe_says(
    run: Train, tmp_path: Path, changes: dict[str, Any]
) -> None:
    undisturbed = run("a", **changes)
    interrupted(run, "b", **changes)
    (kept,) = (tmp_path / "b").glob("state/*/state.safetensors")
    tensors, metadata = load_tensors(kept)
    del metadata["state"]["precision"]
    save_tensors(kept, tensors, metadata)
    assert run("b", **changes).weights.read_bytes() == undisturbed.weights.read_bytes()


def test_bf16_where_it_is_slower_is_pointed_out_once(
    run: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fast_bf16(monkeypatch, False)
    run("a", **BF16)
    assert capsys.readouterr().err.count("cpu computes bf16 slowly") == 1
    run("b", **AUTO)
    assert "computes bf16 slowly" not in capsys.readouterr().err


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Raise at that step, so that the files are those of a killed process."""
    real, count = train_step, iter(range(1, 10**6))

    def step_or_crash(*args: Any) -> Tensor:
        if next(count) == step:
            raise ConnectionAbortedError
        return real(*args)

    monkeypatch.setattr(trainer, "train_step", step_or_crash)


@pytest.mark.parametrize("save_minutes", [0.0, 60.0])
@pytest.mark.parametrize(
    ("steps", "changes"),
    [
        ((1, 9), {}),
        ((13, 2), {}),
        ((7, 6), {}),
        pytest.param((9, 2), DEGRADED, id="degraded"),
        pytest.param((9, 2), BF16, id="bf16"),
        pytest.param((9, 2), {**RDN, **BF16}, id="rdn-bf16"),
    ],
)
def test_resumed_training_is_byte_for_byte_the_same(
    run: Train, steps: tuple[int, int], changes: dict[str, Any], save_minutes: float
) -> None:
    undisturbed = run("a", **changes)
    limits = Limits(device=torch.device("cpu"), save_minutes=save_minutes)
    for step in steps:
        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, step)
            with pytest.raises(ConnectionAbortedError):
                run("b", limits, **changes)
    resumed = run("b", limits, **changes)
    assert file_sha256(resumed.weights) == file_sha256(undisturbed.weights)
    assert file_sha256(resumed.best) == file_sha256(undisturbed.best)
    columns = ["epoch", "step", "loss", "valid_psnr", "learning_rate"]
    a, b = history(undisturbed), history(resumed)
    assert list(a[0]) == list(b[0]) == [*columns, "patches_per_second", "timestamp"]
    assert [[r[c] for c in columns] for r in a] == [[r[c] for c in columns] for r in b]


@pytest.mark.parametrize("changes", [{}, DEGRADED], ids=["clean", "degraded"])
def test_workers_change_nothing(run: Train, changes: dict[str, Any]) -> None:
    hashes = {
        file_sha256(run(f"{n}", Limits(device=torch.device("cpu"), workers=n), **changes).weights)
        for n in (0, 1, 2)
    }
    assert len(hashes) == 1


def test_a_crash_leaves_no_worker(packs: tuple[Path, Path], tmp_path: Path) -> None:
    """In a process of its own, which would wait for its workers for ever."""
    code = f"""if True:
        from pathlib import Path
        import torch
        from liif.recipe import Recipe
        from liif.training import train, trainer

        def crash(*_):
            raise AssertionError("a defect")

        trainer.train_step = crash
        base = Path({str(tmp_path)!r})
        train.train(
            "m",
            Recipe.model_validate({SETTINGS!r}),
            data=Path({str(packs[0])!r}),
            valid=Path({str(packs[1])!r}),
            out=base / "m.safetensors",
            state=base / "state",
            store=base / "store",
            limits=trainer.Limits(device=torch.device("cpu"), workers=2),
        )
    """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("AssertionError: a defect\n")


def test_a_known_training_takes_no_step(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("a")
    digests = [file_sha256(p) for p in first.all]
    for path in first.all:
        path.unlink()
    crash_at(monkeypatch, 1)
    again = run("a")
    assert [file_sha256(p) for p in again.all] == digests
    with pytest.raises(ConnectionAbortedError):
        run("a", skip="bicubic")


def other_validation(folder: Folder, packs: tuple[Path, Path]) -> None:
    """Replace the validation photographs."""
    pack(folder("other", d=(52, 60)), packs[1])


def test_finished_weights_are_validated_again_on_other_photographs(
    run: Train, folder: Folder, packs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run("a")
    weights, rows, validated = before.weights.read_bytes(), history(before), packs[1].read_bytes()
    other_validation(folder, packs)
    expected = history(run("b"))[-1]
    crash_at(monkeypatch, 1)
    after = run("a")
    assert after.weights.read_bytes() == weights
    (row,) = history(after)
    assert (row["epoch"], row["loss"]) == (rows[-1]["epoch"], rows[-1]["loss"])
    assert float(row["valid_psnr"]) == pytest.approx(float(expected["valid_psnr"]), abs=1e-6)
    assert row["valid_psnr"] != rows[-1]["valid_psnr"]
    tensors, _, provenance = load_checkpoint(after.best)
    assert provenance["valid_psnr"] == pytest.approx(float(expected["valid_psnr"]), abs=1e-4)
    final = load_tensors(after.weights)[0]
    assert all(torch.equal(tensors[name], final[name]) for name in final)
    packs[1].write_bytes(validated)
    assert history(run("a")) == rows  # of the first set


def test_a_resumed_training_compares_no_psnr_of_other_photographs(
    run: Train, folder: Folder, packs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "validate", lambda *_: 90.0)
        interrupted(run, "a")
    other_validation(folder, packs)
    rows = history(run("a"))
    assert "the validation photographs have changed" in capsys.readouterr().err
    assert [int(row["epoch"]) for row in rows] == [2, 3, 4]
    undisturbed = run("b")
    for ours, theirs in zip(rows, history(undisturbed)[1:], strict=True):
        assert (ours["loss"], ours["valid_psnr"]) == (theirs["loss"], theirs["valid_psnr"])


def test_runs_of_other_validation_photographs_are_apart(
    run: Train,
    folder: Folder,
    packs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trained, found with another set, and found again with the first."""
    monkeypatch.setattr(Tracker, "start", lambda _: None)  # nothing is delivered
    first = packs[1].read_bytes()
    for step in range(3):
        if step == 1:
            other_validation(folder, packs)
        if step == 2:
            packs[1].write_bytes(first)
        run("a", tracker=Tracker(tmp_path))
    records = sorted(Records(records_folder(tmp_path)).all(), key=lambda record: record.folder)
    epochs = [
        [event["step"] for *_, event in record.events(0) if event["kind"] == "epoch"]
        for record in records
    ]
    assert epochs == [[1, 2, 3, 4], [4]]
    assert len({record.validation for record in records}) == 2


def make_unmarked(base: Path) -> None:
    """Make a finished training one of 0.1.0, whose files name no validation set."""
    for path in base.glob("store/*.*.*.*"):
        key, _, suffix = path.name.split(".", 2)
        path.rename(path.with_name(f"{key}.{suffix}"))


def test_a_finished_training_of_0_1_0_is_found_if_it_is_of_this_validation(
    run: Train,
    folder: Folder,
    packs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = history(run("a"))
    crash_at(monkeypatch, 1)
    make_unmarked(tmp_path / "a")
    assert history(run("a")) == rows
    make_unmarked(tmp_path / "a")
    other_validation(folder, packs)
    assert len(history(run("a"))) == 1


@pytest.mark.parametrize("same", [True, False])
def test_a_state_of_0_1_0_continues_if_it_is_of_this_validation(
    run: Train, folder: Folder, packs: tuple[Path, Path], tmp_path: Path, same: bool
) -> None:
    interrupted(run, "a")
    (kept,) = (tmp_path / "a").glob("state/*/state.safetensors")
    tensors, metadata = load_tensors(kept)
    del metadata["state"]["validation"]
    save_tensors(kept, tensors, metadata)
    if not same:
        other_validation(folder, packs)
    assert [int(row["epoch"]) for row in history(run("a"))] == [1, 2, 3, 4][not same :]


def test_interruption_saves_first(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = run("a")
    real, count = train_step, iter(range(1, 100))

    def step_and_signal(*args: Any) -> Tensor:
        if next(count) == 8:
            signal.raise_signal(signal.SIGTERM)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_step", step_and_signal)
        with pytest.raises(Interrupted, match="saved at step 8 of 24") as caught:
            run("b")
    assert caught.value.signal_number == signal.SIGTERM
    crash_at(monkeypatch, 17)  # 24 − 8 steps are left: one more would be one too many
    assert file_sha256(run("b").weights) == file_sha256(undisturbed.weights)


def test_a_loss_that_is_no_number_stops_with_the_last_state(run: Train) -> None:
    with pytest.raises(
        UserError, match=r"loss is (nan|inf|\d.*) at step \d+ with learning rate 1e\+30"
    ):
        run("a", train={**SETTINGS["train"], "learning_rate": 1e30})


@pytest.fixture
def by_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are read every four steps and at an epoch's end: after 4, 6, 10, 12, 16 … steps."""
    monkeypatch.setattr(losses, "read_at_once", lambda _: 4)


def test_only_a_gpu_computes_on_with_unread_losses() -> None:
    counts = [losses.read_at_once(torch.device(name)) for name in ("cpu", "cuda:1")]
    assert counts == [1, losses.UNREAD]


def test_losses_read_together_change_no_result(
    run: Train, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = run("a")
    request.getfixturevalue("by_four")
    limits = Limits(device=torch.device("cpu"), save_minutes=0)
    with monkeypatch.context() as patch:
        crash_at(patch, 12)
        with pytest.raises(ConnectionAbortedError):
            run("b", limits)
    with monkeypatch.context() as patch:
        crash_at(patch, 24 - 10 + 1)  # saved after 10 steps, the last reading
        together = run("b", limits)
    assert file_sha256(together.weights) == file_sha256(one_by_one.weights)
    rows = [[row["loss"] for row in history(each)] for each in (one_by_one, together)]
    assert rows[0] == rows[1]


@pytest.mark.usefixtures("by_four")
def test_a_stop_is_noticed_when_losses_are_read(
    run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = train_step, iter(range(1, 100))

    def step_and_signal(*args: Any) -> Tensor:
        if next(count) == 8:
            signal.raise_signal(signal.SIGTERM)
        return real(*args)

    monkeypatch.setattr(trainer, "train_step", step_and_signal)
    with pytest.raises(Interrupted, match="saved at step 10 of 24"):
        run("a")


@pytest.mark.usefixtures("by_four")
@pytest.mark.parametrize(("step", "kept"), [(13, 12), (10, 10), (11, 10)])
def test_an_exploded_loss_among_unread_ones_is_reported_with_its_step(
    run: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: int, kept: int
) -> None:
    """Steps after it were taken on ruined weights, and none of these is saved."""
    real, count = train_step, iter(range(100))

    def ruin(replica: Replica, *args: Any) -> Tensor:
        loss = real(replica, *args)
        if next(count) == step:
            with torch.no_grad():
                next(replica.model.parameters()).fill_(math.nan)
            return torch.tensor(math.inf)
        return loss

    monkeypatch.setattr(trainer, "train_step", ruin)
    with pytest.raises(UserError, match=f"the loss is inf at step {step} with learning rate"):
        run("a", Limits(device=torch.device("cpu"), save_minutes=0))
    (state,) = (tmp_path / "a").glob("state/*/state.safetensors")
    tensors, metadata = load_tensors(state)
    assert metadata["state"]["step"] == kept
    assert all(bool(t.isfinite().all()) for t in tensors.values())


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1001.0])
def test_an_exploded_loss_is_reported_and_the_last_good_state_kept(
    run: Train, monkeypatch: pytest.MonkeyPatch, wrong: float, tmp_path: Path
) -> None:
    undisturbed = run("a")
    real, count = train_step, iter(range(1, 100))

    def step(*args: Any) -> Tensor:
        loss = real(*args)
        return torch.tensor(wrong) if next(count) == 15 else loss

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_step", step)
        with pytest.raises(UserError) as caught:
            run("b")
    (folder,) = (tmp_path / "b" / "state").iterdir()
    assert f"b: the loss is {wrong:g} at step 14 with learning rate 0.0005" in str(caught.value)
    assert f"in the batch of a, b; the last good state is kept in {folder}" in str(caught.value)
    crash_at(monkeypatch, 13)  # 24 − 12 steps are left: one more would be one too many
    assert file_sha256(run("b").weights) == file_sha256(undisturbed.weights)


def test_weights_that_are_not_finite_are_never_saved(
    run: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A step's loss is taken before the step, so the last one's damage shows in no loss."""
    real, count = train_step, iter(range(1, 100))

    def step(replica: Replica, *args: Any) -> Tensor:
        loss = real(replica, *args)
        if next(count) == 12:  # at an epoch's end, where the state is saved
            with torch.no_grad():
                next(replica.model.parameters())[0, 0, 0, 0] = math.inf
        return loss

    monkeypatch.setattr(trainer, "train_step", step)
    with pytest.raises(UserError, match="weights are not finite at step 11 with"):
        run("a")
    (kept,) = (tmp_path / "a").glob("state/*/state.safetensors")
    tensors, metadata = load_tensors(kept)
    assert metadata["state"]["step"] == 6
    assert all(bool(t.isfinite().all()) for t in tensors.values())


def interrupted(run: Train, where: str, **changes: Any) -> None:
    """Stop a training after its first save."""
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, 9)
        with pytest.raises(ConnectionAbortedError):
            run(where, **changes)


def test_a_state_of_another_training_is_refused_with_what_differs(
    run: Train, tmp_path: Path
) -> None:
    interrupted(run, "a")
    interrupted(run, "b", skip="bicubic", train={**SETTINGS["train"], "learning_rate": 0.01})
    (ours,), (theirs,) = (tmp_path.glob(f"{x}/state/*/state.safetensors") for x in "ab")
    theirs.replace(ours)
    with pytest.raises(UserError) as caught:
        run("a")
    assert "is the state of another training, which differs in skip (none, there bicubic), " in str(
        caught.value
    )
    assert "train.learning_rate (0.001, there 0.01); delete" in str(caught.value)


def test_an_unfinished_training_with_other_settings_is_pointed_out(
    run: Train, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    interrupted(run, "a")
    (folder,) = (tmp_path / "a" / "state").iterdir()
    run("a", train={**SETTINGS["train"], "batch": 6})
    printed = capsys.readouterr().err
    assert f"an unfinished training is kept in {folder} (step 6); this one differs" in printed
    assert "in train.batch (6, there 4)" in printed
    run("a")  # the first one resumes unaffected
    assert "resuming after step 6 of 24" in capsys.readouterr().err


@pytest.mark.parametrize("format_", [2, None, "x"])
def test_a_state_of_another_version_is_refused(run: Train, tmp_path: Path, format_: object) -> None:
    interrupted(run, "a")
    (kept,) = (tmp_path / "a").glob("state/*/state.safetensors")
    tensors, metadata = load_tensors(kept)
    save_tensors(kept, tensors, {**metadata, "format": format_})
    with pytest.raises(UserError, match=f"state of format {format_}, this liif reads format 1"):
        run("a")


def test_a_damaged_state_is_refused(run: Train, tmp_path: Path) -> None:
    interrupted(run, "a")
    (kept,) = (tmp_path / "a").glob("state/*/state.safetensors")
    tensors, metadata = load_tensors(kept)
    for changed in (
        {**metadata, "state": {}},
        {**metadata, "state": {**metadata["state"], "more": 1}},
        {**metadata, "state": None},
    ):
        save_tensors(kept, tensors, changed)
        with pytest.raises(UserError, match=r"is damaged .*; delete .* to start over"):
            run("a")
    save_tensors(kept, dict(list(tensors.items())[1:]), metadata)
    with pytest.raises(UserError, match="is damaged"):
        run("a")
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        run("a")


def lock_of(tmp_path: Path) -> Path:
    """The lock of the training in a/state that was interrupted."""
    (folder,) = (tmp_path / "a" / "state").iterdir()
    return folder.with_name(f"{folder.name}.lock")


def test_two_trainings_of_one_model_are_refused(run: Train, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, 9)
        with pytest.raises(ConnectionAbortedError):
            run("a")
    with lock(lock_of(tmp_path), "it"), pytest.raises(UserError, match="running already"):
        run("a")
    assert run("a").weights.exists()


def test_a_training_that_another_finished_meanwhile_takes_no_step(
    run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("a")
    answers = iter([False, True])  # finished between the first look and the lock
    monkeypatch.setattr(Outputs, "exist", lambda _: next(answers))
    crash_at(monkeypatch, 1)
    assert run("a").weights.read_bytes() == first.weights.read_bytes()


def test_small_validation_photographs_are_refused_before_any_step(
    run: Train, folder: Folder, packs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(folder("tiny", t=(9, 60)), packs[1])
    crash_at(monkeypatch, 1)
    with pytest.raises(UserError, match=r"photograph t \(9×60\) is smaller"):
        run("a")


def test_small_photographs_are_refused_before_any_work(run: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"photograph a \(60×70\) is smaller"):
        run("a", train={**SETTINGS["train"], "patch": 40, "queries": 100})
    assert not (tmp_path / "a" / "m.safetensors").exists()


def test_long_trainings_without_a_gpu_are_announced(
    run: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crash_at(monkeypatch, 7)
    with pytest.raises(ConnectionAbortedError):
        run("a", train={**SETTINGS["train"], "epochs": 10**8})
    assert "without a GPU this training takes about" in capsys.readouterr().err


def command(base: Path, packs: tuple[Path, Path]) -> list[str]:
    longer = {**SETTINGS, "train": {**SETTINGS["train"], "epochs": 40}}
    return [
        *[sys.executable, "-m", "liif", "train", "--data", str(packs[0]), "--valid", str(packs[1])],
        *["--out", str(base / "m.safetensors"), "--settings", json.dumps(longer)],
        *["--threads", "1", "--device", "cpu", "--save-minutes", "0", "--no-track"],
    ]


def saved(base: Path) -> list[tuple[str, int]]:
    """Saved states, with their modification times."""
    return [(str(p), p.stat().st_mtime_ns) for p in base.glob("**/state.safetensors")]


@pytest.mark.slow
def test_a_job_whose_workflow_was_killed_is_asked_to_stop(
    packs: tuple[Path, Path], tmp_path: Path
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    long = [w.replace('"epochs": 40', '"epochs": 100000') for w in command(tmp_path / "b", packs)]
    environment = {**os.environ, "LIIF_WORKFLOW": f"{dead.pid}@{socket.gethostname()}"}
    orphan = subprocess.Popen(long, env=environment, stderr=subprocess.PIPE, text=True)
    while not saved(tmp_path / "b"):
        assert orphan.poll() is None
        time.sleep(0.01)
    heir = subprocess.Popen(long, stderr=subprocess.PIPE, text=True)
    _, printed = orphan.communicate(timeout=60)
    assert orphan.returncode == 128 + signal.SIGTERM
    assert "stopped and saved at step" in printed
    assert heir.stderr is not None
    lines = [heir.stderr.readline() for _ in range(4)]
    assert any("its workflow was killed" in line for line in lines)
    assert any("resuming after step" in line for line in lines)
    heir.terminate()
    heir.communicate()


@pytest.mark.parametrize(
    "workflow", [this_workflow(), "1@another-machine", ""], ids=["here", "elsewhere", "none"]
)
def test_a_job_of_a_living_workflow_is_left_alone(
    run: Train, tmp_path: Path, workflow: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, 9)
        with pytest.raises(ConnectionAbortedError):
            run("a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIIF_WORKFLOW", workflow)
        with lock(lock_of(tmp_path), "it"), pytest.raises(UserError, match="running already"):
            run("a")
