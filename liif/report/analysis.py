"""What enlarging does, and what imresize does: computed from the test pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array

from liif import images
from liif.degrade import centre_crop, to_multiple
from liif.images import RGB8
from liif.metrics import psnr_of_error
from liif.report.results import TRUTH, Results
from liif.resize import cubic, imresize, resize_matrix
from liif.strips import most_detailed
from liif.upscale import BICUBIC

PHOTOGRAPHS = Path(__file__).parent.parent / "photos" / "test"
PLAIN = ("nearest", "bilinear", BICUBIC)
"""Enlargements without a model."""
_LUMA = np.array([65.738, 129.057, 25.064]) / 219.859
_BINS = 64
_MOST = 16
"""Pictures that averages are taken over."""
_SIDE = 200
"""Of a shown part, in pixels."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """The picture that all is shown on."""

    name: str
    hr: RGB8
    bundled: bool
    """Whether it comes with liif, since the test pictures have no truth."""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """How much of the original's detail an enlargement has, on average."""

    psnr: float
    below: float
    beyond: float
    """Power of its spectrum below and beyond the LR picture's limit, relative to the original's."""


@dataclass(frozen=True, kw_only=True)
class Blur:
    """What plain enlargement does."""

    lr: RGB8
    side: int
    """Of the shown part of the original."""
    parts: dict[str, RGB8]
    """By the word that names each: the original and plain enlargements."""
    spectra: dict[str, Float64]
    """Of the whole pictures, in 0..1."""
    frequencies: Float64
    powers: dict[str, Float64]
    """Radial means of the power, of the original, plain enlargements and models."""
    details: dict[str, Detail]
    pictures: int
    """How many were averaged over."""


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """A way of reducing the picture, against imresize with antialiasing."""

    picture: RGB8
    error: RGB8
    """Grey levels of difference, the largest of the channels."""
    psnr: float
    differ: float
    """Share of the pixels."""

    @property
    def largest(self) -> int:
        """The largest difference, in grey levels."""
        return int(self.error.max())


def example(results: Results) -> Example:
    """The test picture on which bicubic does worst: where there is most to see."""
    scores = results.scores(BICUBIC)
    known = {n: psnr for n, (psnr, _) in scores.items() if psnr is not None}
    for name in sorted(known, key=lambda n: known[n]):
        path = results.path(TRUTH, name)
        if path is not None:
            return Example(name, images.read(path).rgb, bundled=False)
    path = PHOTOGRAPHS / "brushes.webp"
    hr = images.read(path).rgb
    side = min(800, *hr.shape[:2])
    return Example(path.stem, to_multiple(centre_crop(hr, side), results.scale), bundled=True)


def enlarge_plainly(lr: RGB8, size: tuple[int, int]) -> dict[str, RGB8]:
    """Nearest neighbour, bilinear and MATLAB's bicubic."""
    image, (rows, cols) = Image.fromarray(lr), size
    nearest = image.resize((cols, rows), Image.Resampling.NEAREST)
    bilinear = image.resize((cols, rows), Image.Resampling.BILINEAR)
    return {
        "nearest": np.asarray(nearest),
        "bilinear": np.asarray(bilinear),
        BICUBIC: imresize(lr, size),
    }


def blur(shown: Example, results: Results) -> Blur:
    """Plain enlargements beside the original, and their spectra."""
    scale, hr = results.scale, shown.hr
    size = hr.shape[0], hr.shape[1]
    lr = imresize(hr, 1 / scale)
    enlarged = {"original": hr, **enlarge_plainly(lr, size)}
    side = min(_SIDE, *size)
    row, col = _where(most_detailed(hr, side), hr)
    parts = {key: p[row : row + side, col : col + side] for key, p in enlarged.items()}
    pictures = [(hr, lr, {})] if shown.bundled else list(_sample(results))
    powers, details = _average(pictures, scale)
    return Blur(
        lr=lr,
        side=side,
        parts=parts,
        spectra={key: _spectrum(picture) for key, picture in enlarged.items()},
        frequencies=(np.arange(_BINS) + 0.5) / _BINS / 2,
        powers=powers,
        details=details,
        pictures=len(pictures),
    )


def _where(part: RGB8, picture: RGB8) -> tuple[int, int]:
    """Where a part lies in a picture, that is no copy of it."""
    side = part.shape[0]
    rows = np.linspace(0, picture.shape[0] - side, min(5, picture.shape[0] - side + 1)).astype(int)
    cols = np.linspace(0, picture.shape[1] - side, min(5, picture.shape[1] - side + 1)).astype(int)
    for row in rows:
        for col in cols:
            if np.array_equal(picture[row : row + side, col : col + side], part):
                return int(row), int(col)
    return 0, 0


