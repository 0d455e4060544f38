import numpy as np
import pytest
import torch

from liif.network import coords


def test_centres_are_symmetric_and_inside() -> None:
    torch.testing.assert_close(coords.centres(4), torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    assert coords.centres(1).tolist() == [0.0]


def test_cell_is_one_pixel() -> None:
    assert coords.cell((4, 10)).tolist() == pytest.approx([0.5, 0.2])


def test_neighbours_surround_the_query() -> None:
    index, relative = coords.neighbours(coords.centres(12), 3)
    # Twelve queries over three pixels: before and after each, clamped at the border.
    assert index[0].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert index[1].tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    inside = (index[0] != index[1]).numpy()
    distance = relative[1] - relative[0]
    np.testing.assert_allclose(distance[inside], -2, atol=1e-5)  # one pixel is 2 units


@pytest.mark.parametrize("n", [1, 2, 7, 100, 1001])
@pytest.mark.parametrize("queries", [1, 3, 64, 999])
def test_indices_stay_on_the_axis(n: int, queries: int) -> None:
    index, relative = coords.neighbours(coords.centres(queries), n)
    assert index.min() >= 0
    assert index.max() < n
    assert relative.abs().max() <= 2 + 1e-4
