"""Plain upscaling beside the original: pictures and spectra."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import ceil
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image

from liif.data.download import PHOTOGRAPHS
from liif.images.crop import centre_crop, crop_to_multiple, most_detailed_square
from liif.images.imresize import imresize
from liif.images.metrics import measured, psnr_of_error
from liif.images.pixels import RGB8
from liif.images.read import read_picture
from liif.inference.upscaler import BICUBIC
from liif.report.render import heat_map
from liif.report.results import TRUTH, Results

_CREDIT = "Trevor “Freespace”, CC BY 4.0"
PLAIN = ("nearest", "bilinear", BICUBIC)
"""Upscaling without a model."""
_LUMA = np.array([65.738, 129.057, 25.064]) / 219.859
_BINS = 64
_SAMPLES = 16
"""Number of pictures that averages are taken over, at most."""
_SIDE = 200
"""Side of a detail, in pixels."""
_NOTHING = 1e-12
"""Smallest power, so that its logarithm is finite."""

Float64 = NDArray[np.float64]


class Example(NamedTuple):
    """The picture that the analysis shows."""

    name: str
    hr: RGB8
    credit: str = ""
    """Author and licence of a bundled photograph, used if the test pictures have no HR."""


class Detail(NamedTuple):
    """Mean quality of an upscaling."""

    psnr: float
    below: float
    beyond: float
    """Power of the spectrum below and beyond the LR picture's limit, relative to the original."""


class Blur(NamedTuple):
    """Comparison of plain upscaling with the original."""

    lr: RGB8
    side: int
    """Side of the crops, in pixels."""
    parts: dict[str, RGB8]
    """A crop of the original and of each plain upscaling."""
    spectra: dict[str, RGB8]
    """Spectra of the same whole pictures."""
    frequencies: Float64
    powers: dict[str, Float64]
    """Mean power by frequency of the original, plain upscaling and models."""
    details: dict[str, Detail]
    pictures: int
    """Number of pictures averaged over."""


def choose(results: Results) -> Example:
    """The test picture on which bicubic does worst, or a bundled photograph."""
    psnrs, truths = results.psnrs(BICUBIC), results.pictures(TRUTH)
    if known := [name for name in psnrs if name in truths]:
        name = min(known, key=lambda n: psnrs[n])
        return Example(name, read_picture(truths[name]).rgb)
    path = PHOTOGRAPHS / "test" / "brushes.webp"
    hr = read_picture(path).rgb
    side = min(800, *hr.shape[:2])
    return Example(path.stem, crop_to_multiple(centre_crop(hr, side), results.scale), _CREDIT)


def upscale_plainly(lr: RGB8, size: tuple[int, int]) -> dict[str, RGB8]:
    """Nearest neighbour, bilinear and MATLAB's bicubic."""
    image, (rows, cols) = Image.fromarray(lr), size
    return {
        "nearest": np.asarray(image.resize((cols, rows), Image.Resampling.NEAREST)),
        "bilinear": np.asarray(image.resize((cols, rows), Image.Resampling.BILINEAR)),
        BICUBIC: imresize(lr, size),
    }


def blur(example: Example, results: Results) -> Blur:
    """Compare plain upscaling with the original, on the example and on average."""
    hr, scale = example.hr, results.scale
    size = hr.shape[0], hr.shape[1]
    lr = imresize(hr, 1 / scale)
    whole = {"original": hr, **upscale_plainly(lr, size)}
    side = min(_SIDE, *size)
    square = most_detailed_square(hr, side)
    samples = [(hr, {})] if example.credit else list(_samples(results))
    powers, details = _average(samples, results)
    return Blur(
        lr=lr,
        side=side,
        parts={key: picture[square] for key, picture in whole.items()},
        spectra={key: _spectrum(picture, scale) for key, picture in whole.items()},
        frequencies=(np.arange(_BINS) + 0.5) / _BINS / 2,
        powers=powers,
        details=details,
        pictures=len(samples),
    )


