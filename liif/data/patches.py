"""Training samples: photographs → batches of (LR patch, coordinates, cells, RGB).

There is no hidden state: patch i of epoch e is a function of (seed, e, i) alone, so that any
number of workers makes the same batches and a resumed training continues with the very next one.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from liif.data.pack import Pack
from liif.images.degradations import add_noise, blur, compress
from liif.images.imresize import imresize
from liif.images.pixels import RGB8
from liif.network import coords
from liif.recipe import Blur, Degrade, Jpeg, Noise, Training
from liif.system.signals import STOP_SIGNALS

LARGEST = "the largest HR patch, patch × scale"
"""Description of the smallest allowed photograph, for messages."""
_TRAIN, _VALID, _ORDER, _DEGRADE = 0, 1, 2, 3
"""Separate streams of random numbers."""
_NONE = Degrade()


class Batch(NamedTuple):
    """LR patches, queries and their targets."""

    lr: Float[Tensor, "b 3 p p"]
    """RGB in 0..1."""
    queries: Float[Tensor, "b q 2"]
    """Coordinates (row, column) of the sampled HR pixels."""
    cells: Float[Tensor, "b 2"]
    """Height and width of an HR pixel."""
    rgb: Float[Tensor, "b q 3"]
    """HR at the queries, RGB in 0..1."""

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; from pinned memory the host does not wait for the copy."""
        return Batch(*(t.to(device, non_blocking=True) for t in self))


class Patch(NamedTuple):
    """An LR patch with its HR patch."""

    lr: RGB8
    hr: RGB8
    chosen: np.ndarray
    """Flat indices of the sampled HR pixels."""


def _drawn(settings: Blur | Noise | Jpeg | None, rng: np.random.Generator) -> float | None:
    """The strength of a degradation for one patch, if it is degraded."""
    if settings is None or rng.random() >= settings.probability:
        return None
    return rng.uniform(*settings.range)


def cut(photograph: RGB8, settings: Training, stream: Sequence[int], *, augment: bool) -> Patch:
    """Cut an HR patch at a random scale and position, and downscale it by MATLAB's rule.

    Blur comes before downscaling; noise and JPEG come after it and after augmentation. They have a
    stream of random numbers of their own, so that they change nothing else.
    """
    rng, degrade = np.random.default_rng(stream), settings.degrade or _NONE
    own = np.random.default_rng([*stream, _DEGRADE])
    scale = rng.uniform(*settings.scales)
    side = round(settings.patch * scale)
    row = rng.integers(photograph.shape[0] - side + 1)
    col = rng.integers(photograph.shape[1] - side + 1)
    hr = np.ascontiguousarray(photograph[row : row + side, col : col + side])
    # Before augmentation: imresize resizes rows first, and the order shows in its rounding.
    sigma = _drawn(degrade.blur, own)
    lr = imresize(hr if sigma is None else blur(hr, sigma * scale), (settings.patch,) * 2)
    if augment:
        flip_rows, flip_cols, transpose = rng.integers(2, size=3)
        flip = np.s_[:: 1 - 2 * flip_rows, :: 1 - 2 * flip_cols]
        axes = (1, 0, 2) if transpose else (0, 1, 2)
        lr, hr = lr[flip].transpose(axes), hr[flip].transpose(axes)
    if (sigma := _drawn(degrade.noise, own)) is not None:
        lr = add_noise(lr, sigma, own)
    if (quality := _drawn(degrade.jpeg, own)) is not None:
        lr = compress(lr, round(quality))
    return Patch(lr, hr, rng.choice(side * side, settings.queries, replace=False))


@lru_cache(maxsize=64)
def _order(seed: int, epoch: int, visit: int, n: int) -> np.ndarray:
    """The order of n photographs in a visit of an epoch."""
    return np.random.default_rng([seed, _ORDER, epoch, visit]).permutation(n)


