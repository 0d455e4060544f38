"""The decoding function of LIIF, for single queries and for whole pictures.

The first layer acts on unfolded features, that is on 3×3 neighbourhoods: its feature part *is* a
3×3 convolution of the encoder's output, computed once per LR pixel. A query only gathers its result
and adds a term of its row and one of its column.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from liif.network import coords
from liif.network.coords import Neighbours
from liif.network.tiling import FeatureRows

_TILE_CPU, _TILE_GPU = 800, 65536
"""Queries decoded at once: as many as fit into a CPU's cache, or keep a GPU busy."""
_GRID_BYTES = 16 << 20
"""Memory for the first layer's results that are held at a time."""
_FEW_ROWS = 4
"""Tiles of up to so many rows are filled row by row, each in one pass over memory."""


class Decoder(nn.Module):
    """The decoding function f: (unfolded feature, relative coordinate, cell) → RGB."""

    def __init__(self, channels: int = 64, hidden: tuple[int, ...] = (256, 256, 256, 256)) -> None:
        super().__init__()
        self.channels = channels
        widths = [9 * channels + 4, *hidden, 3]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def grid(
        self, features: Float[Tensor, "b c h w"], padding: tuple[int, int] = (1, 1)
    ) -> Float[Tensor, "b r w d"]:
        """The first layer's response to the unfolded features, padded by so many zeros."""
        weight = self.linears[0].weight[:, : 9 * self.channels]
        kernel = weight.reshape(-1, self.channels, 3, 3)
        return F.conv2d(features, kernel, padding=padding).permute(0, 2, 3, 1).contiguous()

    def geometry(
        self, relative: Float[Tensor, "*q 2"], cells: Float[Tensor, "*#q 2"]
    ) -> Float[Tensor, "*q d"]:
        """The first layer's response to the relative coordinate and cell, with its bias."""
        weight, bias = self.linears[0].weight[:, 9 * self.channels :], self.linears[0].bias
        return F.linear(relative, weight[:, :2]) + F.linear(cells, weight[:, 2:], bias)

    def rest(self, first: Float[Tensor, "n d"]) -> Float[Tensor, "n 3"]:
        """Everything after the first linear layer; overwrites its argument."""
        x = first
        for linear in self.linears[1:]:
            x = affine(x.relu_(), linear)
        return x

    def bands(
        self, features: FeatureRows, size: tuple[int, int]
    ) -> Iterator[tuple[slice, Float[Tensor, "3 r W"]]]:
        """A whole picture of that size (rows, cols), band by band of rows; for inference.

        Only some rows of the grid are held at a time. Yields (output rows, normalised RGB).
        """
        device = features.device
        (height, width), (h, w) = size, features.size
        rows = coords.neighbours(coords.centres(height, device), h)
        cols = coords.neighbours(coords.centres(width, device), w)
        row_term, col_term = self._separate_geometry(rows, cols, (h / height, w / width))
        lr_rows = max(4, _GRID_BYTES // (4 * w * row_term.shape[-1]))
        band = max(1, int(lr_rows * height / h))
        tile_cols, tile_rows = _tile(width, _TILE_CPU if device.type == "cpu" else _TILE_GPU)
        for top in range(0, height, band):
            r = slice(top, min(top + band, height))
            first, last = int(rows.pixel[:, r].min()), int(rows.pixel[:, r].max())
            grid = self._grid_rows(features, first, last + 1)
            out = torch.empty(3, r.stop - r.start, width, device=device)
            for left in range(0, width, tile_cols):
                c = slice(left, min(left + tile_cols, width))
                columns = _Columns(grid, cols.pixel[:, c], col_term[:, c])
                for y in range(r.start, r.stop, tile_rows):
                    t = slice(y, min(y + tile_rows, r.stop))
                    x = columns.first_layer(rows.pixel[:, t] - first, row_term[:, t])
                    rgb = self.rest(x.view(-1, x.shape[-1])).view(*x.shape[:-1], 3)
                    weight = ensemble(
                        rows.relative[:, None, t, None], cols.relative[None, :, None, c]
                    )
                    blended = (rgb * weight[..., None]).sum(dim=(0, 1))
                    out[:, y - r.start : t.stop - r.start, c] = blended.permute(2, 0, 1)
            yield r, out

    def _grid_rows(self, features: FeatureRows, first: int, stop: int) -> Float[Tensor, "r w d"]:
        """Rows first … stop − 1 of the grid."""
        h = features.size[0]
        part = features.rows(max(0, first - 1), min(h, stop + 1))
        missing = (1 if first == 0 else 0, 1 if stop == h else 0)
        if any(missing):
            part = F.pad(part, (0, 0, *missing))
        return self.grid(part, padding=(0, 1))[0]

    def _separate_geometry(
        self, rows: Neighbours, cols: Neighbours, cell: tuple[float, float]
    ) -> tuple[Float[Tensor, "2 H d"], Float[Tensor, "2 W d"]]:
        """The first layer's geometry as a row term plus a column term."""
        device = rows.relative.device
        weight = self.linears[0].weight[:, 9 * self.channels :]
        # A pixel's height and width, 2/H and 2/W, in units of LR pixels.
        cells = torch.tensor([[2 * cell[0], 2 * cell[1]]], device=device)
        row_term = rows.relative[..., None] * weight[:, 0]
        col_term = cols.relative[..., None] * weight[:, 1]
        return row_term, col_term + self.geometry(torch.zeros(1, 2, device=device), cells)


class _Columns:
    """Some columns of a band: the grid's rows gathered for them, plus their geometric term."""

    def __init__(self, grid: Tensor, pixel: Tensor, term: Tensor) -> None:
        self._grid, self._pixel, self._term = grid, pixel, term
        self._gathered: dict[int, Tensor] = {}

    def first_layer(self, pixel: Tensor, term: Tensor) -> Float[Tensor, "2 2 r c d"]:
        """For rows with these neighbours (2, r) and this term (2, r, d)."""
        if pixel.shape[1] > _FEW_ROWS:
            x = self._grid[pixel[:, None, :, None], self._pixel[None, :, None]]
            x += self._term[None, :, None]
            x += term[:, None, :, None]
            return x
        x = term.new_empty(2, 2, term.shape[1], *self._term.shape[1:])
        neighbours = pixel.tolist()
        # Consecutive output rows share rows of the grid.
        needed = {n for before_after in neighbours for n in before_after}
        held = self._gathered
        self._gathered = {n: held[n] if n in held else self._gather(n) for n in needed}
        for side, row in enumerate(neighbours):
            for i, n in enumerate(row):
                torch.add(self._gathered[n], term[side, i], out=x[side, :, i])
        return x

    def _gather(self, row: int) -> Float[Tensor, "2 c d"]:
        return self._grid[row][self._pixel] + self._term


def affine(x: Float[Tensor, "n d"], linear: nn.Linear) -> Float[Tensor, "n k"]:
    """The linear layer; on a CPU as oneDNN's 1×1 convolution.

    Torch's matrix product on a CPU is MKL's, which is slow on non-Intel processors: the convolution
    reached 2.2 times its rate on an AMD EPYC with AVX-512, and the same rate elsewhere.
    """
    if x.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return F.linear(x, linear.weight, linear.bias)
    pixels = x.view(1, 1, *x.shape).permute(0, 3, 1, 2)  # (1, d, 1, n), channels last
    y = F.conv2d(pixels, linear.weight[:, :, None, None], linear.bias)
    return y.permute(0, 2, 3, 1).reshape(x.shape[0], -1)


def ensemble(rows: Tensor, cols: Tensor) -> Tensor:
    """Weights of the four predictions (2, 2, …): the area of the diagonally opposite one."""
    area = (rows * cols).abs() + 1e-9
    weight: Tensor = area.flip(0, 1) / area.sum(dim=(0, 1))
    return weight


def _tile(width: int, queries: int) -> tuple[int, int]:
    """Columns and rows of tiles of at most that many queries, as wide as possible."""
    n = -(-width // min(width, queries))
    cols = -(-width // n)
    return cols, max(1, queries // cols)
