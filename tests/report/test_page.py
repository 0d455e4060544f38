"""The report's page in a real browser: Chromium, without a window."""

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import launched
from made_results import gains, make_results, psnrs
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from liif.images.read import read_picture
from liif.report.build import report
from liif.report.compare import compare
from liif.report.render import heat_map

SIDE = 160
DESKTOP = {"width": 1400, "height": 900}
PHONE = {"width": 390, "height": 844}
COUNT = 100


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with 100 pictures and its report."""
    project = tmp_path_factory.mktemp("project")
    results = make_results(project / "results", [f"{i:04}" for i in range(COUNT)], SIDE)
    report(results, project)
    return results


class Shown:
    """A page in its own window that records its requests and errors."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: Path, hash_: str = "") -> "Shown":
        self.page.goto(path.as_uri() + hash_)
        self.page.wait_for_selector("html[data-ready=true]")
        self.settle()
        return self

    def settle(self) -> None:
        """Wait until every visible canvas has been drawn."""
        self.page.wait_for_function(
            """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
               done([...document.querySelectorAll('.viewer canvas')]
                 .filter(c => c.offsetParent && c.clientWidth)
                 .every(c => c.dataset.drawn))))) """
        )

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def sort(self, value: str) -> None:
        self.page.select_option("select[name=sort]", value)
        self.settle()

    def choose(self, left: str, right: str) -> None:
        """Choose two versions by their names in the list."""
        for name, shift in ((left, True), (right, False)):
            button = self.page.locator(".card button").filter(
                has=self.page.locator(".name").get_by_text(name, exact=True)
            )
            button.click(modifiers=["Shift"] if shift else [])
        self.page.mouse.move(5, 5)  # or the last one is previewed
        self.settle()

    def sides(self) -> list[str]:
        """Names of the versions on the left and on the right."""
        cards = [f".card[data-side={side}] .name" for side in ("left", "right")]
        return [self.text(card) for card in cards]

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    @property
    def zoom(self) -> int:
        return int(self.text(".zoom").split()[0])

    def pixels(self, place: str | Locator) -> NDArray[np.uint8]:
        """Screenshot of an element, (H, W, 3)."""
        element = self.page.locator(place) if isinstance(place, str) else place
        shot = Image.open(BytesIO(element.screenshot()))
        return np.asarray(shot.convert("RGB"))