def _source(photographs: Pack, settings: Training, epoch: int, i: int) -> int:
    """Index of the photograph from which patch i of an epoch is cut."""
    n = len(photographs)
    return int(_order(settings.seed, epoch, i // n, n)[i % n])


def training_patch(photographs: Pack, settings: Training, epoch: int, i: int) -> Patch:
    """Patch i of an epoch."""
    source = _source(photographs, settings, epoch, i)
    stream = [settings.seed, _TRAIN, epoch, i]
    return cut(photographs.photograph(source), settings, stream, augment=settings.augment)


def validation_patch(photographs: Pack, settings: Training, i: int) -> Patch:
    """Validation patch i: the same at every epoch, without augmentation."""
    stream = [settings.seed, _VALID, i]
    return cut(photographs.photograph(i % len(photographs)), settings, stream, augment=False)


def collate(patches: list[Patch]) -> Batch:
    """Patches of one LR size → a batch."""
    lr = np.stack([p.lr for p in patches]).transpose(0, 3, 1, 2)
    # Not by a flat index, for which a flipped or transposed patch would be copied.
    rgb = np.stack([p.hr[np.divmod(p.chosen, p.hr.shape[0])] for p in patches])
    queries, cells = [], []
    for patch in patches:
        side = patch.hr.shape[0]
        centres = coords.centres(side)
        chosen = torch.from_numpy(patch.chosen)
        queries.append(torch.stack([centres[chosen // side], centres[chosen % side]], dim=-1))
        cells.append(coords.cell((side, side)))
    lr_unit, rgb_unit = (
        torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255 for pixels in (lr, rgb)
    )
    return Batch(lr_unit, torch.stack(queries), torch.stack(cells), rgb_unit)


class TrainingBatches(Dataset[Batch]):
    """Batch number s of a whole training, counted over all epochs.

    `share` is this rank and the number of ranks: of each batch every `share[1]`-th patch from
    `share[0]` on is made.
    """

    def __init__(
        self, photographs: Pack, settings: Training, share: tuple[int, int] = (0, 1)
    ) -> None:
        photographs.require(settings.largest_side, LARGEST)
        self.photographs, self.settings, self.share = photographs, settings, share
        self.steps_per_epoch = settings.steps_per_epoch(len(photographs))

    def __len__(self) -> int:
        return self.settings.epochs * self.steps_per_epoch

    def __getitem__(self, step: int) -> Batch:
        epoch, patches = self._patches(step)
        mine = patches[self.share[0] :: self.share[1]]
        return collate([training_patch(self.photographs, self.settings, epoch, i) for i in mine])

    def names(self, step: int) -> list[str]:
        """The photographs from which a step's patches are cut, each once."""
        epoch, patches = self._patches(step)
        sources = {_source(self.photographs, self.settings, epoch, i) for i in patches}
        return [self.photographs.entries[source].name for source in sorted(sources)]

    def _patches(self, step: int) -> tuple[int, range]:
        """A step's epoch, and its patches within it."""
        epoch, within = divmod(step, self.steps_per_epoch)
        first = within * self.settings.batch
        return epoch, range(first, first + self.settings.batch)

    def from_step(self, start: int, workers: int, *, pinned: bool = False) -> LoadedBatches:
        """All batches from a step on, made ahead by data-loader workers if there are any.

        Pinned memory is copied to a GPU while the GPU and the host go on with other work.
        """
        loader: DataLoader[Batch] = DataLoader(
            self,
            batch_size=None,
            sampler=range(start, len(self)),
            num_workers=workers,
            worker_init_fn=_start_worker if workers else None,
            prefetch_factor=4 if workers else None,
            pin_memory=pinned,
        )
        return LoadedBatches(loader)


class LoadedBatches(Iterator[Batch]):
    """Batches of a data loader, whose workers end when this is closed.

    Workers ignore signals, so a process that did not end them would wait for them at its exit.
    """

    def __init__(self, loader: DataLoader[Batch]) -> None:
        self._batches: Iterator[Batch] = iter(loader)

    def __next__(self) -> Batch:
        return next(self._batches)

    def close(self) -> None:
        """End the workers; there is no next batch."""
        del self._batches


def _start_worker(_: int) -> None:
    """Ignore stop signals: the training saves first and then ends its workers."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)


def validation_batches(
    photographs: Pack, settings: Training, share: tuple[int, int] = (0, 1)
) -> Iterator[tuple[range, Batch]]:
    """The fixed validation patches with their numbers, in batches; the last may be smaller.

    With a share, every `share[1]`-th of these batches from `share[0]` on.
    """
    photographs.require(settings.largest_side, LARGEST)
    batches = range(0, settings.validation_patches, settings.batch)
    for first in batches[share[0] :: share[1]]:
        numbers = range(first, min(first + settings.batch, settings.validation_patches))
        yield numbers, collate([validation_patch(photographs, settings, i) for i in numbers])
