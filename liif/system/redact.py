"""URLs as they are shown and stored: without passwords."""

from __future__ import annotations

import re

_URL = re.compile(
    r"""
    (?P<scheme> [a-z][a-z0-9+.-]*:// ) (?<!sqlite://) (?<!file://)
    (?:
        [^\s'"<>/?\#]* @            # user and password, before the first slash
      | [^\s'"<>/?\#@:]+ : (?!\d*(?:[/?\#\s]|$)) [^\s'"<>]* @  # a password with a slash, no port
    )?
    (?P<place> [^\s'"<>?]* )
    (?: \? [^\s'"<>]* )?            # the query, which may hold a token
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redact(text: str) -> str:
    """A text whose URLs have no user, password or query; paths, also with @, stay whole."""
    return _URL.sub(r"\g<scheme>\g<place>", text)
