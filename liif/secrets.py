"""Addresses that are shown or kept: without what opens doors."""

from __future__ import annotations

import re

_USER = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")


def without_secrets(text: str) -> str:
    """A text with names, passwords and queries taken out of the addresses in it."""
    return _QUERY.sub(r"\1", _USER.sub("", text))
