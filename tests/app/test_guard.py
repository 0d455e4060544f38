"""Attacks by other sites through the user's browser are refused, each of them."""

import asyncio
import socket
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from liif.app.guard import HEADERS, Guard

OURS = {"host": "127.0.0.1:8080"}
PAGE = {**OURS, "origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}


def status(
    headers: dict[str, str], method: str = "GET", path: str = "/", hosts: tuple[str, ...] = ()
) -> int:
    """The status of the response to a request with these headers."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        **{"type": "http", "method": method, "path": path, "scheme": "http"},
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }
    asyncio.run(Guard(PlainTextResponse("secret"), hosts)(scope, receive, send))
    present = {name.decode().lower() for name, _ in sent[0]["headers"]}
    assert {name.lower() for name in HEADERS} <= present
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8080",
        "127.0.0.1",
        "localhost:8080",
        "LOCALHOST:9000",
        "[::1]:8080",
        "192.168.1.4:8080",
        socket.gethostname(),
    ],
)
def test_own_names_are_served(host: str) -> None:
    assert status({"host": host}) == 200


def test_the_name_of_the_option_is_served() -> None:
    assert status({"host": "box.example:8080"}, hosts=("box.example",)) == 200
    assert status({"host": "box.example:8080"}) == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
        "",
        "[::1",
        "[evil.example]",
        "127.1.evil",
    ],
)
def test_dns_rebinding_is_refused(host: str) -> None:
    assert status({"host": host}) == 403


def test_a_request_without_host_is_refused() -> None:
    assert status({}) == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1:8080",
        "http://127.0.0.1:8081",
        "http://localhost:8080",
        "http://127.0.0.1:8080.evil.example",
        "null",
        "",
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE", "GET"])
def test_requests_of_other_origins_are_refused(origin: str, method: str) -> None:
    assert status({**OURS, "origin": origin}, method, "/pictures") == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_embedded_by_other_sites_are_refused(site: str) -> None:
    embedded = {**OURS, "sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    assert status(embedded, path="/pictures/a/shown") == 403
    assert status(embedded) == 403


def test_a_form_of_another_site_is_refused() -> None:
    form = {**OURS, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert status(form, "POST") == 403
    assert status(form, path="/pictures/a/file") == 403


def test_a_link_from_another_site_opens_the_page() -> None:
    link = {**OURS, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert status(link) == 200


def test_the_page_itself_and_programs_are_served() -> None:
    for method in ("GET", "POST", "DELETE"):
        assert status(PAGE, method, "/pictures") == 200
        assert status(OURS, method, "/upscale") == 200
