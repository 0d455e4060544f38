"""Degrade: HR photographs → LR pictures by MATLAB's bicubic imresize, and further degradations."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np

from liif.config import Case
from liif.data.collection import open_collection
from liif.data.manifests import EVERYTHING, TAG, Bucket, Manifest, is_current, tag_of
from liif.images.crop import centre_crop, crop_to_multiple
from liif.images.degradations import add_noise, blur, compress
from liif.images.imresize import imresize
from liif.images.pixels import RGB8
from liif.images.png import write_png
from liif.system.errors import UserError
from liif.system.files import file_sha256, remove_stale_lock
from liif.system.progress import Progress


def parse_set(name: str) -> tuple[str, str]:
    """A set and its case: `valid-jpeg75` → valid, jpeg75; no case for other names."""
    clean, _, case = name.partition("-")
    return (clean, case) if clean in ("valid", "test") else (name, "")


def degraded(hr: RGB8, scale: float, case: Case, name: str) -> RGB8:
    """The LR picture of an HR picture: blurred, downscaled by imresize, with noise, as JPEG.

    Parameters
    ----------
    hr : (H, W, 3), uint8
    scale
        LR is 1/scale of HR: ceil(H / scale) rows and ceil(W / scale) columns.
    case
        Strengths of the degradations; those that are None are left out.
    name
        The picture's name, which seeds the noise together with the LR size: equal in all cases and
        on all machines, apart from its strength.
    """
    lr = imresize(hr if case.blur is None else blur(hr, case.blur * scale), 1 / scale)
    if case.noise is not None:
        seed = int.from_bytes(sha256(name.encode()).digest())
        lr = add_noise(lr, case.noise, np.random.default_rng(seed))
    return lr if case.jpeg is None else compress(lr, case.jpeg)


def degrade(
    source: Path,
    out: Path,
    *,
    scale: float,
    crop: int | None = None,
    truth: Path | None = None,
    case: Case | None = None,
    bucket: Bucket = EVERYTHING,
) -> Manifest:
    """Make the LR set of a folder or an archive of HR photographs.

    Parameters
    ----------
    out
        Folder for the LR pictures, named after their photographs.
    scale
        LR is 1/scale of HR. For a whole number, HR is first cropped (top left kept) to a
        multiple of it.
    crop
        Side of the centred square to which each photograph is cropped first.
    truth
        Folder for the HR pictures from which LR was made.
    case
        Degradations besides downscaling.
    """
    pictures = open_collection(source)

    names = [n for n in pictures.names if n in bucket]
    progress = Progress(f"degrading {source} ×1/{scale:g}", len(names), unit="pictures")
    manifest = {}
    for name in names:
        path = out / f"{name}.png"
        more = [] if case is None else [case.model_dump_json()]
        tag = tag_of("degrade", pictures.digest(name), scale, crop, *more)
        files = [path] if truth is None else [path, truth / path.name]
        if all(is_current(file, tag) for file in files):
            for file in files:
                remove_stale_lock(file)
        else:
            hr = pictures.read(name)
            try:
                hr = crop_to_multiple(centre_crop(hr, crop), scale)
            except ValueError as error:
                raise UserError(f"{pictures.label(name)}: {error}") from None
            for file in files[1:]:
                write_png(file, hr, text={TAG: tag})
            lr = imresize(hr, 1 / scale) if case is None else degraded(hr, scale, case, name)
            write_png(path, lr, text={TAG: tag})
        manifest[name] = file_sha256(path)
        progress.advance()
    return manifest
