"""Turns what the validator found into one line for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from liif.system.redact import redact

_OF_KINDS = {"encoder", "schedule", "weights", "border"}
"""Keys whose value may be of several kinds; the location after them names the kind."""
_INTERNAL = re.compile(r"\[key\]$|constrained|literal|function")
"""Parts of the validator's locations that are about itself."""


def one_line(errors: list[Any], prefix: str, known_keys: Callable[[list[str]], list[str]]) -> str:
    """The error that is most to the point: where, what value, what is allowed.

    Parameters
    ----------
    errors
        As pydantic's ``ValidationError.errors()`` gives them.
    prefix
        The place in the configuration that their locations begin at.
    known_keys
        The keys that there are at a place.
    """
    # Of a value that may be of several kinds the deepest error is about the kind that was meant.
    error = max(errors, key=lambda e: len(e["loc"]))
    message = re.sub(r"^Value error, ", "", error["msg"])
    if message.startswith("configuration: "):
        return message  # already a line of ours, from further inside
    unknown = error["type"] == "extra_forbidden"
    location = [str(part) for part in error["loc"]]
    path = [prefix] if prefix else []
    for before, part in zip(["", *location], location, strict=False):
        if before not in _OF_KINDS and not _INTERNAL.match(part):
            path.append(part)
    where = ".".join(path)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if unknown:
        hint = _hint(path[-1], known_keys(where.split(".")[:-1]))
        return f"configuration: unknown key `{where}`{hint}{more}"
    value = error["input"]
    shown = "" if isinstance(value, dict | BaseModel) else redact(f" (={value!r})")
    return f"configuration: `{where or 'file'}`{shown}: {message[0].lower()}{message[1:]}{more}"


def _hint(key: str, known: list[str]) -> str:
    """The known key that looks like this one, or all of them."""
    known = [k for k in known if k != key]
    close = get_close_matches(key, known, n=1)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; the keys here are {', '.join(known)}" if known else ""
