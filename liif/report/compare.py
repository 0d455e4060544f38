"""Comparing: the report's viewer on any pictures, in one file."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from PIL import Image

from liif.data.collection import Collection, OneFile, open_collection
from liif.images.metrics import quality
from liif.images.read import read_picture
from liif.report import render as page
from liif.report.render import Shown, Version
from liif.report.translations import both
from liif.system.errors import UserError

MOST_BYTES = 100_000_000
"""Of all pictures together; browsers become slow above."""
_SHOWN_BY_BROWSERS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


def compare(inputs: Iterable[Path], out: Path, truth: Path | None = None) -> Path:
    """Write a page that shows pictures against each other; it needs no other file.

    Parameters
    ----------
    inputs
        Pictures, each a version of the same; or folders and archives, each with a version of
        every picture, of which those are shown that all have.
    truth
        One of the inputs: PSNR and SSIM (RGB, no border) and differences are taken to it.

    Raises
    ------
    UserError
        Fewer than two inputs, pictures mixed with folders, no name in common, an unreadable
        picture, or more than a page can hold.
    """
    paths = [*inputs] if truth is None or truth in inputs else [*inputs, truth]
    if len(paths) < 2:
        raise UserError("give at least two pictures, or two folders of them, to compare")
    sets = dict(zip(_labels(paths), map(open_collection, paths), strict=True))
    alone = {isinstance(s, OneFile) for s in sets.values()}
    if len(alone) > 1:
        raise UserError("give either pictures or folders of them, not both")
    key_of_truth = None if truth is None else list(sets)[paths.index(truth)]
    if alone == {True}:
        shown = [_picture({k: (s, s.names[0]) for k, s in sets.items()}, "", key_of_truth)]
        shown[0].name = " / ".join(dict.fromkeys(s.names[0] for s in sets.values()))
    else:
        names = sorted(set.intersection(*(set(s.names) for s in sets.values())))
        if not names:
            raise UserError(f"{', '.join(map(str, paths))}: have no picture's name in common")
        shown = []
        for name in names:
            shown.append(_picture({k: (s, name) for k, s in sets.items()}, name, key_of_truth))
            _require_room(shown)
    _require_room(shown)
    versions = [Version(key=key, label=key) for key in sets]
    title = both("compare_title")
    page.write(
        out,
        "compare.html",
        title=title,
        versions=versions,
        pictures=shown,
        truth=key_of_truth,
        baseline=None,
    )
    return out


def _require_room(shown: list[Shown]) -> None:
    total = sum(len(address) for picture in shown for address in picture.files.values())
    if total > MOST_BYTES:
        raise UserError(
            f"the first {len(shown)} pictures alone take {total / 1e6:.0f} MB, more than the "
            f"{MOST_BYTES / 1e6:.0f} MB that a page can hold; give fewer or smaller ones"
        )


def _labels(paths: list[Path]) -> list[str]:
    """What to call the inputs: their names, with as much of the path as tells them apart."""
    for depth in range(1, 1 + max(len(p.absolute().parts) for p in paths)):
        labels = ["/".join(p.absolute().parts[-depth:]) for p in paths]
        if max(Counter(labels).values()) == 1:
            return labels
    raise UserError(f"{paths[0]}: is given twice")


def _picture(files: dict[str, tuple[Collection, str]], name: str, truth: str | None) -> Shown:
    """A picture with all its versions in the page."""
    addresses, sizes, thumb = {}, {}, ""
    for key, (pictures, member) in files.items():
        data = pictures.data(member)
        label = pictures.label(member)
        rgb = read_picture(BytesIO(data), label).rgb  # upright, as browsers show it
        addresses[key] = _address(data, label)
        sizes[key] = rgb.shape[0], rgb.shape[1]
        thumb = page.thumbnail(rgb)
    rows, cols = max(sizes.values(), key=lambda size: size[0] * size[1])
    found: dict[str, tuple[float | None, float | None]] = {}
    if truth is not None:
        exact = files[truth][0].read(files[truth][1])
        for key, (pictures, member) in files.items():
            if key != truth and sizes[key] == sizes[truth]:
                measured = quality(exact, pictures.read(member), channel="rgb", border=0)
                psnr = None if measured.psnr == float("inf") else measured.psnr
                found[key] = psnr, measured.ssim
    return Shown(name=name, rows=rows, cols=cols, thumb=thumb, files=addresses, quality=found)


def _address(data: bytes, label: str) -> str:
    """The file itself where browsers show it, else as PNG."""
    kind = _SHOWN_BY_BROWSERS.get(Path(label).suffix.lower())
    if kind is None:
        png = BytesIO()
        picture = read_picture(BytesIO(data), label)
        grey = picture.pixels.shape[2] <= 2
        icc = None if grey else picture.metadata.icc
        Image.fromarray(picture.rgb).save(png, format="PNG", icc_profile=icc)
        kind, data = "png", png.getvalue()
    return f"data:image/{kind};base64,{b64encode(data).decode()}"
