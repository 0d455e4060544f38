"""Downloading: URLs → checked files, resumed after any interruption."""

from __future__ import annotations

import errno
import shutil
import time
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import requests

from liif.system.errors import UserError
from liif.system.files import atomic_write, cannot_write, file_sha256
from liif.system.progress import duration, log
from liif.system.redact import redact

TIMEOUT = (15, 60)
"""Seconds to connect, and between two pieces of data."""
TRIES = 4
"""At each URL without a byte coming."""
_LARGEST = 16 << 30
"""Bytes of any file; a server that sends more shall not fill the disk."""
_UNREACHABLE = "no connection; is the network reachable?"
_PAUSE = 2.0
"""Seconds before the second try; doubled for each further one."""


class Archive(NamedTuple):
    """A published file."""

    urls: tuple[str, ...]
    """Where it is, best first."""
    size: int
    """In bytes."""
    sha256: str
    md5: str = ""
    """DVC's."""


def _div2k(name: str, size: int, sha256: str, md5: str) -> Archive:
    return Archive(
        (
            f"https://data.vision.ee.ethz.ch/cvl/DIV2K/{name}.zip",
            f"https://huggingface.co/datasets/goodfellowliu/DIV2K/resolve/main/{name}.zip",
        ),
        size,
        sha256,
        md5,
    )


ARCHIVES = {
    "DIV2K_train_HR": _div2k(
        "DIV2K_train_HR",
        3530603713,
        "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
        "bdc2d9338d4e574fe81bf7d158758658",
    ),
    "DIV2K_valid_HR": _div2k(
        "DIV2K_valid_HR",
        448993893,
        "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
        "9fcdda83005c5e5997799b69f955ff88",
    ),
}
LICENCE = (
    "DIV2K (Agustsson and Timofte, CVPRW 2017) is for academic research only; "
    "the copyright stays with the photographers."
)
PHOTOGRAPHS = Path(__file__).parents[1] / "assets" / "photos"
"""The bundled photographs: train, valid, test."""


def download(name: str, archive: Archive, out: Path, partial: Path) -> None:
    """Download one of DIV2K's archives, unless it is there and right.

    `partial` is the folder for what is not finished; `out` only ever holds the whole file.

    Raises
    ------
    UserError
        No URL answers with the right file, or the disk has no room for it.
    """
    if out.exists():
        verify(out, archive)
        log(f"{out}: is there and has the published checksum")
        return
    log(LICENCE)
    have = _part(partial, archive.sha256)
    missing = archive.size - (have.stat().st_size if have.exists() else 0)
    free = shutil.disk_usage(_existing(partial)).free
    log(
        f"{name}: {missing / 1e9:.2f} GB to download, {free / 1e9:.1f} GB free on this disk; "
        f"the workflow needs about twice the archive's {archive.size / 1e9:.2f} GB more for pixels"
    )
    try:
        fetch(archive.urls, out, partial, digest=archive.sha256, size=archive.size)
    except NotToBeHad as error:
        raise UserError(
            f"{error}. Put the file at {out} by hand if you have it, "
            "use photographs of your own (`data:` in the configuration), or try `make demo`"
        ) from None


def how_to_record(folder: Path, project: Path) -> str:
    """What to do with the downloaded archives, where DVC keeps their versions."""
    pinned = project / "data.dvc"
    if not pinned.is_file() or not all((folder / f"{name}.zip").is_file() for name in ARCHIVES):
        return ""
    return (
        f"{folder}: to take both archives into DVC's cache (a second copy of 4 GB): "
        "dvc commit -f data.dvc. Before that, `dvc checkout -f` would delete them."
    )


def verify(path: Path, archive: Archive) -> None:
    """Refuse a file that is not the published one, saying what differs."""
    size = path.stat().st_size
    if size != archive.size:
        raise UserError(
            f"{path}: has {size} bytes, the published archive {archive.size}; "
            "it was cut short or is another file: remove it and download it again"
        )
    if file_sha256(path) != archive.sha256:
        raise UserError(f"{path}: has not the published checksum: remove it and download it again")


def fetch(
    urls: tuple[str, ...], out: Path, partial: Path, *, digest: str, size: int | None = None
) -> None:
    """Fetch a file from the first URL that gives it, going on where an earlier try stopped.

    Parameters
    ----------
    digest
        The file's sha256, or what of its beginning is known; nothing of it leaves only the
        connection to trust.

    Raises
    ------
    NotToBeHad
        No URL gave a file with that sha256; the reasons are listed.
    UserError
        It cannot be written.
    """
    partial.mkdir(parents=True, exist_ok=True)
    part = _part(partial, digest or sha256(urls[0].encode()).hexdigest())
    reasons = []
    for url in urls:
        try:
            _persist(url, part, size)
            _finish(part, out, digest)
            return
        except _Useless as error:
            reasons.append(f"{redact(url)}: {error}")
        except OSError as error:
            raise cannot_write(part, error) from None
    raise NotToBeHad(f"{out.name} could not be downloaded ({'; '.join(reasons)})")


