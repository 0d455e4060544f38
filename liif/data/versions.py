"""Data versions: fingerprints of contents, not of modification times."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import md5, sha256
from pathlib import Path
from typing import NamedTuple

import yaml

from liif.data.div2k import ARCHIVES
from liif.system.errors import UserError
from liif.system.files import write_text

UNKNOWN = "unknown"
CACHE = Path("results/work/versions.json")
"""The file of the cache, within a project."""
Cache = dict[str, list[object]]
"""Absolute path → size, times and inode when the file was read, and its digests."""


class DataVersion(NamedTuple):
    """The version of a project's data folder, as DVC computes it; `unknown` without DVC."""

    actual: str
    """Version of the files that exist."""
    recorded: str
    """Version in `data.dvc`."""

    @property
    def matches(self) -> bool:
        """Whether the recorded data is there."""
        return self.actual == self.recorded

    @property
    def known(self) -> str | None:
        """The actual version, if known."""
        return None if self.actual == UNKNOWN else self.actual

    @property
    def warning(self) -> str:
        """A line for the user if the data differs from what is recorded; otherwise empty."""
        if self.matches:
            return ""
        return (
            f"the data is version {self.actual}, but data.dvc records {self.recorded}. To record "
            "what is there: dvc add data (dvc repro does so too). To get what is recorded: "
            "dvc checkout"
        )


def fingerprint(path: Path, cache: Path, *, store: bool = True) -> str:
    """The hash of a file's bytes, or of all files below a folder with their names.

    A file whose size, times and inode are those in `cache` is not read again. A DIV2K archive that
    is not downloaded yet has its published hash, so that downloading it changes nothing; anything
    else that is missing has the version "missing". Without `store` the cache is only read.
    """
    with _cached(cache, store=store) as known:
        if path.is_dir():
            digest = sha256()
            for name, file in _below(path):
                if not any(part.startswith(".") for part in Path(name).parts):
                    digest.update(f"{name}\0{_of_file(file, known)[1]}\n".encode())
            return digest.hexdigest()
        if path.is_file():
            return _of_file(path, known)[1]
    archive = ARCHIVES.get(path.stem) if path.suffix == ".zip" else None
    return archive.sha256 if archive is not None else "missing"


def data_version(project: Path, awaited: Iterable[Path] = ()) -> DataVersion:
    """The version of the folder that the project's `data.dvc` tracks.

    It is computed from the files that exist, as DVC does, so that no result is recorded under the
    version of other data. `awaited` are archives of DIV2K that count as if they were downloaded.
    """
    recorded, folder = _recorded(project)
    if folder is None:
        return DataVersion(UNKNOWN, UNKNOWN)
    ignored = _ignored(project)
    listed: dict[str, str] = {}
    with _cached(project / CACHE) as known:
        for name, file in _below(folder):
            if not ignored(file.relative_to(project).as_posix()):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    listed[name] = _of_file(file, known)[0]
    for path in awaited:
        archive = ARCHIVES.get(path.stem)
        if archive is not None and not path.exists() and path.parent == folder:
            listed[path.name] = archive.md5
    return DataVersion(dvc_folder_md5(listed) if listed else "missing", recorded)


def dvc_folder_md5(files: dict[str, str]) -> str:
    """DVC's version of a folder, from the md5 of each file by its path."""
    entries = [{"md5": digest, "relpath": name} for name, digest in sorted(files.items())]
    return f"{md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest()}.dir"


def _recorded(project: Path) -> tuple[str, Path | None]:
    """The version in `data.dvc`, and the folder; without git, DVC knows no versions."""
    above = [project, *project.parents]
    if not all(any((folder / name).exists() for folder in above) for name in (".git", ".dvc")):
        return UNKNOWN, None
    try:
        (out,) = yaml.safe_load((project / "data.dvc").read_text(encoding="utf-8"))["outs"]
        return str(out["md5"]), project / out["path"]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return UNKNOWN, None


def _ignored(project: Path) -> Callable[[str], bool]:
    """Which paths `.dvcignore` excludes; it has the syntax of `.gitignore`."""
    try:
        lines = (project / ".dvcignore").read_text(encoding="utf-8").splitlines()
    except OSError:
        return lambda _: False
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines).match_file


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files below a folder, with their relative paths."""
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield file.relative_to(folder).as_posix(), file


@contextmanager
def _cached(cache: Path, *, store: bool = True) -> Iterator[Cache]:
    """The cache, written back when it has changed, unless `store` is False."""
    try:
        known: Cache = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    before = dict(known)
    yield known
    if store and known != before:
        # Of several processes that write it at once one wins; a lost entry is computed again.
        with suppress(OSError, UserError):
            write_text(cache, json.dumps(known))


def _of_file(path: Path, known: Cache) -> tuple[str, str]:
    """Digests of a file: md5, which is DVC's, and sha256."""
    stat = path.stat()
    state: list[object] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    key = str(path.absolute())
    if key not in known or known[key][:-2] != state:
        known[key] = [*state, *digests(path)]
    first, second = map(str, known[key][-2:])
    return first, second


def digests(path: Path) -> tuple[str, str]:
    """The md5 and sha256 of a file, read once."""
    first, second = md5(usedforsecurity=False), sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            first.update(block)
            second.update(block)
    return first.hexdigest(), second.hexdigest()
