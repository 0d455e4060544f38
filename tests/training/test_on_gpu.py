"""What training does differently on a GPU; without one, as far as a CPU can show it."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import SETTINGS, Folder

from liif.data.pack import Pack, pack
from liif.data.patches import Batch, TrainingBatches
from liif.network.build import build
from liif.network.model import LIIF
from liif.recipe import Recipe
from liif.training import state, validation
from liif.training.step import train_step
from liif.training.trainer import OPTIMIZERS

RECIPE = Recipe.model_validate(SETTINGS)
CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture
def packed(folder: Folder, tmp_path: Path) -> Pack:
    return pack(folder("hr", a=(60, 70), b=(64, 64)), tmp_path / "hr.pack")


def model_on(device: str) -> LIIF:
    torch.manual_seed(0)
    return build(RECIPE.architecture).to(device)


def test_a_step_exchanges_no_values_with_its_device(
    packed: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On `meta` there are no values, and reading one raises."""
    model, batch = model_on("meta"), TrainingBatches(packed, RECIPE.train)[0]
    on_meta = Batch(*(tensor.to("meta") for tensor in batch))
    optimizer = torch.optim.Adam(model.parameters())
    # There is no autocast on `meta`, and copies to it cannot be told from those to a GPU.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    real = torch.tensor

    def tensor(*values: Any, **options: Any) -> torch.Tensor:
        assert torch.device(options.get("device") or CPU) == CPU  # it would wait for the device
        return real(*values, **options)

    monkeypatch.setattr(torch, "tensor", tensor)
    loss = train_step(model, optimizer, on_meta)
    assert loss.device.type == "meta"
    with pytest.raises(RuntimeError, match="meta"):
        float(loss)


def test_batches_for_a_gpu_are_pinned(packed: Pack) -> None:
    batches = TrainingBatches(packed, RECIPE.train)
    if not torch.accelerator.is_available():
        with pytest.warns(UserWarning, match="no accelerator is found"):  # but it was asked for
            batches.from_step(0, 0, pinned=True)
        return
    assert all(tensor.is_pinned() for tensor in next(batches.from_step(0, 0, pinned=True)))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("fused", [(False, True), (True, False)])
def test_a_state_resumes_with_a_fused_optimizer_and_without(
    packed: Pack, tmp_path: Path, name: str, fused: tuple[bool, bool]
) -> None:
    """The fused optimizers run on a CPU too, where trainings do not use them."""
    batches = TrainingBatches(packed, RECIPE.train)
    weights = []
    for second in fused:
        model = model_on("cpu")
        parameters = dict(model.named_parameters())
        first = OPTIMIZERS[name](parameters.values(), lr=1e-3, fused=fused[0])
        for step in range(3):
            train_step(model, first, batches[step])
        progress = state.State("key", step=3)
        state.save(tmp_path, progress, {}, parameters, first)
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.zero_()
        resumed = OPTIMIZERS[name](parameters.values(), lr=1e-3, fused=second)
        assert state.resume(tmp_path, "key", {}, parameters, resumed) == progress
        for step in range(3, 6):
            train_step(model, resumed, batches[step])
        weights.append(torch.cat([parameter.flatten() for parameter in parameters.values()]))
    torch.testing.assert_close(*weights, rtol=0, atol=1e-6)


def test_a_fused_optimizer_counts_on_the_device() -> None:
    parameters = dict(model_on("meta").named_parameters())
    for fused, device in ((True, "meta"), (None, "cpu")):
        optimizer = torch.optim.Adam(parameters.values(), fused=fused)
        state.tensors_of(parameters, optimizer, 3)
        assert {moments["step"].device.type for moments in optimizer.state.values()} == {device}


def test_patches_validated_together_have_the_same_psnr(
    packed: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_on("cpu")
    one_by_one = validation.validate(model, packed, RECIPE, CPU)
    monkeypatch.setattr(validation, "patches_at_once", len)
    together = validation.validate(model, packed, RECIPE, CPU)
    assert together == pytest.approx(one_by_one, abs=1e-5)
    monkeypatch.undo()
    counts = [validation.patches_at_once(torch.empty(4, device=name)) for name in ("cpu", "meta")]
    assert counts == [1, 4]


@needs_gpu
def test_a_gpu_trains_without_waiting(packed: Pack) -> None:
    """Never run so far: no GPU was at hand."""
    model = model_on("cuda")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    batches = TrainingBatches(packed, RECIPE.train).from_step(0, 0, pinned=True)
    train_step(model, optimizer, next(batches).to(model.device))  # libraries initialise
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = [train_step(model, optimizer, next(batches).to(model.device)) for _ in range(3)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.stack(losses).isfinite().all()


@needs_gpu
def test_a_gpu_validates_as_a_cpu_does(packed: Pack) -> None:
    """Never run so far: no GPU was at hand."""
    psnrs = [
        validation.validate(model_on(name), packed, RECIPE, torch.device(name))
        for name in ("cpu", "cuda")
    ]
    assert psnrs[0] == pytest.approx(psnrs[1], abs=1e-3)
