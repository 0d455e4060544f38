"""Limits of what the server accepts, so that no request fills the disk or the memory."""

from __future__ import annotations

from dataclasses import dataclass

from liif.system.errors import UserError

PREVIEW_PIXELS = 1 << 23
"""Pixels of the largest picture that the page shows; larger ones are shown smaller."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server accepts."""

    upload: int = 128 << 20
    """Bytes of an uploaded file."""
    pixels: int = 50_000_000
    """Pixels of an uploaded picture."""
    output: int = 200_000_000
    """Pixels of an upscaled picture."""
    pictures: int = 60
    """Pictures kept at a time, of all tabs and requests."""
    waiting: int = 20
    """Jobs in the queue."""
    seconds: float = 120
    """Seconds for an upload to arrive, and for a picture to be read."""


class Refused(UserError):
    """A request that the server does not serve, with the status of its HTTP response."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def preview_factor(rows: int, cols: int) -> int:
    """The factor by which a picture of that size is downscaled for the page."""
    factor = 1
    while -(-rows // factor) * -(-cols // factor) > PREVIEW_PIXELS:
        factor += 1
    return factor


def preview_size(rows: int, cols: int) -> tuple[int, int]:
    """The size (rows, cols) at which the page shows a picture of that size."""
    factor = preview_factor(rows, cols)
    return -(-rows // factor), -(-cols // factor)


def megabytes(count: int) -> str:
    """A number of bytes for people: 128 MB."""
    return f"{count / 1e6:.0f} MB"