def _sample(results: Results) -> Iterable[tuple[RGB8, RGB8, dict[str, RGB8]]]:
    """Original, LR and the models' enlargements of some test pictures, evenly chosen."""
    names = [n for n in results.names if results.path(TRUTH, n) is not None]
    for name in names[:: ceil(len(names) / _MOST)] if names else ():
        files = {m: results.path(m, name) for m in results.models}
        made = {m: images.read(path).rgb for m, path in files.items() if path is not None}
        truth = results.path(TRUTH, name)
        assert truth is not None
        hr = images.read(truth).rgb
        same = {m: p for m, p in made.items() if p.shape == hr.shape}
        yield hr, imresize(hr, 1 / results.scale), same


def _average(
    pictures: Iterable[tuple[RGB8, RGB8, dict[str, RGB8]]], scale: float
) -> tuple[dict[str, Float64], dict[str, Detail]]:
    """Mean power by frequency, and mean detail, of the original and all enlargements."""
    powers: dict[str, list[Float64]] = {}
    details: dict[str, list[tuple[float, float, float]]] = {}
    for hr, lr, models in pictures:
        size = hr.shape[0], hr.shape[1]
        reference = power(hr)
        powers.setdefault("original", []).append(_radial(reference))
        inside = _inside(size, 1 / (2 * scale))
        for key, picture in {**enlarge_plainly(lr, size), **models}.items():
            mine = power(picture)
            powers.setdefault(key, []).append(_radial(mine))
            error = (picture.astype(np.float64) - hr) ** 2
            psnr = psnr_of_error(float(error.mean()) / 255**2)
            below, beyond = (
                float(mine[part].sum() / max(reference[part].sum(), 1e-12))
                for part in (inside, ~inside)
            )
            details.setdefault(key, []).append((psnr, below, beyond))
    means = {key: np.mean(values, axis=0) for key, values in details.items()}
    return (
        {key: np.mean(values, axis=0) for key, values in powers.items()},
        {
            k: Detail(psnr=float(a), below=float(b), beyond=float(c))
            for k, (a, b, c) in means.items()
        },
    )


def power(picture: RGB8) -> Float64:
    """Power of the spectrum (H, W) of a picture's luma, its mean taken out.

    A Hann window keeps the border, where opposite edges meet, from looking like detail.
    """
    luma = picture.astype(np.float64) / 255 @ _LUMA
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in luma.shape))
    spectrum = scipy.fft.fft2((luma - luma.mean()) * window)
    return np.asarray(np.abs(spectrum) ** 2 / (window**2).sum())


def _frequencies(size: tuple[int, int]) -> tuple[Float64, Float64]:
    """Cycles a pixel of each element of a spectrum: by row, by column."""
    rows, cols = (np.abs(scipy.fft.fftfreq(n)) for n in size)
    return np.broadcast_to(rows[:, None], size), np.broadcast_to(cols[None, :], size)


def _inside(size: tuple[int, int], limit: float) -> NDArray[np.bool_]:
    """Which elements an LR picture of that limit can hold; not the mean."""
    rows, cols = _frequencies(size)
    return (rows <= limit) & (cols <= limit)


def _radial(spectrum: Float64) -> Float64:
    """The mean by distance from the middle, in equal steps up to half a cycle a pixel."""
    rows, cols = _frequencies((spectrum.shape[0], spectrum.shape[1]))
    distance = np.hypot(rows, cols)
    bins = np.minimum((distance * 2 * _BINS).astype(int), _BINS).ravel()
    counts = np.bincount(bins, minlength=_BINS + 1)[:_BINS]
    sums = np.bincount(bins, weights=spectrum.ravel(), minlength=_BINS + 1)[:_BINS]
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.asarray(np.maximum(means, 1e-12))


