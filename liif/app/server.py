"""The servers of `liif app` and `liif serve`: from an address to a clean end."""

from __future__ import annotations

import ipaddress
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import uvicorn
from jinja2 import FileSystemLoader
from starlette.applications import Starlette
from starlette.middleware import Middleware

from liif.app import interface, page, routes
from liif.app.engine import Engine
from liif.app.guard import Guard
from liif.app.limits import Limits
from liif.app.responses import HANDLERS
from liif.app.weights import available
from liif.report.render import TEMPLATES
from liif.report.translations import PAGE
from liif.system.errors import UserError
from liif.system.progress import log

Kind = Literal["app", "serve"]
PORT = 8080
"""The first choice; another one is taken if it is in use."""
_CONNECTIONS = 200
"""Requests at a time; more are refused."""


def application(
    kind: Kind, folder: Path, hosts: tuple[str, ...] = (), limits: Limits | None = None
) -> Starlette:
    """The web application, whose files are in that folder."""
    weights, limits = available(), limits or Limits()
    engine = Engine(folder, weights, limits)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with engine:
            yield

    app = Starlette(
        routes=routes.ROUTES if kind == "app" else interface.ROUTES,
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.state.engine = engine
    if kind == "app":
        app.state.page = page.render(weights, limits)
    else:
        parts = TEMPLATES.overlay(loader=FileSystemLoader([page.PARTS, PAGE]))
        app.state.documentation = parts.get_template("docs.html")
    return app


def run(kind: Kind, host: str, port: int | None, browser: bool) -> None:
    """Serve until a signal asks to stop; all files are in a temporary folder that is removed."""
    with listen(host, port) as sock, TemporaryDirectory(prefix="liif-") as folder:
        actual = sock.getsockname()[1]
        if not is_loopback(host):
            log(
                f"liif: reachable from other machines at {host}, without a password; "
                "anyone who can reach it can use this machine"
            )
        address = f"http://{_in_url(host)}:{actual}/"
        log(f"liif {kind}: {address} (Ctrl-C stops it)")
        server = http_server(application(kind, Path(folder), (host,)))
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.run(sockets=[sock])


def http_server(app: Starlette) -> uvicorn.Server:
    """A server for the application; it is silent, and closes open connections when it stops."""
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=1,
        lifespan="on",
    )
    return uvicorn.Server(config)


def listen(host: str, port: int | None) -> socket.socket:
    """A socket at that port; without one at the usual port, or any that is free."""
    for choice in (PORT, 0) if port is None else (port,):
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, choice), family=family)
        except OSError as error:
            reason = error.strerror or str(error)
    raise UserError(f"{host}:{choice}: cannot listen there: {reason}; choose another --port")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_url(host: str) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{name}]" if ":" in name else name
