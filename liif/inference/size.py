"""Size of the upscaled pictures, as asked for on the command line."""

from __future__ import annotations

from dataclasses import dataclass

from liif.images.imresize import target_size
from liif.system.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Size:
    """Either a scale, or width or height or both, in pixels."""

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    """A missing width or height follows from the picture's proportions."""

    @property
    def label(self) -> str:
        """The size in file names: x2.5, 1920x1080, w1920, h1080."""
        if self.scale is not None:
            return f"x{self.scale:g}"
        if self.width is not None and self.height is not None:
            return f"{self.width}x{self.height}"
        return f"w{self.width}" if self.width is not None else f"h{self.height}"

    def of(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Size (rows, cols) of the output for a picture of that shape (rows, cols)."""
        if self.scale is not None:
            return target_size(shape, self.scale)
        rows, cols = shape
        width = self.width or max(1, round((self.height or 0) * cols / rows))
        height = self.height or max(1, round(width * rows / cols))
        return target_size(shape, size=(height, width))


def parse_size(
    scale: float | None, size: str | None, width: int | None, height: int | None
) -> Size:
    """The size from the options of the command line; by default 8 times."""
    if (scale is not None) + (size is not None) + (width is not None or height is not None) > 1:
        raise UserError("pass only one of --scale, --size, and --width or --height")
    if size is not None:
        across, _, down = size.lower().replace("×", "x").partition("x")
        if not (across.isdecimal() and down.isdecimal() and int(across) and int(down)):
            raise UserError(f"size `{size}` must look like 1920x1080, width first")
        return Size(width=int(across), height=int(down))
    if width is not None or height is not None:
        return Size(width=width, height=height)
    return Size(scale=8 if scale is None else scale)
