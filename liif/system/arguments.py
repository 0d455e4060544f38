"""Checks of arguments; each error names the argument and its value."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from PIL import Image

_SHOWN = 60
"""Longest value in a message, in characters."""


def number(name: str, value: object, *, others: str = "") -> float:
    """A finite number; `others` names in the message what else is allowed."""
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.integer | np.floating
    ):
        raise TypeError(f"`{name}` must be a number{others}, not {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    if not isfinite(found):
        raise ValueError(f"`{name}` (={shown(value)}) must be a finite number")
    return found


def size(name: str, value: object) -> tuple[int, int]:
    """Rows and columns, both at least 1, from any pair of whole numbers."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | np.ndarray):
        raise TypeError(f"`{name}` must be two whole numbers (rows, columns), not {shown(value)}")
    if len(np.shape(value)) != 1 or len(value) != 2 or not all(map(_is_whole, value)):
        raise ValueError(f"`{name}` (={shown(value)}) must be two whole numbers (rows, columns)")
    rows, cols = (int(n) for n in value)
    if rows < 1 or cols < 1:
        raise ValueError(f"`{name}` (={shown(value)}) must be two positive whole numbers")
    return rows, cols


def switch(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False, not {shown(value)}")
    return bool(value)


def max_memory(value: object) -> int | None:
    """A number of bytes from 0 up, or None."""
    if value is None:
        return None
    if not _is_whole(value):
        raise TypeError(f"`max_memory` (={shown(value)}) must be a whole number of bytes")
    bytes_ = int(value)  # type: ignore[call-overload]
    if bytes_ < 0:
        raise ValueError(f"`max_memory` (={bytes_}) must not be below 0")
    return int(bytes_)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A value for a message; only its type if that says more."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return str(value.tolist()) if value.size <= 4 else f"an array of {value.shape}"
    if isinstance(value, Image.Image) or not isinstance(value, int | float | str | tuple | list):
        return type(value).__name__
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({type(value).__name__})"
