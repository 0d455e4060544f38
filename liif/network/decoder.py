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

from liif.network import coords, products
from liif.network.coords import Neighbours
from liif.network.device import free_memory
from liif.network.products import Tail, at_least, is_fused
from liif.network.tiling import FeatureRows

_TILE_CPU, _TILE_GPU = 800, 1 << 18
"""Queries decoded at once: as many as fit into a CPU's cache, or keep a GPU busy."""
_GRID_BYTES = 16 << 20
"""Memory for the first layer's results that are held at a time."""
_FEW_ROWS = 4
"""Rows of a tile up to which it is filled row by row, each in one pass over memory."""
_SHIFTED_ROWS = 16
"""Rows that are blended at once in bfloat16, of which each is decoded alone."""
_CPU_ROWS = 16
"""Rows that are yielded at once on a CPU, so that a picture appears while it is computed."""


class Decoder(nn.Module):
    """The decoding function f: (unfolded feature, relative coordinate, cell) → normalised RGB.

    Parameters
    ----------
    channels
        Number of the encoder's feature channels.
    hidden
        Widths of the hidden layers.
    """

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
        """The first layer's response to the unfolded features; `padding` zeros surround them."""
        weight = self.linears[0].weight[:, : 9 * self.channels]
        kernel = weight.reshape(-1, self.channels, 3, 3)
        grid = F.conv2d(features, kernel, padding=padding).float()
        return grid.permute(0, 2, 3, 1).contiguous()

    def geometry(
        self, relative: Float[Tensor, "*q 2"], cells: Float[Tensor, "*#q 2"]
    ) -> Float[Tensor, "*q d"]:
        """The first layer's response to the relative coordinate and cell, including the bias."""
        weight, bias = self.linears[0].weight[:, 9 * self.channels :], self.linears[0].bias
        with torch.autocast(relative.device.type, enabled=False):  # coordinates are not rounded
            return F.linear(relative, weight[:, :2]) + F.linear(cells, weight[:, 2:], bias)

    def rest(self, first: Float[Tensor, "n d"]) -> Float[Tensor, "n 3"]:
        """The layers after the first: its response → normalised RGB; overwrites the argument."""
        kind = first.device.type
        dtype = torch.bfloat16 if torch.is_autocast_enabled(kind) else first.dtype
        if is_fused(first.device, dtype):
            with torch.autocast(kind, enabled=False):
                return products.rest(first, self.linears[1:], dtype)
        x = first
        for linear in self.linears[1:]:
            x = F.linear(x.relu_(), linear.weight, linear.bias)
        return x.float()

    def bands(
        self,
        features: FeatureRows,
        size: tuple[int, int],
        dtype: torch.dtype = torch.float32,
    ) -> Iterator[tuple[slice, Float[Tensor, "3 r W"]]]:
        """Decode a whole picture of that size (rows, cols), band by band of rows; for inference.

        Only some rows of the grid are held at a time.

        Parameters
        ----------
        dtype
            Type of the numbers that are multiplied.

        Yields
        ------
        Output rows from top to bottom, and their normalised RGB.
        """
        device = features.device
        (height, width), (h, w) = size, features.size
        rows = coords.neighbours(coords.centres(height), h)
        cols = coords.neighbours(coords.centres(width), w)
        surrounding = rows.pixel  # on the host, which must not wait for a GPU
        rows, cols = (Neighbours(*(t.to(device) for t in axis)) for axis in (rows, cols))
        row_term, col_term = self._separate_geometry(rows, cols, (h / height, w / width))
        lr_rows = max(4, _GRID_BYTES // (4 * w * row_term.shape[-1]))
        band = max(1, int(lr_rows * height / h))
        tile_cols, tile_rows = _tile(width, _queries_at_once(device, row_term.shape[-1]))
        tail = Tail(self.linears[1:], dtype, rows=4 * tile_cols * tile_rows)
        kind, shift = _Columns, row_term.new_zeros(())
        if tail.exact_biases and dtype == torch.bfloat16 and tile_rows <= _FEW_ROWS:
            kind, shift, tile_rows = _ShiftedColumns, row_term.amax(dim=(0, 1)), _SHIFTED_ROWS
        parts = _CPU_ROWS if device.type == "cpu" else band
        for top in range(0, height, band):
            bottom = min(top + band, height)
            first, last = (int(n) for n in surrounding[:, top:bottom].aminmax())
            grid = self._grid_rows(features, first, last + 1)
            tiles = [
                (c, kind(grid, cols.pixel[:, c], col_term[:, c] + shift, tail))
                for c in _parts(0, width, tile_cols, tile_cols)
            ]
            for r in _parts(top, bottom, tile_rows, parts):
                out = torch.empty(3, r.stop - r.start, width, device=device)
                for c, tile in tiles:
                    for t in _parts(r.start, r.stop, tile_rows, tile_rows):
                        rgb = tile.decode(rows.pixel[:, t] - first, row_term[:, t] - shift)
                        weight = ensemble(
                            rows.relative[:, None, t, None], cols.relative[None, :, None, c]
                        )
                        blended = (rgb * weight[..., None]).sum(dim=(0, 1))
                        out[:, t.start - r.start : t.stop - r.start, c] = blended.permute(2, 0, 1)
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

    def __init__(self, grid: Tensor, pixel: Tensor, term: Tensor, tail: Tail) -> None:
        self._grid, self._pixel, self._term, self._tail = grid, pixel, term, tail
        self._gathered: dict[int, Tensor] = {}

    def decode(self, pixel: Tensor, term: Tensor) -> Float[Tensor, "2 2 r c 3"]:
        """For rows with these neighbours (2, r) and this term (2, r, d)."""
        x = self.first_layer(pixel, term).relu_().to(self._tail.dtype)
        rgb = self._tail.rgb(self._tail(x.view(-1, x.shape[-1])))
        return rgb.view(*x.shape[:-1], 3)

    def first_layer(self, pixel: Tensor, term: Tensor) -> Float[Tensor, "2 2 r c d"]:
        """The first layer's sums."""
        if pixel.shape[1] > _FEW_ROWS:
            x = self._grid[pixel[:, None, :, None], self._pixel[None, :, None]]
            x += self._term[None, :, None]
            x += term[:, None, :, None]
            return x
        x = term.new_empty(2, 2, term.shape[1], *self._term.shape[1:])
        for side, i, gathered in self._neighbours(pixel):
            torch.add(gathered, term[side, i], out=x[side, :, i])
        return x

    def _neighbours(self, pixel: Tensor) -> Iterator[tuple[int, int, Float[Tensor, "2 c d"]]]:
        """The gathered rows that surround each output row: (before or after, output row, them)."""
        rows = pixel.tolist()
        # Consecutive output rows share rows of the grid.
        needed = {n for before_after in rows for n in before_after}
        held = self._gathered
        self._gathered = {n: held[n] if n in held else self._gather(n) for n in needed}
        for side, row in enumerate(rows):
            for i, n in enumerate(row):
                yield side, i, self._gathered[n]

    def _gather(self, row: int) -> Float[Tensor, "2 c d"]:
        return self._grid[row][self._pixel] + self._term


class _ShiftedColumns(_Columns):
    """The same in bfloat16 on a CPU, with one pass over memory for sum, ReLU and rounding.

    With a for a column's sum and b for the row's term, relu(a + b) = max(a, −b) + b, and the added
    b moves into the bias of the next layer, which is another for each row. Both are shifted by a
    constant that makes −b positive: then the bits of both compare like integers.
    """

    def decode(self, pixel: Tensor, term: Tensor) -> Float[Tensor, "2 2 r c 3"]:
        """For rows with these neighbours (2, r) and this term (2, r, d), which is not positive."""
        floors = term.abs().bfloat16()  # −term, but never −0, whose bits are a negative integer
        biases = self._tail.biases(floors.float())
        sides = *self._pixel.shape, -1
        out: list[list[Tensor]] = [[], []]
        for side, i, gathered in self._neighbours(pixel):
            x = at_least(gathered, floors[side, i]).view(-1, term.shape[-1])
            out[side].append(self._tail(x, biases[side, i]).view(sides))
        return self._tail.rgb(torch.stack([torch.stack(rows, dim=1) for rows in out]))

    def _gather(self, row: int) -> Tensor:
        return super()._gather(row).bfloat16()


def ensemble(rows: Tensor, cols: Tensor) -> Tensor:
    """Weights of the four predictions (2, 2, …): the area of the diagonally opposite one."""
    area = (rows * cols).abs() + 1e-9
    weight: Tensor = area.flip(0, 1) / area.sum(dim=(0, 1))
    return weight


def _queries_at_once(device: torch.device, width: int) -> int:
    """Queries of a tile; on a GPU their tensors take at most a quarter of its free memory."""
    if device.type == "cpu":
        return _TILE_CPU
    bytes_per_query = 4 * 16 * width  # four neighbours, each in float32 and in copies of it
    return max(4096, min(_TILE_GPU, free_memory(device) // 4 // bytes_per_query))


def _tile(width: int, queries: int) -> tuple[int, int]:
    """Columns and rows of tiles of at most that many queries, as wide as possible."""
    n = -(-width // min(width, queries))
    cols = -(-width // n)
    return cols, max(1, queries // cols)


def _parts(start: int, stop: int, multiple: int, most: int) -> Iterator[slice]:
    """Consecutive parts of at most that many rows, or of one tile: each a multiple of tiles."""
    step = multiple * max(1, most // multiple)
    return (slice(top, min(top + step, stop)) for top in range(start, stop, step))
