"""DIV2K: where its archives are published, and their checksums."""

from __future__ import annotations

from typing import NamedTuple

LICENCE = (
    "DIV2K (Agustsson and Timofte, CVPRW 2017) is for academic research only; "
    "the copyright stays with the photographers."
)


class Archive(NamedTuple):
    """A published file."""

    urls: tuple[str, ...]
    """Its mirrors, in order of preference."""
    size: int
    """Size in bytes."""
    sha256: str
    md5: str = ""
    """The md5 that DVC records."""


def _archive(name: str, size: int, sha256: str, md5: str) -> Archive:
    urls = (
        f"https://data.vision.ee.ethz.ch/cvl/DIV2K/{name}.zip",
        f"https://huggingface.co/datasets/goodfellowliu/DIV2K/resolve/main/{name}.zip",
    )
    return Archive(urls, size, sha256, md5)


ARCHIVES = {
    "DIV2K_train_HR": _archive(
        "DIV2K_train_HR",
        3530603713,
        "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
        "bdc2d9338d4e574fe81bf7d158758658",
    ),
    "DIV2K_valid_HR": _archive(
        "DIV2K_valid_HR",
        448993893,
        "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
        "9fcdda83005c5e5997799b69f955ff88",
    ),
}
