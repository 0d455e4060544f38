import numpy as np
import pytest
import torch

from liif import imresize
from liif.network.coords import centres
from liif.network.interpolation import taps


@pytest.mark.parametrize("size", [(12, 30), (7, 8), (5, 64)])
def test_bicubic_taps_are_imresize(size: tuple[int, int]) -> None:
    n, out = size
    column = np.random.default_rng(0).normal(size=(n, 1))
    index, weight = taps(centres(out), n, "bicubic")
    ours = (column[index.numpy(), 0] * weight.numpy()).sum(axis=0)
    if out >= n:
        np.testing.assert_allclose(ours, imresize(column, (out, 1))[:, 0], atol=1e-5)


def test_bilinear_taps_interpolate_linearly() -> None:
    index, weight = taps(torch.tensor([0.0, 0.25]), 4, "bilinear")
    line = torch.tensor([0.0, 1.0, 2.0, 3.0])
    torch.testing.assert_close((line[index] * weight).sum(dim=0), torch.tensor([1.5, 2.0]))


def test_unknown_interpolation_is_named() -> None:
    with pytest.raises(ValueError, match="lanczos"):
        taps(torch.zeros(1), 4, "lanczos")
