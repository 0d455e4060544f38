"""Collect: Debian packages, or photographs of one's own → clean photographs to train on.

Every photograph is downscaled so that no compression blocks remain and its size suits training; the
bundled test and validation pictures are left out.
"""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from itertools import groupby
from math import sqrt
from pathlib import Path

from liif.data.collection import open_collection
from liif.data.deb import read_deb
from liif.data.manifests import TAG, is_current, tag_of
from liif.data.photographs import catalogue, credits_table, held_out
from liif.images.imresize import imresize
from liif.images.pixels import RGB8
from liif.images.png import png_text, write_png
from liif.images.read import read_picture
from liif.system.errors import PictureError, UserError
from liif.system.files import remove_stale_lock, write_text
from liif.system.progress import Progress, log

MAX_PIXELS = 4_000_000
"""Pixels to which larger photographs are downscaled."""
MIN_SIDE = 384
"""Smallest side, in pixels; smaller photographs are left out: 48×48 at ×8 needs as many."""
_CREDITS = """# Photographs

Downscaled by MATLAB's imresize to half their size, or to 4 megapixels. The changes are released
under the licence of each original.

"""


class LeftOut(PictureError):
    """A picture that is not to be trained on."""


def collect(source: Path, out: Path) -> None:
    """Collect the catalogue's photographs from a folder of .deb files, or those of any folder.

    Writes PNGs; finished ones are skipped. Nothing in the packages is executed. An empty folder is
    one of .deb files, of which all are missing.

    Raises
    ------
    UserError
        A package is missing, damaged or another version; pictures cannot be read, after all others
        are written; or no photograph remains.
    """
    if source.is_dir() and (any(source.glob("*.deb")) or not any(source.iterdir())):
        _from_packages(source, out)
    else:
        _from_pictures(source, out)


def _from_packages(folder: Path, out: Path) -> None:
    photographs = sorted(catalogue(), key=lambda p: p.package)
    wanted = [p for p in photographs if not _is_done(out, p.name, p.sha256)]
    found = {p.package: sorted(folder.glob(f"{p.package}_*.deb")) for p in wanted}
    if missing := " ".join(package for package, files in found.items() if not files):
        raise UserError(
            f"{folder}: packages are missing; run there, on Debian 12: apt-get download {missing}"
        )
    progress = Progress(f"collecting {folder}", len(wanted), unit="photographs")
    for package, group in groupby(wanted, key=lambda p: p.package):
        deb, entries = found[package][-1], {p.file: p for p in group}
        for file, data in read_deb(deb, entries):
            name, label = entries[file].name, f"{deb}: {file}"
            if sha256(data).hexdigest() != entries[file].sha256:
                raise UserError(
                    f"{label}: differs from the catalogue; download Debian 12's package"
                )
            _write(out, name, data, label)
            progress.advance()
    write_text(out / "CREDITS.md", _CREDITS + credits_table())
    _report(out, len(photographs))


def _from_pictures(source: Path, out: Path) -> None:
    pictures = open_collection(source)
    left_out, failed = 0, 0
    progress = Progress(f"collecting {source}", len(pictures.names), unit="pictures")
    for name in pictures.names:
        try:
            data = pictures.data(name)
            if not _is_done(out, name, sha256(data).hexdigest()):
                _write(out, name, data, pictures.label(name))
        except PictureError as error:
            log(f"{error}; left out")
            left_out += 1
            failed += not isinstance(error, LeftOut)
        progress.advance()
    if left_out == len(pictures.names):
        raise UserError(f"{source}: no photograph remains")
    _report(out, len(pictures.names) - left_out, left_out)
    if failed:
        raise UserError(f"{failed} of {len(pictures.names)} pictures failed")


def prepare(data: bytes, label: str) -> RGB8:
    """The photograph (H, W, 3) in a picture's file, downscaled to be clean.

    A JPEG, or a lossy WebP, is downscaled by 2; anything above 4 megapixels to at most 4; the
    larger factor counts, and both sides are rounded down. Transparency is dropped.

    Raises
    ------
    PictureError
        It cannot be read; as `LeftOut`, it is too small or is a bundled test or validation picture.
    """
    rgb = read_picture(BytesIO(data), label).rgb
    rows, cols = rgb.shape[:2]
    lossy = data.startswith(b"\xff\xd8") or (data[8:12] == b"WEBP" and b"VP8L" not in data)
    factor = max(2.0 if lossy else 1.0, sqrt(rows * cols / MAX_PIXELS))
    size = int(rows / factor), int(cols / factor)
    if min(size) < MIN_SIDE:
        shrunk = f", {size[1]}x{size[0]} when downscaled" if factor > 1 else ""
        raise LeftOut(f"{label}: has {cols}x{rows} pixels{shrunk}, less than {MIN_SIDE} on a side")
    if factor > 1:
        rgb = imresize(rgb, size)
    if (known := held_out(rgb)) is not None:
        raise LeftOut(f"{label}: shows the bundled picture {known}, reserved for evaluation")
    return rgb


def _write(out: Path, name: str, data: bytes, label: str) -> None:
    path = out / f"{name}.png"
    if path.exists() and TAG not in png_text(path):
        raise UserError(
            f"{path}: exists and was not made by this command; choose another folder, or remove it"
        )
    write_png(path, prepare(data, label), text={TAG: _tag(sha256(data).hexdigest())})


def _is_done(out: Path, name: str, digest: str) -> bool:
    path = out / f"{name}.png"
    done = is_current(path, _tag(digest))
    if done:
        remove_stale_lock(path)
    return done


def _tag(digest: str) -> str:
    return tag_of("collect", digest, MAX_PIXELS, MIN_SIDE)


def _report(out: Path, count: int, left_out: int = 0) -> None:
    others = f", {left_out} left out" if left_out else ""
    log(f"{out}: {count} photographs{others}; to pack them: liif pack {out} {out}.pack")
