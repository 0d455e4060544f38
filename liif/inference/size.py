"""How large enlarged pictures are to be."""

from __future__ import annotations

from dataclasses import dataclass

from liif.images.imresize import target_size
from liif.system.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the enlarged pictures are to be; just one of scale and the others is given."""

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    """Of width and height the missing one follows from the picture's proportions."""

    @property
    def label(self) -> str:
        """What file names say of it: x2.5, 1920x1080, w1920, h1080."""
        if self.scale is not None:
            return f"x{self.scale:g}"
        if self.width is not None and self.height is not None:
            return f"{self.width}x{self.height}"
        return f"w{self.width}" if self.width is not None else f"h{self.height}"

    def of(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of a picture of that shape (rows, cols), enlarged.

        Raises
        ------
        ValueError
            That would be less than there is.
        """
        if self.scale is not None:
            return target_size(shape, self.scale)
        rows, cols = shape
        width = self.width or max(1, round((self.height or 0) * cols / rows))
        height = self.height or max(1, round(width * rows / cols))
        return target_size(shape, size=(height, width))


def parse_size(
    scale: float | None, size: str | None, width: int | None, height: int | None
) -> Size:
    """How large from what the command line says; 8 times when it says nothing.

    Raises
    ------
    UserError
        Several are given that exclude each other, or a size that is none.
    """
    if (scale is not None) + (size is not None) + (width is not None or height is not None) > 1:
        raise UserError("give one of --scale, --size, and --width or --height")
    if size is not None:
        across, _, down = size.lower().replace("×", "x").partition("x")
        if not (across.isdecimal() and down.isdecimal() and int(across) and int(down)):
            raise UserError(f"size `{size}` must look like 1920x1080, width first")
        return Size(width=int(across), height=int(down))
    if width is not None or height is not None:
        return Size(width=width, height=height)
    return Size(scale=8 if scale is None else scale)
