"""Chromium, without a window."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright


def chromium() -> str | None:
    """Path of Chromium, under any of its names."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """A running Chromium; without it, the test is skipped or, where it is required, fails."""
    path = chromium()
    if path is None:
        reason = "there is no Chromium; on Debian: apt-get install chromium"
        if os.environ.get("LIIF_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    options = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb", *quiet]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=options)
        yield running
        running.close()
