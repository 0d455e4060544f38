"""Which version of the data a rule reads: a fingerprint of contents, not of times."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import yaml

from liif.download import ARCHIVES
from liif.files import file_sha256, write_json


def fingerprint(path: Path, cache: Path) -> str:
    """The hash of a file's bytes, or of all files below a folder with their names.

    A file that has not changed by size, times and inode since `cache` was written is not read
    again. DIV2K's archives have their published hash before they are there, so that downloading
    them changes nothing; anything else that is missing has the version "missing".
    """
    try:
        known: dict[str, list[object]] = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    before = dict(known)
    result = _of(path, known)
    if known != before:
        write_json(cache, known)
    return result


def data_version(project: Path) -> str:
    """The version of the data that DVC has recorded (its md5), or `unknown`."""
    try:
        (out,) = yaml.safe_load((project / "data.dvc").read_text(encoding="utf-8"))["outs"]
        return str(out["md5"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return "unknown"


def _of(path: Path, known: dict[str, list[object]]) -> str:
    if path.is_dir():
        digest = sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            name = file.relative_to(path).as_posix()
            if not any(part.startswith(".") for part in Path(name).parts):
                digest.update(f"{name}\0{_of_file(file, known)}\n".encode())
        return digest.hexdigest()
    if path.is_file():
        return _of_file(path, known)
    archive = ARCHIVES.get(path.stem) if path.suffix == ".zip" else None
    return archive.sha256 if archive is not None else "missing"


def _of_file(path: Path, known: dict[str, list[object]]) -> str:
    stat = path.stat()
    state: list[object] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    key = str(path)
    if key not in known or known[key][:-1] != state:
        known[key] = [*state, file_sha256(path)]
    return str(known[key][-1])
