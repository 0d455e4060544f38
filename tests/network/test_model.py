import direct
import numpy as np
import pytest
import torch
from PIL import Image
from samples import photograph

import liif
from liif import imresize
from liif.checkpoints.catalog import BUNDLED
from liif.network import coords
from liif.network.build import Architecture, EDSREncoder, build
from liif.network.decoder import Decoder, _Columns
from liif.network.interpolation import Skip
from liif.network.model import LIIF

SIZES = [((1, 1), (1, 1)), ((1, 1), (5, 3)), ((1, 9), (8, 20)), ((7, 5), (21, 15))]
SIZES += [((6, 11), (17, 29)), ((8, 8), (64, 64)), ((5, 7), (3, 4)), ((13, 2), (13, 2))]


@pytest.mark.parametrize(("lr_size", "size"), SIZES)
def test_whole_picture_equals_the_direct_form(
    small: LIIF, lr_size: tuple[int, int], size: tuple[int, int]
) -> None:
    lr = torch.rand(2, 3, *lr_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = direct.image_rgb(small, lr, size).clamp(0, 1)
    ours = small.decode_image(small.encode(lr), size)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("lr_size", "size"), SIZES)
def test_single_queries_equal_the_direct_form(
    small: LIIF, lr_size: tuple[int, int], size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(2)
    lr = torch.rand(2, 3, *lr_size, generator=generator)
    queries = torch.rand(2, 50, 2, generator=generator) * 2 - 1
    cells = coords.cell(size).expand(2, 2)
    with torch.no_grad():
        ours = small.decode(small.encode(lr), queries, cells)
        rgb = direct.query_rgb(small, lr * 2 - 1, queries, cells[:, None].expand(2, 50, 2))
    torch.testing.assert_close(ours, rgb * 0.5 + 0.5, rtol=0, atol=1e-6)


def test_gradients_equal_the_direct_form(small: LIIF) -> None:
    lr = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(3))
    queries = direct.make_coord(9, 11).view(1, -1, 2).expand(2, -1, 2)
    cells = coords.cell((9, 11)).expand(2, 2)
    small.decode(small.encode(lr), queries, cells).abs().sum().backward()
    ours = [p.grad.clone() for p in small.parameters() if p.grad is not None]
    small.zero_grad()
    rgb = direct.query_rgb(small, lr * 2 - 1, queries, cells[:, None].expand(2, 99, 2))
    (rgb * 0.5 + 0.5).abs().sum().backward()
    for a, p in zip(ours, small.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("skip", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(24, 30), (17, 33), (7, 6)])
def test_skip_adds_the_interpolated_input(skip: Skip, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = build(Architecture(encoder=EDSREncoder(blocks=1, channels=4), hidden=(8,), skip=skip))
    plain = LIIF(model.encoder, model.imnet)
    lr = torch.rand(1, 3, 6, 5)
    queries = direct.make_coord(*size).view(1, -1, 2)
    cells = coords.cell(size)[None]
    with torch.no_grad():
        added = model.decode(model.encode(lr), queries, cells)
        added = added - plain.decode(plain.encode(lr), queries, cells)
        whole = model.decode(model.encode(lr), queries, cells).clamp(0, 1)
    image = model.decode_image(model.encode(lr), size)
    torch.testing.assert_close(
        image, whole.view(1, *size, 3).permute(0, 3, 1, 2), rtol=0, atol=1e-6
    )
    if skip == "bicubic" and size[0] > 6:
        # What is added has the mean as its zero, since it is added to normalised values.
        expected = imresize(lr[0].permute(1, 2, 0).double().numpy() - 0.5, size)
        np.testing.assert_allclose(added[0].view(*size, 3), expected, atol=1e-5)


def test_encoding_holds_no_state(small: LIIF) -> None:
    a, b = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 9, 3)
    first = small.encode(a)
    alone = small.decode_image(first, (8, 8))
    small.decode_image(small.encode(b), (5, 5))
    assert torch.equal(small.decode_image(first, (8, 8)), alone)


