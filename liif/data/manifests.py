"""Jobs over many pictures: stable buckets, and tags that say what a picture was made from.

A job covers a bucket: the pictures whose names hash to its number, so that adding or removing a
picture changes no other bucket. Each picture carries a tag of everything it was made from, and is
skipped while that is current. A job's manifest lists the names and hashes of its pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from liif import RESULTS_VERSION
from liif.images.png import png_text
from liif.network import precision as precisions
from liif.system.errors import UserError
from liif.system.files import write_json

TAG = "liif"
"""The PNG text chunk that holds a picture's tag."""

Manifest = dict[str, str]
"""Name → sha256 of the picture's file."""


@dataclass(frozen=True)
class Bucket:
    """One of several buckets, counted from 0; by default everything."""

    number: int = 0
    of: int = 1

    def __contains__(self, name: str) -> bool:
        return int(sha256(name.encode()).hexdigest()[:8], 16) % self.of == self.number


EVERYTHING = Bucket()


def parse_bucket(text: str) -> Bucket:
    """A bucket from "0/4"."""
    try:
        number, of = (int(n) for n in text.split("/"))
    except ValueError:
        raise UserError(f"bucket `{text}` must look like 0/4") from None
    if not 0 <= number < of:
        raise UserError(f"bucket `{text}` must look like 0/4, the first number being less")
    return Bucket(number, of)


def tag_of(*parts: object) -> str:
    """A tag from everything that a picture is made from, and from the version of the results.

    Version 1 adds nothing, so that the tags of before count as its own.
    """
    version = [f"results {RESULTS_VERSION}"] if RESULTS_VERSION > 1 else []
    return sha256(json.dumps([*map(str, parts), *version]).encode()).hexdigest()


def is_current(path: Path, tag: str) -> bool:
    """Whether the picture exists and has that tag."""
    return path.is_file() and png_text(path).get(TAG) == tag


def write_manifest(
    path: Path,
    manifest: Manifest,
    *folders: Path,
    precision: str | None = None,
    back_projection: bool | None = None,
) -> None:
    """Write a manifest, the folders of its pictures, and how they were upscaled.

    Equal manifests are equal bytes.
    """
    how = {"precision": precision, "back_projection": back_projection}
    used = {key: value for key, value in how.items() if value is not None}
    write_json(path, {"pictures": manifest, "folders": sorted(map(str, folders)), **used})


def lost(root: Path) -> list[Path]:
    """The manifests below a folder whose pictures are not all there."""
    return [path for path in sorted(root.rglob("*.json")) if not _is_complete(path)]


def _is_complete(path: Path) -> bool:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        pictures = [Path(f) / f"{n}.png" for f in value["folders"] for n in value["pictures"]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return all(picture.is_file() for picture in pictures)


def read_manifests(paths: Iterable[Path]) -> Manifest:
    """The manifests of several buckets as one."""
    pictures: Manifest = {}
    for path in paths:
        pictures |= _read(path)["pictures"]
    return pictures


def precision_of(paths: Iterable[Path]) -> str | None:
    """The precision in which the pictures of several buckets were upscaled; None if unknown."""
    return precisions.joined(_read(path).get("precision") for path in paths)


def back_projection_of(paths: Iterable[Path]) -> bool | None:
    """Whether the pictures of several buckets were corrected by back-projection, if known."""
    return agreed(_read(path).get("back_projection") for path in paths)


def agreed(used: Iterable[bool | None]) -> bool | None:
    """The value on which several jobs agree; None if they differ or it is unknown."""
    found = set(used)
    return found.pop() if len(found) == 1 else None


def _read(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value["pictures"], dict):
            raise TypeError
    except FileNotFoundError:
        raise UserError(f"{path}: no such manifest") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: is not a manifest; delete it and rerun the command") from None
    return value


def bucket_files(paths: Iterable[Path], count: int) -> list[Path]:
    """The files, with each folder replaced by its buckets' files."""
    return [
        file
        for path in paths
        for file in ([path / f"{i}.json" for i in range(count)] if path.is_dir() else [path])
    ]
