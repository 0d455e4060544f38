"""Refuses requests of other sites, which a browser would send for them, and sets safe headers."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
"""Headers of every response."""


class Guard:
    """Middleware that serves only requests for this server by name, and from its own pages.

    A site that resolves its own name to this machine (DNS rebinding) is known by the Host header,
    and a page that sends requests across sites (CSRF) by Origin and Sec-Fetch-Site. Programs send
    neither of the latter.

    Parameters
    ----------
    hosts
        Names of this server, besides all addresses and `localhost`.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = {"localhost", socket.gethostname().lower(), *(h.lower() for h in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._app
        if reason := self._refusal(Headers(scope=scope), scope):
            app = JSONResponse({"error": reason}, status_code=403)
        await app(scope, receive, send_safely)

    def _refusal(self, headers: Headers, scope: Scope) -> str:
        """Why a request is refused; empty if it is not."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return "this server has another name (Host); use the address that it printed"
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"{scope['scheme']}://{hosts[0].lower()}":
            return "requests of other sites (Origin) are refused"
        site = headers.get("sec-fetch-site", "none")
        opens_page = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("none", "same-origin") and not (opens_page and scope["path"] == "/"):
            return "requests of other sites (Sec-Fetch-Site) are refused"
        return ""

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name in self._hosts:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
