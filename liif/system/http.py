"""Downloads over HTTP: resumable, verified, from the first mirror that has the file."""

from __future__ import annotations

import errno
import shutil
from hashlib import sha256
from pathlib import Path
from time import sleep

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from liif.system.errors import UserError
from liif.system.files import atomic_write, cannot_write, file_sha256
from liif.system.progress import Progress, log
from liif.system.redact import redact

TIMEOUT = (15, 60)
"""Seconds to connect, and between two blocks of data."""
RETRY = Retry(
    total=3,
    connect=2,  # report a missing network soon
    status_forcelist=(408, 425, 429, *range(500, 600)),
    backoff_factor=2,
    raise_on_status=False,
    respect_retry_after_header=False,  # the next mirror may answer sooner
)
"""Retries of requests that fail before any data arrives."""
_TRIES = 4
"""Interruptions in a row without new data before the next mirror is tried."""
_LARGEST = 16 << 30
"""Largest size of a file in bytes, so that no server fills the disk."""
_REASONS = {
    requests.Timeout: "no answer in time",
    requests.exceptions.ChunkedEncodingError: "the connection was cut",
    requests.exceptions.SSLError: "its certificate cannot be trusted",
    requests.exceptions.ProxyError: "the proxy refuses the connection",
    requests.ConnectionError: "no connection; is the network reachable?",
}


class DownloadFailed(UserError):
    """No mirror delivered the file; the message lists why."""


class _Unusable(Exception):
    """This mirror does not have the file."""


def fetch(
    urls: tuple[str, ...], out: Path, partial: Path, *, digest: str, size: int | None = None
) -> None:
    """Download a file from the first mirror that delivers it, resuming an earlier attempt.

    `partial` is the folder of the unfinished file; `out` only ever holds the complete one. `digest`
    is the file's sha256 or the beginning of it; empty if none was published.
    """
    partial.mkdir(parents=True, exist_ok=True)
    part = partial_file(partial, digest or sha256(urls[0].encode()).hexdigest())
    reasons = []
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=RETRY))
        for url in urls:
            try:
                _complete(session, url, part, size)
                return _move(part, out, digest)
            except _Unusable as error:
                reasons.append(f"{redact(url)}: {error}")
            except OSError as error:
                raise cannot_write(part, error) from None
    raise DownloadFailed(f"{out.name} could not be downloaded ({'; '.join(reasons)})")


def partial_file(partial: Path, digest: str) -> Path:
    """The unfinished file, named by its hash, so that another version does not continue it."""
    return partial / f"{digest[:16]}.part"


def _complete(session: requests.Session, url: str, part: Path, size: int | None) -> None:
    """Request the missing bytes until the file is complete, while new ones arrive."""
    failures = 0
    while (have := _size(part)) != size:  # a file of the right size is left to its checksum
        try:
            return _request(session, url, part, size)
        except requests.RequestException as error:
            failures = 1 if _size(part) > have else failures + 1
            if failures == _TRIES:
                raise _Unusable(_reason(error)) from None
            log(f"{redact(url)}: {_reason(error)}; resuming")
            sleep(RETRY.backoff_factor * 2 ** (failures - 1))


def _request(session: requests.Session, url: str, part: Path, size: int | None) -> None:
    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.RequestException as error:  # retried already
        raise _Unusable(_reason(error)) from None
    with response:
        status, given = response.status_code, response.headers
        resumed = given.get("Content-Range", "").startswith(f"bytes {have}-")
        if status == 416 or (status == 206 and not resumed):
            part.unlink(missing_ok=True)
            raise requests.RequestException("the server's file has changed; starting over")
        if status not in (200, 206):
            raise _Unusable(f"answered {status} {response.reason}")
        if "text/html" in given.get("Content-Type", ""):
            raise _Unusable("answered with a web page instead of the file")
        if status == 200:
            have = 0  # the server does not support ranges
        length = given.get("Content-Length", "0")
        if not length.isdecimal():
            raise _Unusable(f"announces {length!r} bytes")
        total = have + int(length) if "Content-Length" in given else size
        if (size is not None and total != size) or (total or 0) > _LARGEST:
            raise _Unusable(f"offers {total} bytes instead of {size or f'up to {_LARGEST}'}")
        _append(response, part, have, total)
    if total is not None and _size(part) < total:
        raise requests.RequestException(f"the connection ended at {_size(part)} of {total} bytes")


def _append(response: requests.Response, part: Path, have: int, total: int | None) -> None:
    begun = have
    progress = Progress(part.name, ((total or have) - have) >> 20, unit="MiB", closing=False)
    with part.open("ab" if have else "wb") as file:
        for block in response.iter_content(1 << 16):
            have += len(block)
            if have > (total or _LARGEST):
                raise _Unusable("sends more than it announced")
            file.write(block)
            while total and progress.done < (have - begun) >> 20:
                progress.advance()


def _move(part: Path, out: Path, digest: str) -> None:
    """Give the file its final name, or delete it if its checksum is wrong."""
    if not file_sha256(part).startswith(digest):
        part.unlink()
        raise _Unusable("the checksum of the file is wrong")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.replace(out)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_write(out) as copy:  # on another file system
            shutil.copyfile(part, copy)
        part.unlink()


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: requests.RequestException) -> str:
    if "timed out" in str(error):
        return "no answer in time"
    found = (text for kind, text in _REASONS.items() if isinstance(error, kind))
    return next(found, redact(str(error)) or type(error).__name__)
