"""Addresses that are shown or kept: without what opens doors."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://)([^\s'\"<>]*)", re.IGNORECASE)
_FILES = ("sqlite:", "file:")
"""Addresses of files, where @ and ? are parts of names."""


def redact(text: str) -> str:
    """A text with names, passwords and queries taken out of the addresses in it."""
    return _ADDRESS.sub(_plain, text)


def _plain(address: re.Match[str]) -> str:
    scheme, rest = address.groups()
    if scheme.lower().startswith(_FILES):
        return address.group()
    # A password may hold any character, so all up to the last @ goes.
    return scheme + rest.rpartition("@")[2].partition("?")[0]
