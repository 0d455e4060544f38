from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import Folder

from liif import imresize
from liif.data.pack import Pack, pack
from liif.data.patches import (
    Patch,
    TrainingBatches,
    collate,
    training_patch,
    validation_batches,
)
from liif.images.degradations import blur, compress
from liif.images.pixels import RGB8
from liif.images.png import write_png
from liif.recipe import Training
from liif.system.errors import UserError

Make = Callable[..., Training]


@pytest.fixture
def packed(folder: Folder, tmp_path: Path) -> Pack:
    return pack(folder("hr", a=(60, 70), b=(64, 64), c=(50, 90)), tmp_path / "hr.pack")


DEGRADE = {
    "blur": {"range": [0.2, 1]},
    "noise": {"range": [1, 20], "probability": 0.7},
    "jpeg": {"range": [30, 90], "probability": 0.5},
}


def settings(**changes: object) -> Training:
    base = {"patch": 12, "scales": [1, 4], "queries": 100, "batch": 4, "visits": 3, "epochs": 5}
    return Training.model_validate({**base, "validation_patches": 6, **changes})


def test_shapes_and_ranges(packed: Pack) -> None:
    batch = TrainingBatches(packed, settings())[0]
    assert batch.lr.shape == (4, 3, 12, 12)
    assert batch.queries.shape == (4, 100, 2)
    assert batch.rgb.shape == (4, 100, 3)
    assert batch.queries.abs().max() < 1
    assert batch.lr.min() >= 0
    assert batch.rgb.max() <= 1
    sides = 2 / batch.cells
    assert torch.allclose(sides, sides.round(), atol=1e-4)
    assert sides.min() >= 12
    assert sides.max() <= 48


def test_rgb_is_hr_at_the_queries(packed: Pack) -> None:
    patch = training_patch(packed, settings(), 0, 0)
    batch = collate([patch])
    side = patch.hr.shape[0]
    pixel = ((batch.queries[0] + 1) / 2 * side - 0.5).round().long()
    expected = torch.from_numpy(patch.hr.copy())[pixel[:, 0], pixel[:, 1]].float() / 255
    torch.testing.assert_close(batch.rgb[0], expected)
    assert len(set(patch.chosen.tolist())) == 100  # without replacement


def test_lr_is_matlabs_imresize_of_hr(packed: Pack) -> None:
    plain = settings(augment=False)
    for i in range(6):
        patch = training_patch(packed, plain, 2, i)
        np.testing.assert_array_equal(patch.lr, imresize(patch.hr, (12, 12)))


def turns(x: RGB8) -> list[RGB8]:
    """The picture in all eight flips and rotations, itself first."""
    flipped = [x, x[::-1], x[:, ::-1], x[::-1, ::-1]]
    return [*flipped, *(f.transpose(1, 0, 2) for f in flipped)]


def test_augmentation_turns_both_alike(packed: Pack) -> None:
    turned = 0
    for i in range(30):
        patch = training_patch(packed, settings(), 0, i)
        plain = training_patch(packed, settings(augment=False), 0, i)
        matches = [
            np.array_equal(patch.lr, lr) and np.array_equal(patch.hr, hr)
            for lr, hr in zip(turns(plain.lr), turns(plain.hr), strict=True)
        ]
        assert sum(matches) == 1
        turned += not matches[0]
    assert turned > 20


def test_every_photograph_is_visited_equally_often(packed: Pack) -> None:
    plain = settings(visits=4, augment=False)
    batches = TrainingBatches(packed, plain)
    assert batches.steps_per_epoch == 3
    assert len(batches) == 15
    for epoch in (0, 1):
        seen = [training_patch(packed, plain, epoch, i).hr for i in range(12)]
        homes = [[_contains(packed.photograph(k), hr) for k in range(3)].index(True) for hr in seen]
        assert sorted(homes) == [0] * 4 + [1] * 4 + [2] * 4


def _contains(photograph: np.ndarray, hr: np.ndarray) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(photograph, hr.shape)
    return bool((windows == hr).all(axis=(-1, -2, -3)).any())


def test_a_patch_is_a_function_of_seed_epoch_and_number(packed: Pack) -> None:
    a = training_patch(packed, settings(), 3, 7)
    training_patch(packed, settings(), 1, 2)
    b = training_patch(packed, settings(), 3, 7)
    np.testing.assert_array_equal(a.lr, b.lr)
    np.testing.assert_array_equal(a.chosen, b.chosen)
    for epoch, i, seed in ((4, 7, 0), (3, 8, 0), (3, 7, 1)):
        c = training_patch(packed, settings(seed=seed), epoch, i)
        assert not np.array_equal(a.lr, c.lr)


@pytest.mark.parametrize(
    ("workers", "degrade"), [(0, None), (2, None), (0, DEGRADE), (1, DEGRADE), (2, DEGRADE)]
)
def test_any_number_of_workers_makes_the_same_batches(
    packed: Pack, workers: int, degrade: object
) -> None:
    batches = TrainingBatches(packed, settings(degrade=degrade))
    resumed = batches.from_step(4, workers)
    for step in range(4, 9):
        for ours, expected in zip(next(resumed), batches[step], strict=True):
            assert torch.equal(ours, expected)


