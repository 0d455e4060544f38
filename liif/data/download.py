"""Download: DIV2K's archives, checked and resumable; and the bundled photographs."""

from __future__ import annotations

import shutil
from pathlib import Path

from liif.data.div2k import ARCHIVES, LICENCE, Archive
from liif.system.errors import UserError
from liif.system.files import atomic_write, file_sha256
from liif.system.http import DownloadFailed, fetch, partial_file
from liif.system.progress import log

PHOTOGRAPHS = Path(__file__).parents[1] / "assets" / "photos"
"""The bundled photographs: train, valid, test."""


def download(name: str, archive: Archive, out: Path, partial: Path) -> None:
    """Download one of DIV2K's archives, or verify the one that exists.

    `partial` is the folder of the unfinished file; `out` only ever holds the complete one.
    """
    if out.exists():
        size = out.stat().st_size
        if size != archive.size:
            raise UserError(
                f"{out}: has {size} bytes, the published archive {archive.size}; "
                "it was truncated or is another file: remove it and download it again"
            )
        if file_sha256(out) != archive.sha256:
            raise UserError(
                f"{out}: differs from the published checksum; remove it and download it again"
            )
        log(f"{out}: exists and has the published checksum")
        return
    log(LICENCE)
    partial.mkdir(parents=True, exist_ok=True)
    part = partial_file(partial, archive.sha256)
    missing = archive.size - (part.stat().st_size if part.exists() else 0)
    log(
        f"{name}: {missing / 1e9:.2f} GB to download, {shutil.disk_usage(partial).free / 1e9:.1f} "
        "GB free on this disk; the workflow needs about twice the archive's "
        f"{archive.size / 1e9:.2f} GB more for pixels"
    )
    try:
        fetch(archive.urls, out, partial, digest=archive.sha256, size=archive.size)
    except DownloadFailed as error:
        raise UserError(
            f"{error}. Put the file at {out} yourself if you have it, "
            "use photographs of your own (`data:` in the configuration), or try `make demo`"
        ) from None


def how_to_record(folder: Path, project: Path) -> str:
    """A hint on recording the downloaded archives, if the project pins its data with DVC."""
    pinned = project / "data.dvc"
    if not pinned.is_file() or not all((folder / f"{name}.zip").is_file() for name in ARCHIVES):
        return ""
    return (
        f"{folder}: to add both archives to DVC's cache (a second copy of 4 GB): "
        "dvc commit -f data.dvc. Before that, `dvc checkout -f` would delete them."
    )


def copy_photographs(out: Path) -> None:
    """Copy the bundled photographs to `out/{train,valid,test}`; existing files are kept."""
    for source in sorted(PHOTOGRAPHS.rglob("*.*")):
        target = out / source.relative_to(PHOTOGRAPHS)
        if not target.exists():
            with atomic_write(target) as part:
                shutil.copyfile(source, part)
