"""Degrade: HR photographs → LR pictures by MATLAB's bicubic imresize."""

from __future__ import annotations

from pathlib import Path

from liif.data import manifests
from liif.data.collection import open_collection
from liif.data.manifests import EVERYTHING, Bucket, Manifest
from liif.images.crop import centre_crop, crop_to_multiple
from liif.images.imresize import imresize
from liif.images.png import write_png
from liif.system.errors import UserError


def degrade(
    source: Path,
    out: Path,
    *,
    scale: float,
    crop: int | None = None,
    truth: Path | None = None,
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
        Cut the centred square of this side out of each photograph first.
    truth
        Folder for the HR pictures from which LR was made.
    """
    pictures = open_collection(source)

    def make(name: str, path: Path) -> None:
        tag = manifests.tag_of("degrade", pictures.digest(name), scale, crop)
        truth_path = None if truth is None else truth / path.name
        if all(manifests.is_current(p, tag) for p in (path, truth_path) if p is not None):
            return
        hr = pictures.read(name)
        try:
            hr = crop_to_multiple(centre_crop(hr, crop), scale)
        except ValueError as error:
            raise UserError(f"{pictures.label(name)}: {error}") from None
        if truth_path is not None:
            write_png(truth_path, hr, text={manifests.TAG: tag})
        write_png(path, imresize(hr, 1 / scale), text={manifests.TAG: tag})

    names = [n for n in pictures.names if n in bucket]
    return manifests.make_all(
        f"degrading {source} ×1/{scale:g}", names, lambda name: out / f"{name}.png", make
    )