def _persist(url: str, part: Path, size: int | None) -> None:
    """Complete the unfinished file, trying again as long as some of it comes."""
    failures, have = 0, -1
    while True:
        try:
            _append(url, part, size)
            return
        except (requests.RequestException, _Retry) as error:
            reason = _plain(error)
            unreachable = reason == _UNREACHABLE
        before, have = have, part.stat().st_size if part.exists() else 0
        # Where nothing answers at all, the user should hear of it soon.
        failures = 1 if have > before >= 0 else failures + (2 if unreachable else 1)
        if failures >= TRIES:
            raise _Useless(reason)
        log(f"{redact(url)}: {reason}; again")
        time.sleep(_PAUSE * 2 ** (failures - 1))


class NotToBeHad(UserError):
    """No address gave the file; the reasons are listed."""


class _Useless(Exception):
    """This URL does not have the file."""


class _Retry(Exception):
    """It may come at the next try."""


def _part(partial: Path, digest: str) -> Path:
    """The unfinished file; by its hash, so that another version never continues it."""
    return partial / f"{digest[:16]}.part"


def _append(url: str, part: Path, size: int | None) -> None:
    """Add what is missing to the unfinished file."""
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have == size:
        return  # whole already; its checksum decides
    if size is not None and have > size:
        part.unlink()
        have = 0
    headers = (
        {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
        if have
        else {"Accept-Encoding": "identity"}
    )
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:
            part.unlink()
            raise _Retry("the server has fewer bytes than were downloaded; starting anew")
        if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
            raise _Retry(f"answered {answer.status_code} {answer.reason}")
        if answer.status_code not in (200, 206):
            raise _Useless(f"answered {answer.status_code} {answer.reason}")
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise _Useless("answered with a web page, not with the file")
        if answer.status_code == 200:
            have = 0  # the server cannot resume
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise _Retry("answered with another range; starting anew")
        length = answer.headers.get("Content-Length")
        if length is not None and not length.isdecimal():
            raise _Useless(f"says that it has {length!r} bytes")
        total = have + int(length) if length is not None else size
        if size is not None and total != size:
            raise _Useless(f"offers {total} bytes instead of {size}")
        if total is not None and total > _LARGEST:
            raise _Useless(f"offers {total} bytes, more than any such file has")
        _write(answer, part, have, total)
    if total is not None and part.stat().st_size < total:
        raise _Retry(f"the connection ended at {part.stat().st_size} of {total} bytes")


def _write(answer: requests.Response, part: Path, have: int, total: int | None) -> None:
    start, shown, begun = time.monotonic(), 5.0, have
    with part.open("ab" if have else "wb") as file:
        for block in answer.iter_content(1 << 16):
            file.write(block)
            have += len(block)
            if have > (total or _LARGEST):
                raise _Useless("sends more than it should")
            elapsed = time.monotonic() - start
            if elapsed >= shown and total:
                speed = (have - begun) / elapsed
                log(
                    f"{part.name}: {have / 1e6:.0f} of {total / 1e6:.0f} MB, "
                    f"{speed / 1e6:.1f} MB/s, {duration((total - have) / speed)} left"
                )
                shown = elapsed + min(60, max(5, elapsed / 5))


def _finish(part: Path, out: Path, digest: str) -> None:
    """Give the file its name if it is the right one; else begin anew."""
    if not file_sha256(part).startswith(digest):
        part.unlink()
        raise _Useless("the file has another checksum than the published one")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.replace(out)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_write(out) as copy:  # on another file system; whole there, too
            shutil.copyfile(part, copy)
        part.unlink()


def _plain(error: Exception) -> str:
    """A network error without the layers of libraries around it."""
    if isinstance(error, requests.ConnectTimeout | requests.ReadTimeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate cannot be trusted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let it through"
    if isinstance(error, requests.ConnectionError):
        timed_out = "timed out" in str(error)
        return "no answer in time" if timed_out else _UNREACHABLE
    return redact(str(error)) or type(error).__name__


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def copy_photographs(out: Path) -> None:
    """Copy the bundled photographs to `out/{train,valid,test}`; what is there stays as it is."""
    for source in sorted(PHOTOGRAPHS.rglob("*.*")):
        target = out / source.relative_to(PHOTOGRAPHS)
        if not target.exists():
            with atomic_write(target) as part:
                shutil.copyfile(source, part)
