"""bfloat16: how close it comes to float32, in pictures and in training."""

from copy import deepcopy

import direct
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import liif
from liif import imresize
from liif.data.download import PHOTOGRAPHS
from liif.data.patches import Batch
from liif.images.metrics import psnr_of_error
from liif.network import products
from liif.network.decoder import Decoder
from liif.network.model import LIIF
from liif.network.precision import Used
from liif.training.step import train_step

SLOW = ("brushes", "dogs", "dragonfly", "nuthatch", "stream")
"""Photographs for the slow tests."""
FLOAT32: Used = "float32"
BF16: Used = "bf16"


@pytest.fixture(scope="module")
def released() -> LIIF:
    return liif.load()


def test_numbers_compare_as_their_bits_do() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 64, generator=generator).bfloat16()
    x[0] = 0.0
    x[1] = -0.0
    floor = torch.randn(64, generator=generator).abs().bfloat16()
    floor[:8] = 0.0
    assert (products.at_least(x, floor) == torch.maximum(x, floor)).all()


def test_the_mean_of_the_last_layers_copies_is_nearly_exact() -> None:
    torch.manual_seed(0)
    linears = Decoder(hidden=(64, 64)).linears[1:]
    x = torch.randn(4000, 64).relu()
    with torch.inference_mode():
        tail = products.Tail(linears, torch.bfloat16, rows=len(x))
        end = products.Tail(linears[-1:], torch.bfloat16, rows=len(x))
        rounded = x.bfloat16()
        exact = linears[-1](rounded.float())
        error = (end.rgb(end(rounded)) - exact).abs()
        once = (linears[-1](rounded.float()).bfloat16().float() - exact).abs()
        assert tail.rgb(tail(rounded)).dtype == torch.float32
    assert error.mean() < 0.5 * once.mean()


@pytest.mark.parametrize(
    "name", ["clock", *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)]
)
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_picture_stays_within_two_levels_and_its_psnr(
    released: LIIF, name: str, scale: int
) -> None:
    with Image.open(PHOTOGRAPHS / f"test/{name}.webp") as image:
        truth = np.asarray(image.convert("RGB"))[240:560, 240:560]
    lr = imresize(truth, 1 / scale)
    unit = lr / np.float32(255)
    exact, low = (
        released.upscale(unit, size=(320, 320), precision=precision, back_projection=False)
        for precision in (FLOAT32, BF16)
    )
    levels = np.abs(low - exact) * 255
    assert 0 < levels.max() <= 2
    assert (levels <= 1).mean() >= 0.999
    before, after = (psnr_of_error(float(np.mean((x - truth / 255) ** 2))) for x in (exact, low))
    assert before > 45 or abs(after - before) <= 0.005


@pytest.mark.parametrize("size", [(1, 1), (40, 30), (12, 700), (9, 2000), (700, 9)])
@pytest.mark.parametrize("fused", [True, False])
def test_any_shape_is_decoded_in_bf16(
    small: LIIF, size: tuple[int, int], fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:
        monkeypatch.setattr(products, "is_fused", lambda *_: False)
    lr = np.random.default_rng(0).random((1 + size[0] // 9, 1 + size[1] // 9, 3), np.float32)
    size = max(size[0], lr.shape[0]), max(size[1], lr.shape[1])
    exact = small.upscale(lr, size=size, precision="float32", back_projection=False)
    low = small.upscale(lr, size=size, precision="bf16", back_projection=False)
    assert 0 < np.abs(low - exact).max() < 0.01


def test_tiles_and_self_ensemble_are_close_in_bf16(small: LIIF) -> None:
    lr = np.random.default_rng(0).random((40, 40, 3), np.float32)
    for options in ({"max_memory": 1}, {"self_ensemble": True}):
        exact = small.upscale(lr, scale=4, precision="float32", **options, back_projection=False)
        low = small.upscale(lr, scale=4, precision="bf16", **options, back_projection=False)
        assert 0 < np.abs(low - exact).max() < 0.01


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    queries = torch.rand(3, 200, 2, generator=generator) * 2 - 1
    rgb = torch.rand(3, 200, 3, generator=generator)
    return Batch(
        torch.rand(3, 3, 12, 12, generator=generator), queries, torch.full((3, 2), 0.1), rgb
    )


def gradients(model: LIIF, precision: str) -> list[Tensor]:
    """Of one step that changes nothing."""
    model = deepcopy(model).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    train_step(model, optimizer, batch(), "l2", precision)  # type: ignore[arg-type]
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("fused", [True, False])
def test_gradients_in_bf16_point_where_those_of_float32_do(
    small: LIIF, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = gradients(small, "float32")
    monkeypatch.setattr("liif.network.decoder.is_fused", lambda *_: fused)
    low = gradients(small, "bf16")
    assert len(low) == len(exact)
    for a, b in zip(low, exact, strict=True):
        assert a.dtype == torch.float32
        assert torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.995
        assert 0 < (a - b).norm() < 0.1 * b.norm()


def test_what_residuals_are_added_to_is_not_rounded(small: LIIF) -> None:
    """Were it rounded, features would be numbers of bfloat16."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = small.encode(torch.rand(1, 3, 9, 9)).features
    assert features.dtype == torch.float32
    assert (features.bfloat16().float() != features).float().mean() > 0.9


def test_float32_is_the_published_form_still(released: LIIF) -> None:
    lr = torch.rand(1, 3, 24, 20, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = direct.image_rgb(released, lr, (192, 160)).clamp(0, 1)[0].permute(1, 2, 0)
    ours = released.upscale(
        lr[0].permute(1, 2, 0).numpy(), scale=8, precision="float32", back_projection=False
    )
    np.testing.assert_allclose(ours, expected.numpy(), atol=2e-6)
