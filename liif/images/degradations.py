"""Blur, noise and JPEG compression, as pictures from cameras and the web have them.

In the order of a camera: blur is in the scene before it is sampled, noise in the samples, and
compression comes last. Strengths are fixed here; `train.degrade` draws them from ranges.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from liif.images.pixels import RGB8


def blur(pixels: RGB8, sigma: float) -> RGB8:
    """Gaussian blur of (H, W, 3) with σ in pixels, cut off at 3σ.

    The border is symmetric with the edge pixel repeated, as in MATLAB's imresize.
    """
    smooth = gaussian_filter(
        pixels.astype(np.float32), (sigma, sigma, 0), mode="reflect", truncate=3
    )
    return np.rint(smooth).astype(np.uint8)


def add_noise(pixels: RGB8, sigma: float, rng: np.random.Generator) -> RGB8:
    """Add Gaussian noise with σ in grey levels, independent for every value; round and clip."""
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(sigma)
    return np.rint(pixels + noise).clip(0, 255).astype(np.uint8)


def compress(pixels: RGB8, quality: int) -> RGB8:
    """Compress (H, W, 3) as JPEG at a quality of 1..100, and decode it again.

    By libjpeg, with its integer arithmetic and 4:2:0 chroma subsampling, as most cameras do.
    """
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(buffer).convert("RGB"))
