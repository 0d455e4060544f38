"""What enlarging does: plain enlargements beside the original, and their spectra."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image

from liif.images.crop import centre_crop, crop_to_multiple, most_detailed_square
from liif.images.imresize import imresize
from liif.images.metrics import psnr_of_error
from liif.images.pixels import RGB8
from liif.images.read import read_picture
from liif.inference.upscaler import BICUBIC
from liif.report.results import TRUTH, Results

PHOTOGRAPHS = Path(__file__).parents[1] / "assets" / "photos" / "test"
_CREDIT = "Trevor “Freespace”, CC BY 4.0"
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
    credit: str = ""
    """Author and licence of one that comes with liif, where the test pictures have no truth."""

    @property
    def bundled(self) -> bool:
        """Whether it comes with liif."""
        return bool(self.credit)


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


def choose(results: Results) -> Example:
    """The test picture on which bicubic does worst: where there is most to see."""
    scores = results.scores(BICUBIC)
    known = {n: psnr for n, (psnr, _) in scores.items() if psnr is not None}
    for name in sorted(known, key=lambda n: known[n]):
        path = results.path(TRUTH, name)
        if path is not None:
            return Example(name, read_picture(path).rgb)
    path = PHOTOGRAPHS / "brushes.webp"
    hr = read_picture(path).rgb
    side = min(800, *hr.shape[:2])
    return Example(path.stem, crop_to_multiple(centre_crop(hr, side), results.scale), _CREDIT)


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
    square = most_detailed_square(hr, side)
    parts = {key: picture[square] for key, picture in enlarged.items()}
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


def _sample(results: Results) -> Iterable[tuple[RGB8, RGB8, dict[str, RGB8]]]:
    """Original, LR and the models' enlargements of some test pictures, evenly chosen."""
    names = [n for n in results.names if results.path(TRUTH, n) is not None]
    for name in names[:: ceil(len(names) / _MOST)] if names else ():
        files = {m: results.path(m, name) for m in results.models}
        made = {m: read_picture(path).rgb for m, path in files.items() if path is not None}
        truth = results.path(TRUTH, name)
        assert truth is not None
        hr = read_picture(truth).rgb
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
