import pytest
import torch

from liif.network.edsr import EDSR
from liif.network.rdn import RDN


@pytest.mark.parametrize("encoder", [EDSR(2, 6), RDN(2, 3, 5, 6)])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3)])
def test_resolution_is_kept(encoder: EDSR | RDN, size: tuple[int, int]) -> None:
    assert encoder(torch.rand(2, 3, *size)).shape == (2, 6, *size)


def test_published_names() -> None:
    edsr = set(EDSR().state_dict())
    assert {"head.0.weight", "body.15.body.2.bias", "body.16.weight"} <= edsr
    rdn = set(RDN().state_dict())
    names = {"SFENet1.weight", "RDBs.15.convs.7.conv.0.weight", "RDBs.0.LFF.bias", "GFF.1.weight"}
    assert names <= rdn


def test_zero_weights_give_the_skip_of_the_first_convolution() -> None:
    for encoder, first in ((EDSR(2, 6), "head"), (RDN(2, 2, 4, 6), "SFENet1")):
        for name, parameter in encoder.named_parameters():
            if not name.startswith(first):
                torch.nn.init.zeros_(parameter)
        lr = torch.rand(1, 3, 4, 5)
        torch.testing.assert_close(encoder(lr), getattr(encoder, first)(lr))
