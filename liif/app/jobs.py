"""Uploaded pictures, jobs that upscale them, and the tabs that wait for the jobs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Literal

from liif.app.options import Options, output_name

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(eq=False)
class Picture:
    """An uploaded picture, in a folder of its own."""

    name: str
    folder: Path
    tab: str
    """The browser's tab that shows it; empty for a request of a program."""
    info: dict[str, Any] = field(default_factory=dict)
    """What reading it found: rows, cols and so on."""
    key: str = field(default_factory=lambda: token_urlsafe(12))

    @property
    def file(self) -> Path:
        """The file as it was uploaded."""
        return self.folder / self.name

    @property
    def shape(self) -> tuple[int, int]:
        """Size (rows, cols)."""
        return self.info["rows"], self.info["cols"]

    def named(self, message: str) -> str:
        """A message that begins with the picture's name."""
        return message if message.startswith(Path(self.name).stem) else f"{self.name}: {message}"

    def public(self) -> dict[str, Any]:
        """Facts about it for the page."""
        return {"key": self.key, "name": self.name, **self.info}


@dataclass(eq=False)
class Job:
    """A picture to upscale."""

    picture: Picture
    options: Options
    size: tuple[int, int]
    """Size of the output (rows, cols)."""
    seconds: float | None
    """Estimated time in seconds."""
    state: State = "waiting"
    share: float = 0
    """Share of its rows that exist."""
    bands: list[int] = field(default_factory=list)
    """First row of each band that the page can show."""
    notes: list[str] = field(default_factory=list)
    error: str = ""
    used: dict[str, Any] = field(default_factory=dict)
    """Precision and back-projection, once known."""
    key: str = field(default_factory=lambda: token_urlsafe(12))
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    started: float = 0

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return self.picture.folder / self.key

    @property
    def file(self) -> Path:
        """The upscaled picture."""
        return self.folder / output_name(self.picture.name, self.options)

    def hear(self, message: dict[str, Any]) -> None:
        """Handle a message of the process that upscales."""
        if "band" in message:
            self.share = message["share"]
            if message["band"] is not None:
                self.bands.append(message["band"])
        elif "note" in message and not message["note"].startswith("upscaling: "):
            self.notes.append(self.plain(message["note"]))

    def plain(self, text: str) -> str:
        """A message without the folders of this server."""
        for folder in (self.folder, self.picture.folder):
            text = text.replace(f"{folder}/", "")
        return text

    def left(self) -> float | None:
        """Seconds until it is done, from what is done."""
        if self.state != "running" or self.share < 0.02:
            return self.seconds
        elapsed = time.monotonic() - self.started
        return elapsed * (1 - self.share) / self.share

    def public(self, ahead: int) -> dict[str, Any]:
        """What the page knows of it; `ahead` jobs are done before it."""
        return {
            **{"key": self.key, "picture": self.picture.key, "state": self.state},
            **{"size": self.size, "share": round(self.share, 4), "bands": self.bands},
            **{"left": self.left(), "ahead": ahead, "error": self.error, "notes": self.notes},
            **{"label": self.options.size.label, "weights": self.options.weights},
            "command": self.options.command(self.picture.name),
            "used": self.used,
        }


class Tab:
    """A browser's tab: the states of its jobs that it has not heard of."""

    def __init__(self) -> None:
        self.streams = 0
        self.left_at = time.monotonic()
        self._changed: dict[str, Job] = {}
        self._news = asyncio.Event()

    def tell(self, job: Job) -> None:
        """Send the job's state soon."""
        self._changed[job.key] = job
        self._news.set()

    async def news(self) -> list[Job]:
        """Wait for jobs whose state has changed."""
        await self._news.wait()
        self._news.clear()
        changed, self._changed = list(self._changed.values()), {}
        return changed