def test_validation_is_the_same_every_time(packed: Pack) -> None:
    first = list(validation_batches(packed, settings()))
    again = list(validation_batches(packed, settings()))
    assert [len(b.lr) for _, b in first] == [4, 2]
    assert all(torch.equal(a.rgb, b.rgb) for (_, a), (_, b) in zip(first, again, strict=True))


@pytest.mark.parametrize(("size", "degrade"), [(2, None), (3, None), (2, DEGRADE)])
def test_shares_of_processes_make_up_the_batch(packed: Pack, size: int, degrade: object) -> None:
    chosen = settings(degrade=degrade)
    whole = TrainingBatches(packed, chosen)
    shares = [TrainingBatches(packed, chosen, (rank, size)) for rank in range(size)]
    for step in (0, 4):
        parts = [share[step] for share in shares]
        for field, expected in enumerate(whole[step]):
            joined = torch.empty_like(expected)
            for rank, part in enumerate(parts):
                joined[rank::size] = part[field]
            assert torch.equal(joined, expected)
    numbers = [list(validation_batches(packed, chosen, (rank, size))) for rank in range(size)]
    found = {n: b.rgb[i] for share in numbers for some, b in share for i, n in enumerate(some)}
    together = torch.cat([b.rgb for _, b in validation_batches(packed, chosen)])
    assert torch.equal(torch.stack([found[n] for n in range(6)]), together)


def test_photographs_smaller_than_a_patch_are_named(packed: Pack) -> None:
    with pytest.raises(UserError, match=r"photograph c \(50×90\) .*patch × scale"):
        TrainingBatches(packed, settings(scales=[1, 5]))


# --- degradations ----------------------------------------------------------------------------


def test_a_degraded_patch_is_a_function_of_seed_epoch_and_number(packed: Pack) -> None:
    degraded = settings(degrade=DEGRADE)
    a = training_patch(packed, degraded, 3, 7)
    training_patch(packed, degraded, 1, 2)
    np.testing.assert_array_equal(a.lr, training_patch(packed, degraded, 3, 7).lr)
    for epoch, i, seed in ((4, 7, 0), (3, 8, 0), (3, 7, 1)):
        c = training_patch(packed, settings(degrade=DEGRADE, seed=seed), epoch, i)
        assert not np.array_equal(a.lr, c.lr)


def test_degradations_change_lr_alone(packed: Pack) -> None:
    changed = 0
    for i in range(20):
        clean = training_patch(packed, settings(), 0, i)
        degraded = training_patch(packed, settings(degrade=DEGRADE), 0, i)
        np.testing.assert_array_equal(degraded.hr, clean.hr)
        np.testing.assert_array_equal(degraded.chosen, clean.chosen)
        changed += not np.array_equal(degraded.lr, clean.lr)
    assert changed == 20
    ((_, first), _) = validation_batches(packed, settings(degrade=DEGRADE))
    ((_, clean_first), _) = validation_batches(packed, settings())
    assert torch.equal(first.rgb, clean_first.rgb)
    assert not torch.equal(first.lr, clean_first.lr)


def test_blur_comes_before_shrinking_and_jpeg_after_it_and_after_augmentation(
    packed: Pack,
) -> None:
    def patch(i: int, **degrade: float) -> Patch:
        fixed = {kind: {"range": [value, value]} for kind, value in degrade.items()}
        return training_patch(packed, settings(degrade=fixed, augment="blur" not in degrade), 0, i)

    for i in range(6):
        scale = np.random.default_rng([0, 0, 0, i]).uniform(1, 4)
        blurred = patch(i, blur=0.5)
        expected = imresize(blur(blurred.hr, 0.5 * scale), (12, 12))
        np.testing.assert_array_equal(blurred.lr, expected)
        clean, compressed = patch(i), patch(i, jpeg=40)
        np.testing.assert_array_equal(compressed.lr, compress(clean.lr, 40))
        noisy, both = patch(i, noise=9), patch(i, noise=9, jpeg=40)
        np.testing.assert_array_equal(both.lr, compress(noisy.lr, 40))


def test_a_share_of_the_patches_is_degraded(packed: Pack) -> None:
    rare = settings(degrade={"noise": {"range": [5, 5], "probability": 0.2}})
    pairs = [
        (training_patch(packed, rare, 0, i).lr, training_patch(packed, settings(), 0, i).lr)
        for i in range(200)
    ]
    assert 0.1 < np.mean([not np.array_equal(a, b) for a, b in pairs]) < 0.3


def test_patches_without_degradations_are_those_of_before(folder: Folder, tmp_path: Path) -> None:
    """The hash was computed by the last version without `degrade`."""
    source = folder("noise")
    for i, size in enumerate(((60, 70), (64, 64), (50, 90))):
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        write_png(source / f"{i}.png", pixels)
    packed = pack(source, tmp_path / "noise.pack")
    digest = sha256()
    for i in range(12):
        patch = training_patch(packed, settings(), 1, i)
        for values in (patch.lr, patch.hr, patch.chosen.astype("<i8")):
            digest.update(np.ascontiguousarray(values).tobytes())
    for _, batch in validation_batches(packed, settings()):
        digest.update((batch.lr * 255).round().to(torch.uint8).numpy().tobytes())
    assert digest.hexdigest() == "98d589ce2d99c2a471d6d69c67a41914dcb4ecac093e70954190b7b26cc7fbf8"
