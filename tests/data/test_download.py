import hashlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from liif.data.div2k import Archive
from liif.data.download import copy_photographs, download
from liif.system import http
from liif.system.errors import UserError
from liif.system.http import fetch, partial_file

DATA = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves DATA in the way that the path's first part names; counts what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []

    def url(self, way: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{way}/data.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def handle(self) -> None:
        with suppress(ConnectionError):  # clients that give up are part of the tests
            super().handle()

    def do_GET(self) -> None:
        way, wanted = self.path.split("/")[1], self.headers.get("Range")
        self.server.asked.append((way, wanted))
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if way == "moved":
            self.send_response(302)
            self.send_header("Location", "/good/data.zip")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if way in ("404", "503"):
            self.send_error(int(way))
            return
        data = b"<html>error</html>" if way == "page" else DATA
        data = data[::-1] if way == "wrong" else data
        data = data[:-7] if way == "short" else data
        ranges = wanted is not None and way not in ("no-ranges", "page")
        body = data[first:] if ranges else data
        self.send_response(206 if ranges else 200)
        if ranges:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Type", "text/html" if way == "page" else "application/zip")
        if way == "flood":  # endless, without a length
            self.close_connection = True
            self.end_headers()
            for _ in range(1000):
                self.wfile.write(DATA)
            return
        self.send_header("Content-Length", "many" if way == "no-length" else str(len(body)))
        self.end_headers()
        if way == "cuts":
            body = body[: len(DATA) // 3 + 1]
            self.close_connection = True
        if way == "stalls" and first == 0:
            self.wfile.write(body[: len(DATA) // 2])
            self.wfile.flush()
            threading.Event().wait(1.5)
            self.close_connection = True
            return
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http, "RETRY", http.RETRY.new(backoff_factor=0.01))
    monkeypatch.setattr(http, "TIMEOUT", (1, 0.5))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server: Server, tmp_path: Path, *ways: str, size: int | None = len(DATA)) -> Path:
    out = tmp_path / "data" / "x.zip"
    urls = tuple(server.url(way) for way in ways)
    fetch(urls, out, tmp_path / "partial", digest=DIGEST, size=size)
    assert out.read_bytes() == DATA
    assert list((tmp_path / "partial").iterdir()) == []
    return out


@pytest.mark.parametrize("size", [None, len(DATA)])
@pytest.mark.parametrize("way", ["good", "moved", "stalls", "cuts"])
def test_interrupted_and_redirected_downloads_arrive(
    server: Server, tmp_path: Path, way: str, size: int | None
) -> None:
    get(server, tmp_path, way, size=size)


def test_cut_connections_resume_where_they_stopped(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path, "cuts")
    starts = [int(r[6:-1]) if r else 0 for _, r in server.asked]
    assert len(starts) in (3, 4)
    assert all(b - a > 300_000 for a, b in pairwise(starts))


def test_a_cut_connection_is_given_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(http, "sleep", pauses.append)
    get(server, tmp_path, "cuts")
    assert pauses
    assert set(pauses) == {http.RETRY.backoff_factor}


@pytest.mark.parametrize("first", ["404", "503", "page", "wrong", "short", "flood", "no-length"])
def test_the_next_mirror_is_tried(server: Server, tmp_path: Path, first: str) -> None:
    get(server, tmp_path, first, "good")


def test_the_next_run_resumes_an_unfinished_file(server: Server, tmp_path: Path) -> None:
    part = partial_file(tmp_path / "partial", DIGEST)
    part.parent.mkdir()
    part.write_bytes(DATA[:1000])
    get(server, tmp_path, "good")
    assert server.asked == [("good", "bytes=1000-")]


@pytest.mark.parametrize("have", [DATA[:1000], DATA + b"more", b"\0" * 1000])
def test_servers_without_ranges_and_wrong_beginnings(
    server: Server, tmp_path: Path, have: bytes
) -> None:
    part = partial_file(tmp_path / "partial", DIGEST)
    part.parent.mkdir()
    part.write_bytes(have)
    get(server, tmp_path, "no-ranges", "good")


@pytest.mark.parametrize("way", ["404", "503", "page", "wrong", "short"])
def test_a_wrong_file_never_gets_the_name(server: Server, tmp_path: Path, way: str) -> None:
    archive = Archive((server.url(way),), len(DATA), DIGEST)
    out = tmp_path / "data" / "x.zip"
    with pytest.raises(UserError, match=r"x\.zip could not be downloaded.*make demo"):
        download("x", archive, out, tmp_path / "partial")
    assert not out.exists()


def test_without_a_network_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError("Failed to establish a new connection")

    monkeypatch.setattr(requests.Session, "get", unreachable)
    archive = Archive(("http://a/x.zip", "http://b/x.zip"), 10**9, DIGEST)
    with pytest.raises(UserError, match=r"no connection.*Put the file at .*x\.zip yourself"):
        download("x", archive, tmp_path / "x.zip", tmp_path / "partial")
    printed = capsys.readouterr().err
    assert "academic research only" in printed
    assert "1.00 GB to download" in printed
    assert "GB free on this disk" in printed


def test_a_file_downloaded_by_hand_is_verified(server: Server, tmp_path: Path) -> None:
    archive = Archive((server.url("good"),), len(DATA), DIGEST)
    out = tmp_path / "x.zip"
    out.write_bytes(DATA)
    download("x", archive, out, tmp_path / "partial")
    assert server.asked == []
    out.write_bytes(DATA[:-1])
    with pytest.raises(UserError, match=r"x\.zip: has 1023999 bytes, .* 1024000"):
        download("x", archive, out, tmp_path / "partial")
    out.write_bytes(DATA[::-1])
    with pytest.raises(UserError, match=r"x\.zip: differs from the published checksum"):
        download("x", archive, out, tmp_path / "partial")


def test_bundled_photographs_do_not_replace_changed_ones(tmp_path: Path) -> None:
    copy_photographs(tmp_path)
    assert len(list((tmp_path / "test").glob("*.webp"))) == 6
    assert len(list((tmp_path / "train").glob("*.webp"))) == 7
    assert (tmp_path / "CREDITS.md").exists()
    mine = tmp_path / "test" / "clock.webp"
    mine.write_text("mine")
    copy_photographs(tmp_path)
    assert mine.read_text() == "mine"
