"""The report's viewer for any pictures, in one file."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from math import inf, prod
from pathlib import Path

from PIL import Image

from liif.data.collection import Collection, open_collection
from liif.images.metrics import quality
from liif.images.read import Picture, read_picture
from liif.report import render
from liif.report.render import Score, Shown
from liif.report.translations import both
from liif.system.errors import UserError

MOST_BYTES = 100_000_000
"""Size of all pictures together, above which browsers become slow."""
_SHOWN_BY_BROWSERS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


def compare(inputs: Iterable[Path], out: Path, truth: Path | None = None) -> Path:
    """Write a self-contained page that compares pictures.

    `inputs` are versions of one picture; or folders and archives, of which the page shows the
    pictures that all of them have. `truth`, which may be one of them, is the reference for
    differences and for PSNR and SSIM (RGB, no border).
    """
    paths = [*inputs] if truth is None or truth in inputs else [*inputs, truth]
    if len(paths) < 2:
        raise UserError("pass at least two pictures, or two folders of them, to compare")
    sets = dict(zip(_labels(paths), map(open_collection, paths), strict=True))
    single = {s.kind == "picture" for s in sets.values()}
    if len(single) > 1:
        raise UserError("pass either pictures or folders of them, not both")
    reference = None if truth is None else list(sets)[paths.index(truth)]
    if single == {True}:
        title = " / ".join(dict.fromkeys(s.names[0] for s in sets.values()))
        pictures = {title: {key: (s, s.names[0]) for key, s in sets.items()}}
    else:
        names = sorted(set.intersection(*(set(s.names) for s in sets.values())))
        if not names:
            raise UserError(f"{', '.join(map(str, paths))}: have no picture name in common")
        pictures = {name: {key: (s, name) for key, s in sets.items()} for name in names}
    shown, total = [], 0
    for name, files in pictures.items():
        shown.append(_picture(files, name, reference))
        total += sum(map(len, shown[-1]["files"].values()))
        if total > MOST_BYTES:
            raise UserError(
                f"the first {len(shown)} pictures alone take {total / 1e6:.0f} MB, more than the "
                f"{MOST_BYTES / 1e6:.0f} MB that a page can hold; pass fewer or smaller ones"
            )
    render.write(
        out,
        "compare.html",
        title=both("compare_title"),
        versions=[{"key": key, "label": key} for key in sets],
        pictures=shown,
        truth=reference,
        baseline=None,
    )
    return out


def _labels(paths: list[Path]) -> list[str]:
    """Names of the inputs, with as much of the path as needed to tell them apart."""
    for depth in range(1, 1 + max(len(p.absolute().parts) for p in paths)):
        labels = ["/".join(p.absolute().parts[-depth:]) for p in paths]
        if max(Counter(labels).values()) == 1:
            return labels
    raise UserError(f"{paths[0]}: is passed twice")


def _picture(files: dict[str, tuple[Collection, str]], name: str, truth: str | None) -> Shown:
    """A picture with all its versions as data URLs."""
    urls, pixels = {}, {}
    for key, (pictures, member) in files.items():
        data, label = pictures.data(member), pictures.label(member)
        picture = read_picture(BytesIO(data), label)
        urls[key] = _url(data, label, picture)
        pixels[key] = picture.rgb  # upright, as browsers show it
    found: dict[str, Score] = {}
    for key, rgb in pixels.items():
        if truth is not None and key != truth and rgb.shape == pixels[truth].shape:
            psnr, ssim = quality(pixels[truth], rgb, channel="rgb", border=0)
            found[key] = None if psnr == inf else psnr, ssim
    rows, cols, _ = max((rgb.shape for rgb in pixels.values()), key=prod)
    return Shown(
        name=name,
        rows=rows,
        cols=cols,
        thumb=render.thumbnail(list(pixels.values())[-1]),
        files=urls,
        quality=found,
    )


def _url(data: bytes, label: str, picture: Picture) -> str:
    """The file itself if browsers show it, else a PNG of it."""
    kind = _SHOWN_BY_BROWSERS.get(Path(label).suffix.lower())
    if kind is None:
        png = BytesIO()
        grey = picture.pixels.shape[2] <= 2
        icc = None if grey else picture.metadata.icc
        Image.fromarray(picture.rgb).save(png, format="PNG", icc_profile=icc)
        kind, data = "png", png.getvalue()
    return f"data:image/{kind};base64,{b64encode(data).decode()}"
