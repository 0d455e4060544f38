"""The page of `liif app` in a real browser: Chromium, without a window."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_servers import Served, encoded, run_commands, served
from axe_playwright_python.sync_playwright import Axe
from browsers import launched
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, expect

from liif.app.limits import Limits
from liif.images.imresize import imresize

DESKTOP = {"width": 1400, "height": 900}
PHONE = {"width": 390, "height": 844}
PATIENCE = 120_000
"""Milliseconds for what a busy machine does."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    limits = Limits(upload=1_000_000, pixels=1_000_000, output=4_000_000, pictures=30)
    with served("app", tmp_path_factory.mktemp("app"), limits) as running:
        yield running


class Window:
    """The page in a window of its own, which records requests and complaints."""

    def __init__(self, browser: Browser, server: Served, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(server.address)
        self.page.wait_for_selector("html[data-ready=true]")

    def choose(self, *files: tuple[str, bytes]) -> None:
        """Choose files in the browser's dialog."""
        payloads = [FilePayload(name=n, mimeType="image/png", buffer=d) for n, d in files]
        self.page.set_input_files(".files", payloads)

    def drop(self, name: str, data: bytes) -> None:
        """Drop a file onto the page."""
        script = """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name));
            for (const type of ["dragover", "drop"]) {
              const how = {dataTransfer: transfer, bubbles: true, cancelable: true};
              document.body.dispatchEvent(new DragEvent(type, how));
            }
        }"""
        self.page.evaluate(script, [name, list(data)])

    def drawn(self, side: str, key: str) -> None:
        """Wait until that version is drawn on that side."""
        canvas = f"document.querySelector('canvas.{side}')"
        test = f"key => {canvas} && ({canvas}.dataset.drawn || '').startsWith(key)"
        self.page.wait_for_function(test, arg=key)

    def wait(self, state: str) -> None:
        self.page.wait_for_selector(f".status[data-state={state}]")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)


