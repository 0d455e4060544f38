"""Degrade: HR photographs → LR pictures by MATLAB's bicubic imresize."""

from __future__ import annotations

from pathlib import Path

from liif.data.collection import open_collection
from liif.data.manifests import EVERYTHING, TAG, Bucket, Manifest, is_current, tag_of
from liif.images.crop import centre_crop, crop_to_multiple
from liif.images.imresize import imresize
from liif.images.png import write_png
from liif.system.errors import UserError
from liif.system.files import file_sha256, remove_stale_lock
from liif.system.progress import Progress


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

    names = [n for n in pictures.names if n in bucket]
    progress = Progress(f"degrading {source} ×1/{scale:g}", len(names), unit="pictures")
    manifest = {}
    for name in names:
        path = out / f"{name}.png"
        tag = tag_of("degrade", pictures.digest(name), scale, crop)
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
            write_png(path, imresize(hr, 1 / scale), text={TAG: tag})
        manifest[name] = file_sha256(path)
        progress.advance()
    return manifest
