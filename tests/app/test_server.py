"""Both servers over HTTP: results, mistakes, hostile uploads, closed tabs."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psutil
import pytest
import requests
from app_servers import SMALL_LIMITS, Served, encoded, run_commands, served
from PIL import Image
from test_hostile import bomb

from liif.app.interface import openapi

TIMEOUT = 120


@pytest.fixture(scope="module")
def app_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served("app", tmp_path_factory.mktemp("app"), SMALL_LIMITS) as server:
        yield server


@pytest.fixture(scope="module")
def interface(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served("serve", tmp_path_factory.mktemp("serve"), SMALL_LIMITS) as server:
        yield server


def upload(server: Served, data: bytes, name: str = "a.png", tab: str = "tab") -> Any:
    query = {"tab": tab, "name": name}
    return requests.post(f"{server.address}/pictures", data=data, params=query, timeout=TIMEOUT)


def refusal(response: Any, status: int) -> str:
    """The line of an error with that status."""
    assert response.status_code == status, response.text
    (line,) = response.json().values()
    assert "\n" not in line
    return str(line)


def wait_for(condition: Any, seconds: float = TIMEOUT) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


class Listener:
    """An open tab: its events in a thread."""

    def __init__(self, server: Served, tab: str) -> None:
        address = f"{server.address}/events"
        self.response = requests.get(address, params={"tab": tab}, stream=True, timeout=TIMEOUT)
        self.jobs: dict[str, Any] = {}
        self.history: list[Any] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            for line in self.response.iter_lines():
                if line.startswith(b"data: "):
                    job = json.loads(line[6:])
                    self.jobs[job["key"]] = job
                    self.history.append(job)
        except (requests.RequestException, AttributeError):
            pass

    def wait_until_running(self, key: str) -> None:
        wait_for(lambda: self.jobs.get(key, {}).get("state") == "running")

    def end(self, key: str) -> Any:
        """The last state of a job."""
        ends = {"done", "failed", "cancelled"}
        wait_for(lambda: self.jobs.get(key, {}).get("state") in ends)
        return self.jobs[key]


def start(server: Served, picture: str, **options: object) -> Any:
    address = f"{server.address}/pictures/{picture}/jobs"
    return requests.post(address, params={k: str(v) for k, v in options.items()}, timeout=TIMEOUT)


def long_job(server: Served, tab: str) -> tuple[Listener, str, str]:
    """A tab with a picture and a job that runs for long."""
    listener = Listener(server, tab)
    picture = upload(server, encoded(110, 110), tab=tab).json()["key"]
    job = start(server, picture, scale=9, self_ensemble="true").json()["key"]
    listener.wait_until_running(job)
    return listener, picture, job


def with_metadata(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif[0x0112] = 6  # turned
    return encoded(12, 17, kind, exif=exif, dpi=(300, 300))


def test_downloads_are_the_bytes_of_liif_upscale(app_server: Served, tmp_path: Path) -> None:
    data = with_metadata("JPEG")
    (tmp_path / "my photo.jpg").write_bytes(data)
    listener = Listener(app_server, "tab")
    picture = upload(app_server, data, "my photo.jpg").json()
    assert (picture["rows"], picture["cols"]) == (17, 12)
    job = start(app_server, picture["key"], scale=2.5, precision="float32").json()
    ended = listener.end(job["key"])
    assert (ended["state"], ended["error"], ended["size"]) == ("done", "", [43, 30])
    assert ended["bands"][0] == 0
    band = requests.get(f"{app_server.address}/jobs/{job['key']}/bands/0", timeout=TIMEOUT)
    assert Image.open(BytesIO(band.content)).width == 30
    formats = ("png", "jpg", "webp", "tif")
    run_commands(tmp_path, *(f"{ended['command']} --format {f}" for f in formats))
    for format_ in formats:
        address = f"{app_server.address}/jobs/{job['key']}/result.{format_}"
        result = requests.get(address, timeout=TIMEOUT)
        made = tmp_path / f"my photo_x2.5.{format_}"
        assert result.content == made.read_bytes(), format_
        assert made.name in unquote(result.headers["Content-Disposition"])
    listener.response.close()


def test_the_interface_gives_the_bytes_of_liif_upscale(interface: Served, tmp_path: Path) -> None:
    data = encoded(14, 11)
    (tmp_path / "photo.png").write_bytes(data)
    query = {"width": "30", "format": "webp", "quality": "80", "back_projection": "false"}
    address = f"{interface.address}/upscale"
    response = requests.post(address, data=data, params=query, timeout=TIMEOUT)
    assert response.headers["Content-Type"] == "image/webp"
    command = "liif upscale photo.png --width 30 --format webp --quality 80 --no-back-projection"
    run_commands(tmp_path, command)
    assert response.content == (tmp_path / "photo_w30.webp").read_bytes()
    wait_for(lambda: not list(interface.folder.iterdir()))  # nothing is kept


def test_the_interface_describes_itself(interface: Served) -> None:
    schema = requests.get(f"{interface.address}/openapi.json", timeout=TIMEOUT).json()
    assert schema == json.loads(json.dumps(openapi(interface.engine)))
    names = {p["name"] for p in schema["paths"]["/upscale"]["post"]["parameters"]}
    page = requests.get(f"{interface.address}/", timeout=TIMEOUT)
    assert page.url.endswith("/docs")
    assert all(f"<code>{name}</code>" in page.text for name in names)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for name in names - {"scale", "size", "width", "height"}:
        default = next(
            p["schema"].get("default")
            for p in schema["paths"]["/upscale"]["post"]["parameters"]
            if p["name"] == name
        )
        query = {name: str(default).lower() if default is not None else "x.png"}
        bad = requests.post(f"{interface.address}/upscale", params=query, timeout=TIMEOUT)
        assert refusal(bad, 400) == "the request has no picture in its body", name


@pytest.mark.parametrize(
    ("query", "data", "status", "about"),
    [
        ("", b"", 400, "no picture in its body"),
        ("", b"not a picture", 415, "picture.png: is not a picture"),
        ("?name=../../x.png", encoded(20, 20)[:200], 415, "x.png: is damaged or truncated"),
        ("", bomb(20_000), 415, "has more than 250,000 pixels"),
        ("", bytes(1_000_001), 413, "larger than 1 MB"),
        ("?scale=100", encoded(20, 20), 400, "more than 1 megapixels"),
        ("?size=5x5", encoded(20, 20), 400, "less than the picture's"),
        ("?weights=photo.pth", encoded(20, 20), 400, "weights `photo.pth`"),
        ("?shape=3", encoded(20, 20), 400, "`shape` is not one of"),
    ],
)
def test_mistakes_are_one_line(
    interface: Served, query: str, data: bytes, status: int, about: str
) -> None:
    response = requests.post(f"{interface.address}/upscale{query}", data=data, timeout=TIMEOUT)
    assert about in refusal(response, status)
    wait_for(lambda: not list(interface.folder.iterdir()))


def test_the_documented_command_works(interface: Served) -> None:
    text = (Path(__file__).parents[2] / "docs" / "app.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"curl --data-binary @photo.png 'http://127.0.0.1:8080(.*?)'", text)
    data = encoded(9, 12)
    response = requests.post(interface.address + query, data=data, timeout=TIMEOUT)
    large = Image.open(BytesIO(response.content))
    assert (large.format, large.size) == ("WEBP", (30, 23))


def test_an_upload_of_unknown_length_is_bounded(interface: Served) -> None:
    blocks = (bytes(100_000) for _ in range(20))
    response = requests.post(f"{interface.address}/upscale", data=blocks, timeout=TIMEOUT)
    assert "larger than 1 MB" in refusal(response, 413)


def test_unknown_addresses_are_one_line(app_server: Served) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/upscale", 404),
        ("PUT", "/pictures", 405),
        ("GET", "/jobs/x/result.png", 404),
        ("GET", "/pictures/x/shown", 404),
        ("DELETE", "/jobs/../../x", 404),
        ("POST", "/pictures?sample=../../etc/passwd&tab=a", 404),
        ("POST", "/pictures", 400),
    ):
        refusal(requests.request(method, app_server.address + path, timeout=TIMEOUT), status)


def test_requests_of_other_sites_are_refused(app_server: Served) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        response = requests.get(app_server.address, headers=headers, timeout=TIMEOUT)
        refusal(response, 403)


@pytest.mark.slow
def test_a_full_queue_is_refused_and_waiting_jobs_are_cancelled(app_server: Served) -> None:
    listener = Listener(app_server, "queue")
    picture = upload(app_server, encoded(100, 100), tab="queue").json()["key"]
    jobs = [start(app_server, picture, scale=9).json()["key"]]
    listener.wait_until_running(jobs[0])
    jobs += [start(app_server, picture, scale=8).json()["key"] for _ in range(3)]
    assert "3 pictures are waiting already" in refusal(start(app_server, picture), 429)
    before = time.monotonic()
    for job in reversed(jobs):
        requests.delete(f"{app_server.address}/jobs/{job}", timeout=TIMEOUT)
    assert time.monotonic() - before < 10
    assert {listener.end(job)["state"] for job in jobs} == {"cancelled"}
    requests.delete(f"{app_server.address}/pictures/{picture}", timeout=TIMEOUT)
    listener.response.close()


def test_cancelling_stops_the_work_within_a_second(app_server: Served) -> None:
    listener, picture, job = long_job(app_server, "stop")
    time.sleep(0.5)
    before = time.monotonic()
    requests.delete(f"{app_server.address}/jobs/{job}", timeout=TIMEOUT)
    assert time.monotonic() - before < 3  # 0.6 s where nothing else runs
    assert listener.end(job)["state"] == "cancelled"
    small = start(app_server, picture, scale=1).json()["key"]  # the next one is made
    assert listener.end(small)["state"] == "done"
    requests.delete(f"{app_server.address}/pictures/{picture}", timeout=TIMEOUT)
    listener.response.close()


def test_the_page_responds_while_a_job_runs(app_server: Served) -> None:
    listener, picture, job = long_job(app_server, "busy")
    for _ in range(20):
        assert requests.get(app_server.address, timeout=TIMEOUT).ok
    assert app_server.engine.jobs[job].state == "running"
    requests.delete(f"{app_server.address}/pictures/{picture}", timeout=TIMEOUT)
    assert listener.end(job)["state"] == "cancelled"
    listener.response.close()


@pytest.mark.slow
def test_a_closed_tab_stops_its_jobs_and_leaves_no_files(app_server: Served) -> None:
    listener, picture, job = long_job(app_server, "closed")
    engine = app_server.engine
    folder = engine.pictures[picture].folder
    listener.response.close()
    wait_for(lambda: picture not in engine.pictures and job not in engine.jobs, 30)
    wait_for(lambda: not folder.exists(), 30)


@pytest.mark.slow
def test_a_process_that_crashes_is_replaced(app_server: Served) -> None:
    listener, picture, job = long_job(app_server, "crash")
    worker = app_server.engine.enlarger._process
    assert worker is not None
    os.kill(worker.pid, signal.SIGKILL)
    ended = listener.end(job)
    assert ended["state"] == "failed"
    assert "its process has ended" in ended["error"]
    again = start(app_server, picture, scale=1).json()["key"]
    assert listener.end(again)["state"] == "done"
    requests.delete(f"{app_server.address}/pictures/{picture}", timeout=TIMEOUT)
    listener.response.close()


def test_a_full_disk_is_one_line(app_server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from liif.app.jobs import Picture

    monkeypatch.setattr(Picture, "file", property(lambda _: Path("/dev/full")))
    assert "the disk is full" in refusal(upload(app_server, encoded(90, 90)), 507)
    monkeypatch.undo()
    assert upload(app_server, encoded(9, 9)).status_code == 201


def test_too_many_pictures_are_refused(app_server: Served) -> None:
    made = []
    while (response := upload(app_server, encoded(5, 5), tab="many")).status_code == 201:
        made.append(response.json()["key"])
        assert len(made) <= 12
    assert "12 pictures are open already" in refusal(response, 429)
    for key in made:
        requests.delete(f"{app_server.address}/pictures/{key}", timeout=TIMEOUT)


def hostile(number: int) -> bytes:
    """An upload that is no whole picture."""
    rng = random.Random(number)
    whole = encoded(40, 40, rng.choice(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"]))
    match number % 5:
        case 0:
            return rng.randbytes(rng.randrange(1, 5000))
        case 1:
            return whole[: rng.randrange(1, len(whole) - 1)]
        case 2:
            damaged = bytearray(whole)
            for _ in range(30):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            return bytes(damaged)
        case 3:
            return bomb(rng.randrange(10_000, 60_000))
        case _:
            texts = [b"<svg onload=alert(1)>", b"%PDF-1.7\n", b"PK\x03\x04", b"\x7fELF", b"GIF89a"]
            return rng.choice(texts) + rng.randbytes(200)


@pytest.mark.slow
def test_200_hostile_uploads_and_50_at_once(app_server: Served) -> None:
    listener = Listener(app_server, "hostile")
    first = upload(app_server, encoded(9, 9), tab="hostile").json()["key"]
    job = start(app_server, first, scale=1).json()["key"]
    assert listener.end(job)["state"] == "done"  # both processes have loaded what they need
    engine = app_server.engine

    def resident() -> int:
        children = psutil.Process().children(recursive=True)
        return sum(p.memory_info().rss for p in (psutil.Process(), *children))

    before = resident()
    statuses: dict[int, int] = {}

    def send(number: int) -> None:
        response = upload(app_server, hostile(number), f"{number}.png", "hostile")
        if response.status_code == 201:  # damage that does not matter
            key = response.json()["key"]
            requests.delete(f"{app_server.address}/pictures/{key}", timeout=TIMEOUT)
        else:
            assert len(response.json()["error"].splitlines()) == 1
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1

    for number in range(200):
        send(number)
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(send, range(200, 250)))
    assert set(statuses) <= {201, 415, 429}, statuses
    assert statuses[415] > 150
    assert upload(app_server, encoded(9, 9), tab="hostile").status_code == 201
    assert not engine._arriving
    listener.response.close()
    wait_for(lambda: resident() < before + 100_000_000)
    print(f"statuses {statuses}, resident {before / 1e6:.0f} → {resident() / 1e6:.0f} MB")


@pytest.mark.parametrize("kind", ["app", "serve"])
def test_a_server_prints_its_address_and_stops_cleanly(kind: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "liif", kind, "--port", "0"]
    words += ["--no-open"] if kind == "app" else []
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith(f"liif {kind}: http://127.0.0.1:")
    address = line.split()[2]
    assert requests.get(address, timeout=TIMEOUT).status_code == 200
    assert len(list(tmp_path.glob("liif-*"))) == 1
    children = psutil.Process(process.pid).children()
    assert len(children) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert process.stderr.read() == f"liif {kind}: stopped\n"
    process.stderr.close()
    assert not list(tmp_path.glob("liif-*"))
    assert not any(child.is_running() for child in psutil.wait_procs(children, 5)[1])


@pytest.mark.slow
def test_another_address_than_the_loopback_is_warned_of(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "liif", "serve", "--host", "0.0.0.0", "--port", "0"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "without a password" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stderr.close()
