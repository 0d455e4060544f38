"""Names that say where pictures go: of a picture, or of a folder."""

from __future__ import annotations

from mimetypes import MimeTypes
from pathlib import Path

from PIL import Image

from liif.images import write as writing
from liif.images.read import PICTURE_SUFFIXES
from liif.system.errors import UserError

_NO_FOLDERS = {".heic", ".heif", ".avif", ".jxl", ".dng", ".jp2"}
"""Endings that nobody gives a folder, beside those that Python and Pillow know."""
_KNOWN = MimeTypes()
"""Python's own endings, whatever the machine adds to them."""


def is_picture(path: Path) -> bool:
    """Whether the path names a picture, and is no folder of such a name."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir()


def require_place(out: Path) -> None:
    """Refuse what is neither a folder, nor could be one, nor a picture that can be written."""
    if out.is_dir():
        return
    if str(out) == "-":
        raise UserError("-: pictures are not written to the standard output; give a file or folder")
    suffix = out.suffix.lower()
    if suffix in PICTURE_SUFFIXES or suffix in Image.registered_extensions():
        writing.format_of(out)
    elif out.exists() and not out.is_dir():  # another process may just have made it
        raise UserError(f"{out}: is a file; give a folder, or a picture's name ({_endings()})")
    elif suffix in _NO_FOLDERS or any(_KNOWN.guess_type(out.name)):
        raise UserError(
            f"{out}: is no name of a picture that can be written ({_endings()}); if it is to be a "
            "folder, make it first"
        )


def _endings() -> str:
    return " ".join(writing.FORMATS)


def counted(number: int, what: str) -> str:
    """A number of things: 1 picture, 2 pictures."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
