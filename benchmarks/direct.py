"""Plain reference implementations, with which tests and benchmarks compare the fast ones.

The LIIF decoder as published gathers the unfolded features of each query four times and runs them
through the whole network. It is slow and needs much memory, but follows the formulas of the paper's
section 3.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from liif.data.patches import Batch
from liif.network.model import LIIF
from liif.recipe import Training

CHUNK = 30000
"""Queries per chunk in the published evaluation."""


def make_coord(h: int, w: int) -> Tensor:
    """Pixel centres (h, w, 2) in [−1, 1], (row, col)."""
    axes = [-1 + 1 / n + (2 / n) * torch.arange(n).float() for n in (h, w)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def decode(model: LIIF, feat: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    """Decode features (b, c, h, w) at coord, cell (b, q, 2) to normalised RGB (b, q, 3)."""
    b, c, h, w = feat.shape
    feat = F.unfold(feat, 3, padding=1).view(b, c * 9, h, w)
    feat_coord = make_coord(h, w).permute(2, 0, 1)[None].expand(b, 2, h, w)
    eps = 1e-6
    predictions, areas = [], []
    for v_row in (-1, 1):
        for v_col in (-1, 1):
            moved = coord.clone()
            moved[:, :, 0] += v_row / h + eps
            moved[:, :, 1] += v_col / w + eps
            moved.clamp_(-1 + 1e-6, 1 - 1e-6)
            grid = moved.flip(-1).unsqueeze(1)
            q_feat = F.grid_sample(feat, grid, mode="nearest", align_corners=False)[:, :, 0]
            q_coord = F.grid_sample(feat_coord, grid, mode="nearest", align_corners=False)[:, :, 0]
            relative = coord - q_coord.permute(0, 2, 1)
            relative = relative * torch.tensor([h, w])
            relative_cell = cell * torch.tensor([h, w])
            inputs = torch.cat([q_feat.permute(0, 2, 1), relative, relative_cell], dim=-1)
            predictions.append(model.imnet.layers(inputs))
            areas.append((relative[:, :, 0] * relative[:, :, 1]).abs() + 1e-9)
    total = torch.stack(areas).sum(dim=0)
    weights = [areas[3], areas[2], areas[1], areas[0]]
    rgb = sum(p * (a / total)[..., None] for p, a in zip(predictions, weights, strict=True))
    assert isinstance(rgb, Tensor)
    return rgb


def query_rgb(model: LIIF, lr: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    """Normalised RGB (b, q, 3) of normalised lr (b, 3, h, w) at coord, cell (b, q, 2)."""
    return decode(model, model.encoder(lr), coord, cell)


def image_rgb(model: LIIF, lr: Tensor, size: tuple[int, int]) -> Tensor:
    """Upscale lr (b, 3, h, w) in 0..1 to (b, 3, H, W), unclipped, in chunks of queries."""
    b = len(lr)
    coord = make_coord(*size).view(1, -1, 2).expand(b, -1, 2)
    cell = torch.tensor([2 / size[0], 2 / size[1]]).expand(b, coord.shape[1], 2)
    feat = model.encoder((lr - 0.5) / 0.5)
    parts = [
        decode(model, feat, coord[:, i : i + CHUNK], cell[:, i : i + CHUNK])
        for i in range(0, coord.shape[1], CHUNK)
    ]
    rgb = torch.cat(parts, dim=1)
    return (rgb * 0.5 + 0.5).view(b, *size, 3).permute(0, 3, 1, 2)


def train_step(model: LIIF, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """One step of the published training loop; returns its loss."""
    cells = batch.cells[:, None].expand(-1, batch.queries.shape[1], 2)
    rgb = query_rgb(model, (batch.lr - 0.5) / 0.5, batch.queries, cells)
    loss = F.l1_loss(rgb, (batch.rgb - 0.5) / 0.5)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def load_patch(path: Path, settings: Training, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Make an LR and an HR patch like most loaders: open the PNG, crop, resize with Pillow."""
    with Image.open(path) as image:
        scale = rng.uniform(*settings.scales)
        side = round(settings.patch * scale)
        left = int(rng.integers(image.width - side + 1))
        top = int(rng.integers(image.height - side + 1))
        hr = image.convert("RGB").crop((left, top, left + side, top + side))
    lr = hr.resize((settings.patch, settings.patch), Image.Resampling.BICUBIC)
    small, large = (
        torch.from_numpy(np.asarray(p).copy()).permute(2, 0, 1).float() / 255 for p in (lr, hr)
    )
    return small, large