@pytest.fixture
def shown(browser: Browser) -> Iterator[Any]:
    opened: list[Shown] = []

    def make(**options: Any) -> Shown:
        opened.append(Shown(browser, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()


def enlarged(picture: NDArray[np.uint8], zoom: int, size: tuple[int, int]) -> NDArray[np.int16]:
    """A picture enlarged to squares in the middle of a pane of that size; -1 outside it."""
    big = np.repeat(np.repeat(picture, zoom, axis=0), zoom, axis=1).astype(np.int16)
    canvas = np.full((*size, 3), -1, np.int16)
    place, part = [], []
    for pane, length in zip(size, big.shape[:2], strict=True):
        start = round(pane / 2 + 1e-9 - length / 2)
        place.append(slice(max(0, start), min(pane, start + length)))
        part.append(slice(max(0, -start), max(0, -start) + place[-1].stop - place[-1].start))
    canvas[tuple(place)] = big[tuple(part)]
    return canvas


def apart(seen: NDArray[np.uint8], expected: NDArray[np.int16], where: slice) -> NDArray[np.int16]:
    """Difference of the screenshot in those columns to the expected picture, in grey levels.

    An element may lie between pixels of the screen, so that a shot of it has a row or a column
    more: of the places next to each other the best counts.
    """
    found = []
    for rows in (-1, 0, 1):
        for cols in (-1, 0, 1):
            moved = np.roll(expected, (rows, cols), axis=(0, 1))[:, where]
            inside = moved[..., 0] >= 0
            inside[:10] = inside[-10:] = False  # corners of the pane are round
            assert inside.sum() > 1000
            found.append(np.abs(seen[:, where].astype(np.int16) - moved)[inside])
    return min(found, key=lambda errors: float(errors.mean()))


def assert_shows(seen: NDArray[np.uint8], expected: NDArray[np.int16], where: slice) -> None:
    """Pixel for pixel in those columns, where the picture is."""
    assert apart(seen, expected, where).max() == 0


def versions(folder: Path, name: str) -> dict[str, NDArray[np.uint8]]:
    places = {
        "lr": "lr/test/x8",
        "truth": "hr/test/x8",
        **{m: f"upscaled/{m}" for m in ("bicubic", "good", "better")},
    }
    return {k: read_picture(folder / place / f"{name}.png").rgb for k, place in places.items()}


def test_divider_shows_left_and_right_of_it_pixel_by_pixel(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html", "#picture=0007")
    window.choose("bicubic", "original")
    window.page.focus(".stage")
    window.press("z")
    assert window.zoom == 100
    pictures = versions(folder, "0007")
    for share in (0.5, 0.47):
        box = window.page.locator(".pane").bounding_box()
        assert box is not None
        handle = window.page.locator(".divider").bounding_box()
        assert handle is not None
        middle = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] * 0.9
        window.page.mouse.move(*middle)
        window.page.mouse.down()
        left = box["x"] + (box["width"] - SIDE) / 2  # of the picture, pixel by pixel
        window.page.mouse.move(left + SIDE * share, middle[1], steps=4)
        window.page.mouse.up()
        window.settle()
        seen = window.pixels(".pane")
        size = (seen.shape[0], seen.shape[1])
        at = round((seen.shape[1] - SIDE) / 2 + SIDE * share)
        left, right = slice(0, at - 25), slice(at + 25, seen.shape[1])
        assert_shows(seen, enlarged(pictures["bicubic"], 1, size), left)
        assert_shows(seen, enlarged(pictures["truth"], 1, size), right)
    assert window.page.get_attribute(".divider", "aria-valuenow") == "47"


@pytest.mark.slow
def test_divider_by_keyboard(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    window.page.focus(".divider")

    def value() -> int:
        return int(window.page.get_attribute(".divider", "aria-valuenow"))

    for key, expected in (
        ("ArrowRight", 51),
        ("Shift+ArrowLeft", 41),
        ("PageUp", 51),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", 100),
    ):
        window.press(key)
        assert value() == expected, key


@pytest.mark.slow
def test_zoom_and_place_are_the_same_in_all_versions(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html", "#picture=0003")
    window.page.check("input[value=tiles]")
    window.settle()
    window.page.focus(".stage")
    window.press("z")
    for _ in range(3):
        window.page.click("button.in")
    window.settle()
    assert window.zoom == 800
    pictures = versions(folder, "0003")
    pictures["lr"] = np.repeat(np.repeat(pictures["lr"], 8, axis=0), 8, axis=1)
    tiles = window.page.locator(".card:visible .tile").all()
    assert len(tiles) == 5
    for tile, key in zip(tiles, ("better", "good", "bicubic", "lr", "truth"), strict=True):
        seen = window.pixels(tile)
        size = (seen.shape[0], seen.shape[1])
        assert_shows(seen, enlarged(pictures[key], 8, size), slice(10, size[1] - 10))
    # Dragging one moves all.
    before = [window.pixels(tile) for tile in tiles]
    box = tiles[1].bounding_box()
    window.page.mouse.move(box["x"] + 100, box["y"] + 100)
    window.page.mouse.down()
    window.page.mouse.move(box["x"] + 60, box["y"] + 84, steps=3)
    window.page.mouse.up()
    window.settle()
    for tile, old in zip(tiles, before, strict=True):
        new = window.pixels(tile)
        assert np.array_equal(new[20:-40, 20:-60], old[36:-24, 60:-20])


@pytest.mark.slow
def test_wheel_zooms_only_after_a_click(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    fitted = window.zoom
    window.page.hover(".pane")
    window.page.mouse.wheel(0, -300)
    window.page.wait_for_timeout(200)
    assert window.zoom == fitted
    window.page.evaluate("window.scrollTo(0, 0)")
    box = window.page.locator(".pane").bounding_box()
    window.page.mouse.click(box["x"] + 40, box["y"] + 40)
    window.page.mouse.wheel(0, -300)
    window.settle()
    assert window.zoom == pytest.approx(2 * fitted, abs=1)


@pytest.mark.slow
def test_keyboard(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    window.page.focus(".stage")
    fitted = window.zoom
    window.press("+", "+")
    assert window.zoom == pytest.approx(2 * fitted, abs=1)
    seen = window.pixels(".pane")
    window.press("ArrowRight")
    assert not np.array_equal(window.pixels(".pane"), seen)
    window.press("-", "0")
    assert window.zoom == fitted
    assert window.text(".title") == "0000"
    window.press("n", "n", "p")
    assert window.text(".title") == "0001"
    assert window.page.url.endswith("#picture=0001&left=bicubic&right=better")
    pills = [window.text(f".pill.{side}") for side in ("left", "right")]
    assert pills[0].startswith("bicubic ")
    window.press("x")
    assert [window.text(f".pill.{side}") for side in ("right", "left")] == pills
    window.press("d")
    assert window.page.is_checked("input[name=difference]")
    window.press("d", "m")
    assert window.page.is_checked("input[value=tiles]")
    assert not window.page.is_visible(".pane")
    # Keys have no effect outside the viewer.
    window.page.focus(".languages button")
    window.press("n", "m")
    assert window.text(".title") == "0001"


@pytest.mark.slow
def test_digits_choose_versions(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    assert window.sides() == ["bicubic", "better"]
    window.press("5")  # also when nothing has the focus
    assert window.sides() == ["bicubic", "original"]
    window.press("Shift+Digit4", "2")
    assert window.sides() == ["LR", "good"]
    window.press("9")
    assert window.sides() == ["LR", "good"]


@pytest.mark.slow
def test_space_flickers_between_both_sides(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html", "#picture=0004")
    window.choose("bicubic", "original")
    window.page.focus(".stage")
    window.press("z")
    divider = "document.querySelector('.pane').style.getPropertyValue('--divider')"
    middle = window.page.evaluate(divider)
    window.page.emulate_media(reduced_motion="reduce")
    window.page.keyboard.down("Space")
    seen = window.pixels("canvas.left")
    window.page.keyboard.up("Space")
    picture = versions(folder, "0004")["bicubic"]
    assert_shows(seen[40:-40], enlarged(picture, 1, seen.shape[:2])[40:-40], slice(0, None))
    assert window.page.evaluate(divider) == middle
    window.page.emulate_media(reduced_motion="no-preference")
    window.page.keyboard.down("Space")
    places = []
    for _ in range(4):
        places.append(window.page.evaluate(divider))
        window.page.wait_for_function(f"{divider} !== '{places[-1]}'")
    window.page.keyboard.up("Space")
    assert places[0] == places[2] != places[1] == places[3]
    assert window.page.evaluate(divider) == middle
    assert window.page.is_visible(".divider")


@pytest.mark.slow
def test_pointing_at_a_version_previews_it(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    window.page.hover(".card:nth-child(5) button")
    window.settle()
    assert window.text(".pill.right").strip() == "original"
    assert window.sides() == ["bicubic", "better"]
    window.page.mouse.move(5, 5)
    assert window.text(".pill.right").startswith("better ")


@pytest.mark.slow
def test_the_divider_stays_on_the_picture_and_follows_clicks(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    pane = window.page.locator(".pane").bounding_box()
    side = window.zoom / 100 * SIDE
    left = pane["x"] + (pane["width"] - side) / 2

    def place() -> float:
        box = window.page.locator(".divider").bounding_box()
        return float(box["x"] + box["width"] / 2)

    y = pane["y"] + 60
    window.page.mouse.click(left + 0.25 * side, y)
    assert place() == pytest.approx(left + 0.25 * side, abs=1)
    for x, expected in ((pane["x"] + 2, left), (pane["x"] + pane["width"] - 2, left + side)):
        window.page.mouse.move(left + 0.6 * side, y)  # not from the handle
        window.page.mouse.down()
        window.page.mouse.move(x, y, steps=3)
        window.page.mouse.up()
        assert place() == pytest.approx(expected, abs=2)


@pytest.mark.slow
def test_the_next_picture_keeps_zoom_and_place(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    window.page.focus(".stage")
    window.press(*["+"] * 6, *["ArrowRight"] * 3, "ArrowUp")
    at = window.page.url
    window.page.wait_for_function("location.hash.includes('at=')")
    zoom, at = window.zoom, window.page.url.split("at=")[1]
    window.press("n")
    assert (window.zoom, window.page.url.split("at=")[1]) == (zoom, at)
    assert window.text(".title") == "0001"


@pytest.mark.slow
def test_a_link_holds_what_is_shown(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    window.choose("good", "original")
    window.page.focus(".stage")
    window.press("n", "n", "d", *["+"] * 8, "ArrowLeft", "m", "m")
    window.page.wait_for_function("/difference=1&at=/.test(location.hash)")
    window.page.wait_for_timeout(400)
    window.page.evaluate("document.activeElement.blur()")  # its outline
    seen, link = window.pixels(".pane"), window.page.url.split("#")[1]
    other = shown().open(folder / "report.html", f"#{link}")
    assert other.text(".title") == "0002"
    assert other.sides() == ["good", "original"]
    assert other.page.is_checked("input[name=difference]")
    assert np.array_equal(other.pixels(".pane")[40:], seen[40:])


@pytest.mark.slow
def test_the_keys_are_shown(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    window.page.focus(".stage")
    window.press("?")
    assert "Hold to flicker" in window.text(".keys")
    window.press("n", "Escape")
    assert not window.page.is_visible(".keys")
    assert window.text(".title") == "0000"
    window.page.click("button.help")
    window.page.click(".keys form button")
    assert not window.page.is_visible(".keys")


@pytest.mark.slow
def test_the_first_screen_holds_verdict_and_viewer(shown: Any, folder: Path) -> None:
    window = shown(viewport={"width": 1440, "height": 900}).open(folder / "report.html")

    def box(selector: str) -> dict[str, float]:
        found: dict[str, float] = window.page.locator(selector).bounding_box()
        return found

    for part in (".top", ".verdict", ".bar", ".pane", ".cards", ".viewer > .pictures"):
        assert box(part)["y"] + box(part)["height"] <= 900, part
    assert box(".pane")["height"] > 480
    mean = {m: np.mean(list(psnrs(folder, m).values())) for m in ("better", "bicubic")}
    assert f"better +{mean['better'] - mean['bicubic']:.2f} dB" in window.text(".best")
    numbers = f"({mean['better']:.2f} vs {mean['bicubic']:.2f} dB)"
    assert numbers in window.text(".verdict")
    assert f"better on {COUNT} of {COUNT} pictures" in window.text(".verdict")
    window = shown(viewport=PHONE).open(folder / "report.html")
    assert box(".pane")["y"] + box(".pane")["height"] < PHONE["height"]
    assert box(".pane")["y"] < 160
    assert box(".verdict")["y"] > box(".pane")["y"]


@pytest.mark.slow
def test_addresses_of_pictures_and_sections(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html", "#numbers")
    assert window.page.url.endswith("#numbers")
    assert window.page.evaluate("scrollY") > 300
    window.page.evaluate("location.hash = '#picture=0042'")
    window.settle()
    assert window.text(".title") == "0042"


@pytest.mark.slow
def test_folded_chapters_open_for_links_and_for_printing(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    is_open = "document.querySelector('#analysis').open"
    assert not window.page.evaluate(is_open)
    window.page.click("nav a[href='#analysis']")
    assert window.page.evaluate(is_open)
    assert window.page.is_visible("#detail-table")
    assert (
        window.page.evaluate("document.querySelector('#analysis').getBoundingClientRect().top")
        < 200
    )
    window.page.emulate_media(media="print")
    window.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert window.page.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")
    assert window.page.is_visible(".pane")
    assert not window.page.is_visible(".viewer .bar")


@pytest.mark.slow
def test_hashes_are_short_and_copied_whole(shown: Any, folder: Path) -> None:
    window = shown(permissions=["clipboard-read", "clipboard-write"]).open(folder / "report.html")
    button = window.page.locator(".copy").last
    whole = button.get_attribute("data-copy")
    assert len(whole) == 64
    button.click()
    assert window.page.evaluate("navigator.clipboard.readText()") == whole
    assert window.page.inner_text("#origin ~ dl").count(whole) == 0
    assert whole not in window.page.inner_text("main")


@pytest.mark.slow
def test_the_embedded_page_needs_no_other_file(shown: Any, tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", ["a", "b", "c"], 96)
    report(results, tmp_path, embed=True)
    page = (results / "report-embedded.html").rename(tmp_path / "sent.html")
    shutil.rmtree(results)
    window = shown().open(page)
    window.page.focus(".stage")
    window.press("m", "d", "n", "d", "m")
    window.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    window.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    window.page.wait_for_timeout(300)
    assert window.complaints == []
    assert all(r.startswith("data:") or r == page.as_uri() for r in window.requests)


@pytest.mark.slow
def test_zoom_has_a_limit(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    window.page.focus(".stage")
    window.press(*["+"] * 30)
    assert window.zoom == 12800
    assert window.sides() == ["bicubic", "better"]
    picture = versions(folder, "0000")["better"]
    seen = window.pixels(".pane")
    middle = SIDE // 2
    row, col = seen.shape[0] // 2 + 40, seen.shape[1] // 2 + 60
    assert np.array_equal(seen[row, col], picture[middle, middle])
    window.press(*["-"] * 60)
    assert window.zoom <= 100


@pytest.mark.slow
def test_sorting(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")

    def order() -> list[str]:
        return [
            str(e.text_content()) for e in window.page.query_selector_all(".thumbnails button span")
        ]

    assert order() == [f"{i:04}" for i in range(COUNT)]
    for model in ("good", "better"):
        by_gain = gains(folder, model)
        window.sort(f"best {model}")
        assert order() == sorted(by_gain, key=lambda n: -by_gain[n])
        window.sort(f"worst {model}")
        assert order() == sorted(by_gain, key=by_gain.__getitem__)
        first = window.page.text_content(".thumbnails small")
        assert first == f"{min(by_gain.values()):+.2f} dB".replace("-", "−")
    # The next picture follows the order.
    window.page.focus(".stage")
    window.page.click(".thumbnails li:first-child button")
    window.page.click("button.next")
    assert window.text(".title") == order()[1]


@pytest.mark.slow
def test_differences_are_drawn_in_the_colours_of_the_legend(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html", "#picture=0002")
    window.choose("bicubic", "good")
    window.page.focus(".stage")
    window.press("z", "d")
    pictures = versions(folder, "0002")
    # The brightest colour is at least four times the larger root-mean-square error.
    worst = min(psnrs(folder, key)["0002"] for key in ("bicubic", "good"))
    rmse = 255 * 10 ** (-worst / 20)
    strength = max(s for s in (1, 2, 4, 8, 16) if 255 / s >= 4 * rmse)
    assert window.text(".legend .most") == f"{round(255 / strength)} grey levels"
    seen = window.pixels(".pane")
    size = (seen.shape[0], seen.shape[1])
    for key, where in (
        ("bicubic", slice(0, size[1] // 2 - 25)),
        ("good", slice(size[1] // 2 + 25, size[1])),
    ):
        error = np.abs(pictures[key].astype(float) - pictures["truth"]).mean(axis=2)
        expected = enlarged(heat_map(np.minimum(error * strength / 255, 1)), 1, size)
        errors = apart(seen, expected, where)
        assert errors.mean() < 2, key  # the filter works in whole grey levels
        assert errors.max() < 16, key


@pytest.mark.slow
def test_psnr_and_ssim_are_shown_under_each_version(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html", "#picture=0005")
    cards = [card.inner_text() for card in window.page.locator(".card:visible button").all()]
    psnr = {m: gains(folder, m)["0005"] for m in ("better", "good")}
    assert len(cards) == 5
    better, good, bicubic = (float(card.split(" dB")[0].split()[-1]) for card in cards[:3])
    assert better - bicubic == pytest.approx(psnr["better"], abs=0.011)
    assert good - bicubic == pytest.approx(psnr["good"], abs=0.011)
    assert f"+{psnr['better']:.2f} dB" in cards[0]
    assert all("SSIM 0." in card for card in cards[:3])
    assert "dB" not in cards[3] + cards[4]


@pytest.mark.slow
def test_no_request_leaves_the_folder_and_no_error_occurs(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    window.page.focus(".stage")
    window.press("m", "d", "n", "d", "m", "x", "1", "z", "0", "Space", "?", "Escape")
    window.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    window.page.wait_for_timeout(300)
    assert window.complaints == []
    home = folder.as_uri() + "/"
    files = [r for r in window.requests if not r.startswith("data:")]
    assert all(unquote(r).startswith(unquote(home)) for r in files)
    # Full-size pictures load when they are shown: two at first, and those of the next picture.
    assert 3 < len({r for r in files if "/lr/" not in r}) < 20


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
def test_accessible_and_no_wider_than_the_screen(
    shown: Any, folder: Path, scheme: str, size: dict[str, int], language: str
) -> None:
    window = shown(viewport=size, color_scheme=scheme, locale=language)
    window.open(folder / "report.html")
    violations = Axe().run(window.page).response["violations"]
    serious = [v for v in violations if v["impact"] in ("serious", "critical")]
    assert not serious, [(v["id"], v["nodes"][0]["html"]) for v in serious]
    assert window.page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.slow
def test_phone_by_touch(shown: Any, folder: Path) -> None:
    window = shown(viewport=PHONE, has_touch=True, is_mobile=True).open(folder / "report.html")
    window.page.tap(".thumbnails li:nth-child(2) button")
    assert window.text(".title") == "0001"
    window.page.tap(".card:nth-child(5) button")
    assert window.text(".pill.right").strip() == "original"
    window.page.tap("button.in")
    window.page.locator(".pane").scroll_into_view_if_needed()
    box = window.page.locator(".pane").bounding_box()
    assert box["width"] > 0.9 * PHONE["width"] - 30
    session = window.context.new_cdp_session(window.page)
    middle = box["x"] + box["width"] / 2, box["y"] + 60

    def touch(kind: str, *apart: float) -> None:
        points = [{"x": middle[0] + d, "y": middle[1], "id": i} for i, d in enumerate(apart)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    before = window.zoom
    touch("touchStart", -40, 40)
    for spread in (60, 90, 120):
        touch("touchMove", -spread, spread)
    touch("touchEnd")
    window.settle()
    assert window.zoom > 2 * before


@pytest.mark.slow
def test_both_languages(shown: Any, folder: Path) -> None:
    window = shown().open(folder / "report.html")
    assert window.text("#numbers") == "Numbers"
    window.page.click("button[lang=zh-CN]")
    assert window.page.get_attribute("html", "lang") == "zh-CN"
    assert window.text("#numbers") == "数据"
    assert window.page.title() == "×8 超分辨率：报告"
    assert window.text(".pill.left").startswith("双三次")
    english = window.page.evaluate(
        """[...document.querySelectorAll('[lang=en]:not(button)')]
           .filter(e => e.getClientRects().length).length"""
    )
    assert english == 0
    window.page.reload()
    window.page.wait_for_selector("html[data-ready=true]")
    assert window.text("#numbers") == "数据"  # the language is remembered
    assert shown(locale="zh-TW").open(folder / "report.html").text("#numbers") == "数据"


@pytest.mark.slow
def test_names_that_would_break_addresses_and_scripts(
    shown: Any, tmp_path: Path, browser: Browser
) -> None:
    names = ["a b#1?", "100 %", "</script><b>", "照片", 'it\'s "x"']
    results = make_results(tmp_path / "re sults#1", names, 48)
    report(results, tmp_path)
    window = shown().open(results / "report.html")
    assert sorted(window.page.locator(".thumbnails span").all_text_contents()) == sorted(names)
    for _ in names:
        window.page.click("button.next")
        window.settle()
    assert window.complaints == []


@pytest.mark.slow
def test_a_missing_picture_is_named(shown: Any, tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", ["a", "b"], 48)
    report(results, tmp_path)
    shutil.rmtree(results / "upscaled" / "bicubic")
    window = shown()
    window.page.goto((results / "report.html").as_uri())
    window.page.wait_for_function(
        "document.querySelector('canvas.right').dataset.drawn === 'better'"
    )
    window.page.wait_for_timeout(200)
    seen = window.pixels(".pane")
    assert len(np.unique(seen[:, : seen.shape[1] // 2 - 30].reshape(-1, 3), axis=0)) > 5  # words


@pytest.mark.slow
def test_compare_is_one_file_with_the_same_viewer(shown: Any, folder: Path, tmp_path: Path) -> None:
    inputs = [folder / "upscaled" / m for m in ("bicubic", "better")]
    page = compare(inputs, tmp_path / "compare.html", truth=folder / "hr" / "test" / "x8")
    assert len(list(tmp_path.iterdir())) == 1
    window = shown().open(page)
    assert window.page.locator(".thumbnails li").count() == COUNT
    assert "dB" in window.text(".pill.left")
    window.page.focus(".stage")
    window.press("m", "d", "n")
    assert window.complaints == []
    assert all(r.startswith("data:") or r == page.as_uri() for r in window.requests)
    violations = Axe().run(window.page).response["violations"]
    assert not [v["id"] for v in violations if v["impact"] in ("serious", "critical")]
