"""The published LIIF decoder, written plainly: every query by itself, unfolded features gathered.

Slow and with much memory, but near to the formulas of the paper's section 3; what is fast is
compared with it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from liif.model import LIIF


def make_coord(h: int, w: int) -> Tensor:
    """Pixel centres (h, w, 2) in [−1, 1], (row, col)."""
    axes = [-1 + 1 / n + (2 / n) * torch.arange(n).float() for n in (h, w)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def query_rgb(model: LIIF, lr: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    """RGB (b, q, 3) of normalised lr (b, 3, h, w) at coord, cell (b, q, 2); normalised too."""
    feat = model.encoder(lr)
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


def image_rgb(model: LIIF, lr: Tensor, size: tuple[int, int]) -> Tensor:
    """A whole picture (b, 3, H, W) in 0..1 but not clipped, from lr in 0..1."""
    b = len(lr)
    coord = make_coord(*size).view(1, -1, 2).expand(b, -1, 2)
    cell = torch.tensor([2 / size[0], 2 / size[1]]).expand(b, coord.shape[1], 2)
    rgb = query_rgb(model, (lr - 0.5) / 0.5, coord, cell)
    return (rgb * 0.5 + 0.5).view(b, *size, 3).permute(0, 3, 1, 2)