def test_normalisation_belongs_to_the_model() -> None:
    torch.manual_seed(0)
    base = build(Architecture(encoder=EDSREncoder(blocks=1, channels=4), hidden=(8,)))
    shifted = LIIF(base.encoder, base.imnet, mean=(0.4, 0.5, 0.6), std=(1.0, 1.0, 1.0))
    lr = torch.rand(1, 3, 4, 4)
    mean = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    same_inside = (lr - mean) * 0.5 + 0.5
    queries, cells = direct.make_coord(8, 8).view(1, -1, 2), coords.cell((8, 8))[None]
    with torch.no_grad():
        a = shifted.decode(shifted.encode(lr), queries, cells) - mean.flatten()
        b = (base.decode(base.encode(same_inside), queries, cells) - 0.5) / 0.5
    torch.testing.assert_close(a, b)


def test_mismatched_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="8 channels"):
        LIIF(build(Architecture()).encoder, Decoder(channels=8))


def test_parameter_counts_are_the_published_ones() -> None:
    def count(model: LIIF) -> int:
        return sum(p.numel() for p in model.parameters())

    assert count(build(Architecture())) == 1_567_299
    rdn = Architecture.model_validate({"encoder": {"name": "rdn"}})
    assert count(build(rdn)) == 22_320_835


def test_upscale_keeps_the_kind_of_picture(small: LIIF) -> None:
    image = photograph(9, 6)
    enlarged = small.upscale(image, scale=2.5)
    assert isinstance(enlarged, np.ndarray)
    assert enlarged.dtype == np.uint8
    assert enlarged.shape == (23, 15, 3)
    real = small.upscale(image.astype(np.float32) / 255, scale=2.5)
    assert isinstance(real, np.ndarray)
    np.testing.assert_array_equal(enlarged, np.floor(real * 255 + 0.5))
    pil = small.upscale(Image.fromarray(image), size=(23, 15))
    assert isinstance(pil, Image.Image)
    np.testing.assert_array_equal(np.asarray(pil), enlarged)


def test_upscale_names_the_wrong_argument(small: LIIF) -> None:
    with pytest.raises(ValueError, match="either"):
        small.upscale(photograph(4, 4))
    with pytest.raises(ValueError, match=r"scale.*-1"):
        small.upscale(photograph(4, 4), scale=-1)
    with pytest.raises(ValueError, match=r"scale.*0\.5.*imresize downscales"):
        small.upscale(photograph(4, 4), scale=0.5)
    with pytest.raises(ValueError, match=r"size 3x4 is less than the picture's 4x4 pixels"):
        small.upscale(photograph(4, 4), size=(4, 3))
    with pytest.raises(ValueError, match="not CMYK"):
        small.upscale(Image.new("CMYK", (4, 4)), scale=2)
    with pytest.raises(ValueError, match=r"\(4, 4, 5\)"):
        small.upscale(np.zeros((4, 4, 5)), scale=2)
    with pytest.raises(TypeError, match="int64"):
        small.upscale(np.zeros((4, 4, 3), dtype=np.int64), scale=2)


def test_released_weights_beat_bicubic_on_a_photograph() -> None:
    path = BUNDLED.parent.parent / "photos" / "test" / "nuthatch.webp"
    hr = np.asarray(Image.open(path).convert("RGB"))[200:520, 200:520]
    lr = imresize(hr, 1 / 8)
    sr = liif.load().upscale(lr, scale=8)
    error = np.mean((np.asarray(sr, dtype=float) - hr) ** 2)
    assert error < 0.75 * np.mean((imresize(lr, 8.0).astype(float) - hr) ** 2)


def test_consecutive_rows_share_what_was_gathered(
    small: LIIF, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered = []
    gather = _Columns._gather

    def counting(columns: _Columns, row: int) -> torch.Tensor:
        gathered.append(row)
        return gather(columns, row)

    monkeypatch.setattr(_Columns, "_gather", counting)
    small.decode_image(small.encode(torch.rand(1, 3, 6, 100)), (48, 800))  # tiles of one row
    assert sorted(gathered) == list(range(6))
