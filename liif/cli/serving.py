"""Subcommands that serve: the page, and the HTTP interface."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from typer import Option

from liif.cli.options import PICTURES, app, require_extra
from liif.system.progress import log
from liif.system.signals import Stopped

Host = Annotated[
    str, Option(help="Address to listen on; other machines reach all but the loopback.")
]
Port = Annotated[
    int | None,
    Option(
        min=0,
        max=65535,
        help="Port to listen on.",
        show_default="8080, or a free one if it is in use",
    ),
]
_LOOPBACK = "127.0.0.1"


@app.command(name="app", rich_help_panel=PICTURES)
def app_(
    host: Host = _LOOPBACK,
    port: Port = None,
    browser: Annotated[
        bool, Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Upscale pictures in the browser; nothing leaves this machine.

    liif app  [dim](opens the page)[/dim]

    liif app --no-open --port 8081
    """
    _serve("app", host, port, browser)


@app.command(rich_help_panel=PICTURES)
def serve(host: Host = _LOOPBACK, port: Port = None) -> None:
    """Serve `POST /upscale` for programs: a picture in, the upscaled one out.

    liif serve --port 8080

    curl --data-binary @photo.png 'http://127.0.0.1:8080/upscale?scale=4' -o large.png
    """
    _serve("serve", host, port, browser=False)


def _serve(kind: str, host: str, port: int | None, browser: bool) -> None:
    require_extra("app", "starlette", "uvicorn", "jinja2")
    from liif.app import server

    with suppress(Stopped):
        server.run("app" if kind == "app" else "serve", host, port, browser)
    log(f"liif {kind}: stopped")