@pytest.fixture
def window(browser: Browser, server: Served) -> Iterator[Callable[..., Window]]:
    opened: list[Window] = []

    def make(**options: Any) -> Window:
        opened.append(Window(browser, server, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()


def downloaded(one: Window) -> bytes:
    with one.page.expect_download() as waiting:
        one.page.click(".download")
    return Path(waiting.value.path()).read_bytes()


def test_a_dropped_picture_sharpens_and_downloads_the_bytes_of_liif_upscale(
    window: Callable[..., Window], server: Served, tmp_path: Path
) -> None:
    data = encoded(40, 50)
    (tmp_path / "photo.png").write_bytes(data)
    one = window()
    one.drop("photo.png", data)
    one.page.wait_for_selector(".work:not([hidden])")
    one.drawn("left", "bicubic")  # before any result
    assert one.text(".target") == "200 × 160 pixels"
    one.wait("complete")
    # Several bands came, and the last one completes the picture that the divider shows.
    (job,) = server.engine.jobs.values()
    assert len(job.bands) >= 1
    assert one.text(".pill.left").startswith("bicubic")
    assert one.text(".pill.right").startswith("edsr-baseline ×4")
    png = downloaded(one)
    one.page.focus(".stage")
    one.page.keyboard.press("z")  # pixel by pixel
    shot = one.page.locator(".pane").screenshot()
    seen = np.asarray(Image.open(BytesIO(shot)).convert("RGB")).astype(int)
    large = np.asarray(Image.open(BytesIO(png))).astype(int)
    top, left = ((n - m) // 2 for n, m in zip(seen.shape[:2], large.shape[:2], strict=True))
    right = np.s_[30:, 130:]  # of the divider, below the label
    best = min(
        np.abs(seen[y : y + 160, x : x + 200] - large)[right].max()
        for y in range(top - 1, top + 2)
        for x in range(left - 1, left + 2)
    )
    assert best == 0
    one.page.select_option("[name=format]", "webp")
    webp, command = downloaded(one), one.text(".command")
    assert command == "liif upscale photo.png --scale 4 --weights edsr-baseline --format webp"
    run_commands(tmp_path, command, command.replace("webp", "png"))
    assert png == (tmp_path / "photo_x4.png").read_bytes()
    assert webp == (tmp_path / "photo_x4.webp").read_bytes()
    # Nothing leaves the machine, and the browser has nothing to complain of.
    assert all(r.startswith((server.address, "data:", "blob:")) for r in one.requests)
    assert one.complaints == []


@pytest.mark.slow
def test_bands_arrive_from_top_to_bottom_and_cancel_stops(
    window: Callable[..., Window], server: Served
) -> None:
    one = window()
    one.page.evaluate("document.querySelector('[name=scale]').value = 8")
    one.choose(("big.png", encoded(100, 100)))
    one.page.wait_for_function(
        "() => [...document.querySelectorAll('progress:not([hidden])')].some(p => p.value > 0)"
    )
    values = one.page.evaluate(
        """() => {
          const canvas = document.querySelector("canvas.right");
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, 300);
          return new Set(pixels.data).size;
        }"""
    )
    assert values > 50  # the bicubic picture is below the rows that are missing
    job = next(job for job in server.engine.jobs.values() if job.picture.name == "big.png")
    assert job.bands == sorted(job.bands)
    assert job.state == "running"
    one.page.click(".cancel")
    one.wait("cancelled")
    assert one.page.locator(".card:visible").count() == 2  # of the input and bicubic
    assert not one.page.is_visible(".download")
    one.page.fill("[name=scale]", "1.5")
    one.page.press("[name=scale]", "Enter")
    one.wait("complete")


@pytest.mark.slow
def test_several_pictures_queue_and_stay_in_the_history(window: Callable[..., Window]) -> None:
    one = window()
    one.choose(*((f"{name}.png", encoded(30, 24 + 4 * i)) for i, name in enumerate("abc")))
    names = one.page.locator(".thumbnails button > span")
    expect(names).to_have_text(["a.png", "b.png", "c.png"], timeout=PATIENCE)
    expect(one.page.locator(".thumbnails .busy")).to_have_count(0, timeout=PATIENCE)
    for number in (1, 2, 3):
        one.page.click(f".thumbnails li:nth-child({number}) button")
        one.wait("complete")
        assert one.page.locator(".card:visible").count() == 3
    one.page.click(".remove")
    expect(names).to_have_text(["a.png", "b.png"])


@pytest.mark.slow
def test_the_scale_by_keyboard(window: Callable[..., Window]) -> None:
    one = window()
    one.choose(("a.png", encoded(20, 30)))
    one.wait("complete")
    one.page.focus("[name=slider]")
    for key, scale, target in (
        ("ArrowRight", "4.1", "123 × 82 pixels"),
        ("ArrowLeft", "4", "120 × 80 pixels"),
        ("Home", "1", "30 × 20 pixels"),
        ("End", "30", "900 × 600 pixels"),
    ):
        one.page.keyboard.press(key)
        expect(one.page.locator(".target")).to_have_text(target)
        assert one.page.input_value("[name=scale]") == scale
    expect(one.page.locator(".estimate")).to_contain_text("of memory", timeout=PATIENCE)
    one.page.fill("[name=scale]", "2.345")
    expect(one.page.locator(".target")).to_have_text("71 × 47 pixels")
    one.page.press("[name=scale]", "Enter")
    expect(one.page.locator(".card:visible")).to_have_count(4)
    one.wait("complete")
    assert "--scale 2.345" in one.text(".command")


@pytest.mark.slow
def test_bicubic_is_matlabs(window: Callable[..., Window]) -> None:
    one = window()
    data = encoded(24, 20)
    with one.page.expect_response(lambda r: "/bicubic?" in r.url) as waiting:
        one.choose(("a.png", data))
    seen = np.asarray(Image.open(BytesIO(waiting.value.body())))
    picture = np.asarray(Image.open(BytesIO(data)))
    assert np.array_equal(seen, imresize(picture, 4.0))
    one.wait("complete")


@pytest.mark.slow
def test_mistakes_are_one_line_on_the_page(window: Callable[..., Window]) -> None:
    one = window()
    one.choose(("a.png", b"no picture"), ("large.png", bytes(1_000_001)))
    messages = one.page.locator(".messages li:not(.quiet) > span")
    expect(messages).to_have_text(["a.png: is not a picture", "large.png: is larger than 1 MB"])
    one.page.locator(".messages button").first.click()
    expect(messages).to_have_count(1)
    assert one.page.is_visible(".welcome")
    one.choose(("b.png", encoded(300, 300)))
    one.page.fill("[name=scale]", "30")
    expect(one.page.locator(".estimate")).to_contain_text("more than 4 megapixels")
    assert one.page.is_disabled(".enlarge")


@pytest.mark.slow
def test_jpeg_is_warned_of_and_photo_offered(window: Callable[..., Window]) -> None:
    one = window()
    one.choose(("a.jpg", encoded(96, 96, "JPEG", quality=40)))
    expect(one.page.locator(".damage")).to_contain_text("looks like a JPEG", timeout=PATIENCE)
    one.page.click(".use-photo")
    assert one.page.input_value("[name=weights]") == "photo"
    expect(one.page.locator(".damage")).to_be_hidden()


@pytest.mark.slow
def test_a_sample_is_one_click_away_and_pictures_can_be_pasted(
    window: Callable[..., Window],
) -> None:
    one = window()
    one.page.click(".sample-list button >> nth=1")
    expect(one.page.locator(".title")).to_have_text("clock.png", timeout=PATIENCE)
    one.page.evaluate(
        """bytes => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "pasted.png"));
          document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer}));
        }""",
        list(encoded(10, 10)),
    )
    expect(one.page.locator(".title")).to_have_text("pasted.png", timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
def test_accessible_and_no_wider_than_the_screen(
    window: Callable[..., Window], scheme: str, size: dict[str, int], language: str
) -> None:
    one = window(viewport=size, color_scheme=scheme, locale=language)

    def check() -> None:
        violations = Axe().run(one.page).response["violations"]
        serious = [v for v in violations if v["impact"] in ("serious", "critical")]
        assert not serious, [(v["id"], v["nodes"][0]["html"]) for v in serious]
        assert one.page.evaluate("document.documentElement.scrollWidth") <= size["width"]

    check()
    one.choose(("a.png", encoded(20, 20)))
    one.wait("complete")
    one.page.click(".more summary")
    check()


@pytest.mark.slow
def test_both_languages(window: Callable[..., Window]) -> None:
    one = window()
    one.choose(("a.png", encoded(20, 20)))
    one.wait("complete")
    assert one.text(".enlarge") == "Enlarge"
    assert one.text(".state") == "a.png: done, 80 × 80 pixels"
    one.page.click("button[lang=zh-CN]")
    assert one.text(".enlarge") == "放大"
    assert one.text(".state") == "a.png 已放大为 80 × 80 像素"
    assert one.page.title() == "liif：放大图像"
    english = one.page.evaluate(
        """[...document.querySelectorAll('[lang=en]:not(button)')]
           .filter(e => e.getClientRects().length).length"""
    )
    assert english == 0
