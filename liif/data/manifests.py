"""Jobs over many pictures: stable buckets, pictures that know what they were made from.

A job covers a bucket, the pictures whose name hashes to its number, so that a picture that comes
or goes changes no other bucket. Each picture carries a tag of all it was made from; a picture
whose tag is current is skipped. What a job answers for is its manifest: names and hashes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from liif.images.png import png_text
from liif.system.errors import UserError
from liif.system.files import file_sha256, write_json
from liif.system.progress import Progress

TAG = "liif"
"""The PNG text chunk that holds a picture's tag."""

Manifest = dict[str, str]
"""Name → sha256 of the picture's file."""


@dataclass(frozen=True)
class Bucket:
    """One of several buckets, counted from 0."""

    number: int = 0
    of: int = 1

    def __contains__(self, name: str) -> bool:
        return int(sha256(name.encode()).hexdigest()[:8], 16) % self.of == self.number


EVERYTHING = Bucket()
"""The only bucket."""


def parse_bucket(text: str) -> Bucket:
    """A bucket from "0/4".

    Raises
    ------
    UserError
        The text is something else.
    """
    try:
        number, of = (int(n) for n in text.split("/"))
    except ValueError:
        raise UserError(f"bucket `{text}` must look like 0/4") from None
    if not 0 <= number < of:
        raise UserError(f"bucket `{text}` must look like 0/4, the first number being less")
    return Bucket(number, of)


def tag_of(*parts: object) -> str:
    """A tag from all that a picture is made from."""
    return sha256(json.dumps([str(p) for p in parts]).encode()).hexdigest()


def is_current(path: Path, tag: str) -> bool:
    """Whether the picture is there and was made from just this."""
    return path.is_file() and png_text(path).get(TAG) == tag


def make_all(
    title: str,
    names: Iterable[str],
    path_of: Callable[[str], Path],
    make: Callable[[str, Path], None],
) -> Manifest:
    """Make each picture, `make` skipping what is current, and return the manifest."""
    names = list(names)
    progress = Progress(title, len(names), unit="pictures")
    manifest = {}
    for name in names:
        make(name, path_of(name))
        manifest[name] = file_sha256(path_of(name))
        progress.advance()
    return manifest


def write_manifest(path: Path, manifest: Manifest, *folders: Path) -> None:
    """Write a manifest and where its pictures lie; equal ones are equal bytes."""
    write_json(path, {"pictures": manifest, "folders": sorted(str(f) for f in folders)})


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
    """The manifests of several buckets in one."""
    pictures: Manifest = {}
    for path in paths:
        try:
            pictures |= json.loads(path.read_text(encoding="utf-8"))["pictures"]
        except FileNotFoundError:
            raise UserError(f"{path}: no such manifest") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{path}: is no manifest; delete it and run the same again") from None
    return pictures


def bucket_files(paths: Iterable[Path], count: int) -> list[Path]:
    """Files as they are, and of each folder its buckets' files."""
    return [
        file
        for path in paths
        for file in ([path / f"{i}.json" for i in range(count)] if path.is_dir() else [path])
    ]