def _samples(results: Results) -> Iterator[tuple[RGB8, dict[str, RGB8]]]:
    """The original and the models' pictures of some test pictures, evenly chosen."""
    truths = list(results.pictures(TRUTH).items())
    files = {model: results.pictures(model) for model in results.models}
    for name, path in truths[:: ceil(len(truths) / _SAMPLES) or 1]:
        hr = read_picture(path).rgb
        made = {m: read_picture(of[name]).rgb for m, of in files.items() if name in of}
        yield hr, {m: picture for m, picture in made.items() if picture.shape == hr.shape}


def _average(
    samples: Iterable[tuple[RGB8, dict[str, RGB8]]], results: Results
) -> tuple[dict[str, Float64], dict[str, Detail]]:
    """Mean power by frequency of the original and all upscalings, and their mean quality.

    PSNR is measured by the convention of the results, so that bicubic has one value in the report.
    """
    scale, (channel, border) = results.scale, results.convention
    powers: dict[str, list[Float64]] = defaultdict(list)
    details: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for hr, models in samples:
        size = hr.shape[0], hr.shape[1]
        reference = power(hr)
        powers["original"].append(_radial(reference))
        rows, cols = _frequencies(size)
        inside = (rows <= 0.5 / scale) & (cols <= 0.5 / scale)
        plain = upscale_plainly(imresize(hr, 1 / scale), size)
        for key, picture in {**plain, **models}.items():
            mine = power(picture)
            powers[key].append(_radial(mine))
            below, beyond = (
                float(mine[part].sum() / max(reference[part].sum(), _NOTHING))
                for part in (inside, ~inside)
            )
            a, b = measured(hr, picture, channel, border)
            psnr = psnr_of_error(float(np.mean((a - b) ** 2)))
            details[key].append((psnr, below, beyond))
    mean_powers = {key: np.mean(values, axis=0) for key, values in powers.items()}
    return mean_powers, {k: Detail(*np.mean(v, axis=0).tolist()) for k, v in details.items()}


def power(picture: RGB8) -> Float64:
    """Power spectrum (H, W) of a picture's luma without its mean.

    A Hann window keeps the border, where opposite edges meet, from looking like detail.
    """
    luma = picture.astype(np.float64) / 255 @ _LUMA
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in luma.shape))
    spectrum = scipy.fft.fft2((luma - luma.mean()) * window)
    return np.asarray(np.abs(spectrum) ** 2 / (window**2).sum())


def _frequencies(size: tuple[int, int]) -> tuple[Float64, Float64]:
    """Frequencies of a spectrum in cycles per pixel: (H, 1) by row, (1, W) by column."""
    rows, cols = (np.abs(scipy.fft.fftfreq(n)) for n in size)
    return rows[:, None], cols[None, :]


def _radial(spectrum: Float64) -> Float64:
    """Means by distance from the middle, in equal steps up to half a cycle per pixel."""
    distance = np.hypot(*_frequencies((spectrum.shape[0], spectrum.shape[1])))
    bins = np.minimum((distance * 2 * _BINS).astype(int), _BINS).ravel()
    counts = np.bincount(bins, minlength=_BINS + 1)[:_BINS]
    sums = np.bincount(bins, weights=spectrum.ravel(), minlength=_BINS + 1)[:_BINS]
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.asarray(np.maximum(means, _NOTHING))


def _spectrum(picture: RGB8, scale: float) -> RGB8:
    """Heat map of the logarithm of the power over seven decades.

    A square marks the frequencies that an LR picture can hold.
    """
    spectrum = np.fft.fftshift(power(picture))
    step = max(1, min(spectrum.shape) // _SIDE)
    rows, cols = (n // step for n in spectrum.shape)
    blocks = spectrum[: rows * step, : cols * step].reshape(rows, step, cols, step)
    values = np.log10(np.maximum(blocks.mean(axis=(1, 3)), _NOTHING))
    marked = heat_map(np.clip((values + 6) / 7, 0, 1))
    top, left = (round(n / 2 - n / 2 / scale) for n in (rows, cols))
    bottom, right = (min(n - 1, round(n / 2 + n / 2 / scale)) for n in (rows, cols))
    marked[[top, bottom], left : right + 1] = 255
    marked[top : bottom + 1, [left, right]] = 255
    return marked