def _spectrum(picture: RGB8) -> Float64:
    """The spectrum as a picture: logarithm of the power over seven decades, in 0..1."""
    spectrum = np.fft.fftshift(power(picture))
    step = max(1, min(spectrum.shape) // _SIDE)
    rows, cols = (n // step for n in spectrum.shape)
    blocks = spectrum[: rows * step, : cols * step].reshape(rows, step, cols, step)
    values = np.log10(np.maximum(blocks.mean(axis=(1, 3)), 1e-12))
    return np.asarray(np.clip((values + 6) / 7, 0, 1))


def limit_marked(spectrum: RGB8, scale: float) -> RGB8:
    """The picture of a spectrum with the square that an LR picture can hold."""
    marked = spectrum.copy()
    rows, cols = spectrum.shape[:2]
    top, left = (round(n / 2 - n / 2 / scale) for n in (rows, cols))
    bottom, right = (min(n - 1, round(n / 2 + n / 2 / scale)) for n in (rows, cols))
    for edge in ((top, slice(left, right + 1)), (bottom, slice(left, right + 1))):
        marked[edge] = 255
    for edge in ((slice(top, bottom + 1), left), (slice(top, bottom + 1), right)):
        marked[edge] = 255
    return marked


def reductions(hr: RGB8, scale: float) -> dict[str, Reduction]:
    """The picture reduced by imresize, without antialiasing, and by other bicubics."""
    exact = imresize(hr, 1 / scale)
    rows, cols = exact.shape[:2]
    pillow = Image.fromarray(hr).resize((cols, rows), Image.Resampling.BICUBIC)
    made: dict[str, RGB8] = {
        "with_antialiasing": exact,
        "without_antialiasing": imresize(hr, 1 / scale, antialiasing=False),
        "pillow": np.asarray(pillow),
        "opencv": opencv_style(hr, (rows, cols)),
    }
    return {key: _against(picture, exact) for key, picture in made.items()}


def _against(picture: RGB8, exact: RGB8) -> Reduction:
    error = np.abs(picture.astype(np.int16) - exact).astype(np.uint8)
    return Reduction(
        picture=picture,
        error=error.max(axis=2),
        psnr=psnr_of_error(float((error.astype(np.float64) ** 2).mean()) / 255**2),
        differ=float((error.max(axis=2) > 0).mean()),
    )


def opencv_kernel(x: Float64) -> Float64:
    """Keys' kernel with a = −0.75, as OpenCV's INTER_CUBIC has it."""
    x = np.abs(x)
    near = 1.25 * x**3 - 2.25 * x**2 + 1
    far = -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def opencv_style(picture: RGB8, size: tuple[int, int]) -> RGB8:
    """Bicubic as OpenCV's INTER_CUBIC: 4×4 taps at any scale, the edge pixel repeated."""
    pixels = picture.astype(np.float64)
    for axis, n_out in enumerate(size):
        n_in = picture.shape[axis]
        centre = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
        taps = np.floor(centre)[:, None] + np.arange(-1, 3)
        weights = opencv_kernel(centre[:, None] - taps)
        columns = np.clip(taps.astype(int), 0, n_in - 1)
        rows = np.broadcast_to(np.arange(n_out)[:, None], columns.shape)
        matrix = csr_array((weights.ravel(), (rows.ravel(), columns.ravel())), shape=(n_out, n_in))
        moved = np.moveaxis(pixels, axis, 0)
        result = (matrix @ moved.reshape(n_in, -1)).reshape(n_out, *moved.shape[1:])
        pixels = np.moveaxis(result, 0, axis)
    return np.clip(np.floor(pixels + 0.5), 0, 255).astype(np.uint8)


Curve = tuple[Float64, Float64, Float64, Float64]


def kernels(scale: float) -> dict[str, Curve]:
    """Kernels of a reduction: the curve (x, y), and the taps (x, weight) of a pixel inside."""
    reach = 2 * scale + 1
    x = np.linspace(-reach, reach, 801)
    shapes: dict[str, Callable[[Float64], Float64]] = {
        "with_antialiasing": lambda d: cubic(d / scale) / scale,
        "without_antialiasing": cubic,
        "opencv": opencv_kernel,
    }
    # The taps of imresize are those that it works with, at a pixel far from any border.
    n_out = 9
    n_in = ceil(n_out * scale)
    centre = (n_out // 2 + 0.5) * scale - 0.5
    curves: dict[str, Curve] = {}
    for key, shape in shapes.items():
        if key == "opencv":
            taps = np.floor(centre) + np.arange(-1.0, 3.0)
            weights = opencv_kernel(taps - centre)
        else:
            matrix = resize_matrix(n_in, n_out, 1 / scale, key == "with_antialiasing")
            line = matrix[[n_out // 2], :].toarray().ravel()
            taps = np.flatnonzero(line).astype(np.float64)
            weights = line[np.flatnonzero(line)]
        curves[key] = (x, shape(x), taps - centre, weights)
    return curves
