"""Shared parts of the routes of the page and of the HTTP interface."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from liif.app.engine import Engine
from liif.app.limits import Refused, megabytes
from liif.system.errors import UserError
from liif.system.progress import log

NOTES = "X-Liif-Notes"
"""Header with what the output lacks of the input: lines, quoted as in URLs, with tabs between."""


def engine_of(request: Request) -> Engine:
    """The server's engine."""
    engine: Engine = request.app.state.engine
    return engine


def body(request: Request, name: str) -> AsyncIterator[bytes]:
    """The blocks of that picture's file; one that announces too many bytes is refused at once."""
    limit = engine_of(request).limits.upload
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:18]) > limit:
        raise Refused(f"{name}: is larger than {megabytes(limit)}", 413)
    return request.stream()


def attachment(name: str) -> dict[str, str]:
    """The header that has a browser save a response as a file of that name."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


def failure(message: str, status: int) -> Response:
    """An error of one line."""
    return JSONResponse({"error": " ".join(message.split())}, status_code=status)


async def on_user_error(_: Request, error: Exception) -> Response:
    """The response to a mistake."""
    return failure(str(error), error.status if isinstance(error, Refused) else 400)


async def on_http_error(_: Request, error: Exception) -> Response:
    """The response to an unknown address or method."""
    assert isinstance(error, HTTPException)
    return failure(error.detail, error.status_code)


async def on_disconnect(_: Request, error: Exception) -> Response:
    """The response to a client that has disconnected."""
    return failure("the connection was closed", 499)


async def on_error(_: Request, error: Exception) -> Response:
    """The response to an error of this server, which it survives."""
    log(f"liif: unexpected {type(error).__name__}: {error}")
    return failure(f"unexpected {type(error).__name__}", 500)


HANDLERS = {
    UserError: on_user_error,
    Refused: on_user_error,
    HTTPException: on_http_error,
    ClientDisconnect: on_disconnect,
    Exception: on_error,
}
"""Responses by kind of error."""
