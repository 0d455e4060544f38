import pytest
import torch
from samples import SMALL

from liif.checkpoints.load import load
from liif.network import rdn, tiling
from liif.network.build import Architecture, EDSREncoder, RDNEncoder, build
from liif.network.rdn import RDN
from liif.network.tiling import Encoder


def encoder_of(name: str) -> Encoder:
    torch.manual_seed(0)
    return build(SMALL[name]).eval().encoder


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("size", [(1, 1), (40, 23), (33, 61), (64, 17)])
def test_tiles_change_nothing(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_of(name)
    monkeypatch.setattr(type(encoder), "best_tile", 16)
    lr = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        tiled = torch.cat([tiling.encode(encoder, x[None], slice(0, size[0]), 1 << 30) for x in lr])
        torch.testing.assert_close(tiled, encoder(lr), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_the_reach_is_the_receptive_field(name: str) -> None:
    encoder = encoder_of(name)
    for parameter in encoder.parameters():
        parameter.data.abs_()  # nothing cancels, so that every path shows
    reach = encoder.reach
    lr = torch.zeros(1, 3, 1, 4 * reach + 9)
    changed = lr.clone()
    middle = lr.shape[3] // 2
    changed[..., middle] = 1
    with torch.no_grad():
        touched = (encoder(changed) != encoder(lr)).any(dim=1)[0, 0].nonzero().flatten()
    assert middle - int(touched.min()) <= reach
    assert middle - int(touched.min()) >= reach - 1
    assert int(touched.max()) - middle <= reach


def test_published_reaches() -> None:
    # With the decoder's unfolding one more: 35 and 132.
    assert build(Architecture(encoder=EDSREncoder())).encoder.reach == 34
    assert build(Architecture(encoder=RDNEncoder())).encoder.reach == 131


@pytest.mark.parametrize("height", [1, 9, 50])
def test_dense_blocks_in_bands_change_nothing(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rdn, "_BAND", 70)
    encoder = encoder_of("rdn")
    lr = torch.rand(1, 3, height, 7)
    with torch.no_grad():
        in_bands = encoder(lr)
    whole = encoder(lr)  # with gradients: as it is trained
    torch.testing.assert_close(in_bands, whole.detach(), rtol=0, atol=1e-6)


def test_global_fusion_equals_the_published_concatenation() -> None:
    encoder = encoder_of("rdn")
    assert isinstance(encoder, RDN)
    lr = torch.rand(1, 3, 9, 8)
    shallow = encoder.SFENet1(lr)
    x, blocks = encoder.SFENet2(shallow), []
    for block in encoder.RDBs:
        x = block(x)
        blocks.append(x)
    published = encoder.GFF(torch.cat(blocks, dim=1)) + shallow
    torch.testing.assert_close(encoder(lr), published, rtol=0, atol=1e-6)


def test_memory_decides_the_tile() -> None:
    encoder = build(Architecture()).encoder
    sides = [tiling.tile_side(encoder, m) for m in (0, 100 << 20, 10 << 30)]
    assert sides[0] == encoder.reach
    assert sides[0] < sides[1] < sides[2] == encoder.best_tile


def test_upscaling_within_little_memory_gives_the_same_picture() -> None:
    model = load()
    picture = torch.rand(90, 75, 3, generator=torch.Generator().manual_seed(0)).numpy()
    whole = model.upscale(picture, scale=1.5, precision="float32")
    tiled = model.upscale(picture, scale=1.5, max_memory=1, precision="float32")
    torch.testing.assert_close(torch.tensor(tiled), torch.tensor(whole), rtol=0, atol=1e-5)
