"""The engine of the page and of the HTTP interface: pictures, a bounded queue, two processes."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_urlsafe

from liif.app.estimates import Estimates
from liif.app.jobs import Job, Picture, State, Tab
from liif.app.limits import Limits, Refused, megabytes
from liif.app.options import Options
from liif.app.weights import Weights
from liif.app.worker import Stopped, Worker
from liif.images.read import PICTURE_SUFFIXES
from liif.system.errors import UserError
from liif.system.files import cannot_write

_AWAY = 5.0
"""Seconds after which a tab without a connection counts as closed."""


class Engine:
    """Upscales pictures one after the other; one picture is read meanwhile.

    Parameters
    ----------
    folder
        For all files, each below a folder of its picture.
    weights
        By the name that requests choose them by; the first is the default.
    """

    def __init__(self, folder: Path, weights: Mapping[str, Weights], limits: Limits) -> None:
        self.folder, self.weights, self.limits = folder, weights, limits
        self.default = next(iter(weights))
        self.pictures: dict[str, Picture] = {}
        self.jobs: dict[str, Job] = {}
        self.tabs: dict[str, Tab] = {}
        self.reader = Worker("read", limits.pixels)
        self.enlarger = Worker("enlarge", limits.pixels)
        self.estimates = Estimates(weights)
        self.drawing = asyncio.Lock()
        """Lock held while the one file of a bicubic picture is written and read."""
        self._queue: list[Job] = []
        self._arrived = asyncio.Event()
        self._arriving = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Engine:
        await asyncio.gather(self.reader.start(), self.enlarger.start())
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._watch_tabs())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self.reader.close(), self.enlarger.close())

    # --- pictures -----------------------------------------------------------------------------

    async def add(self, name: str, tab: str, blocks: AsyncIterator[bytes]) -> Picture:
        """Take an upload of a plain name and read it; nothing is kept of one that is refused."""
        if len(self.pictures) + self._arriving >= self.limits.pictures:
            raise Refused(f"{self.limits.pictures} pictures are open already; remove some", 429)
        picture = Picture(name, self.folder / token_urlsafe(12), tab)
        self._arriving += 1
        try:
            await self._store(picture, blocks)
            picture.info = await self.reader.run(
                "read",
                seconds=self.limits.seconds,
                path=str(picture.file),
                folder=str(picture.folder),
            )
        except BaseException as error:
            await asyncio.to_thread(shutil.rmtree, picture.folder, ignore_errors=True)
            if isinstance(error, UserError) and not isinstance(error, Refused):
                raise Refused(picture.named(str(error)), 415) from None
            raise
        finally:
            self._arriving -= 1
        self.pictures[picture.key] = picture
        return picture

    async def _store(self, picture: Picture, blocks: AsyncIterator[bytes]) -> None:
        size, limit = 0, self.limits.upload
        try:
            picture.folder.mkdir()
            with picture.file.open("wb") as file:
                async with asyncio.timeout(self.limits.seconds):
                    async for block in blocks:
                        size += len(block)
                        if size > limit:
                            raise Refused(picture.named(f"is larger than {megabytes(limit)}"), 413)
                        file.write(block)
        except TimeoutError:
            slow = f"took more than {self.limits.seconds:g} s to arrive"
            raise Refused(picture.named(slow), 408) from None
        except OSError as error:
            raise Refused(str(cannot_write(Path(picture.name), error)), 507) from None
        if size == 0:
            raise Refused("the request has no picture in its body", 400)

    async def remove(self, picture: Picture) -> None:
        """Forget a picture and its jobs."""
        self.pictures.pop(picture.key, None)
        for job in [job for job in self.jobs.values() if job.picture is picture]:
            await self.cancel(job)
            self.jobs.pop(job.key, None)
        await asyncio.to_thread(shutil.rmtree, picture.folder, ignore_errors=True)

    # --- jobs ---------------------------------------------------------------------------------

    def size(self, picture: Picture, options: Options) -> tuple[int, int]:
        """The size (rows, cols) of the output, if it can be made."""
        try:
            rows, cols = options.size.of(picture.shape)
        except ValueError as error:
            raise UserError(f"{picture.name}: {error}") from None
        if rows * cols > self.limits.output:
            raise UserError(
                f"{picture.name}: {cols}x{rows} is more than {self.limits.output / 1e6:.0f} "
                "megapixels; take a smaller size, or `liif upscale`"
            )
        return rows, cols

    def submit(self, picture: Picture, options: Options) -> Job:
        """Put a picture into the queue."""
        if len(self._queue) >= self.limits.waiting:
            raise Refused(f"{len(self._queue)} pictures are waiting already; try again later", 429)
        size = self.size(picture, options)
        job = Job(picture, options, size, self.estimates.seconds(picture.shape, size, options))
        self.jobs[job.key] = job
        self._queue.append(job)
        self._arrived.set()
        self.tell(job)
        return job

    async def cancel(self, job: Job) -> None:
        """Stop a job, or take it out of the queue."""
        if job.state == "running":
            await self.enlarger.stop()
            await job.finished.wait()
        elif job.state == "waiting":
            self._queue.remove(job)
            self._end(job, "cancelled")

    async def _work(self) -> None:
        """Upscale the pictures of the queue, forever."""
        with suppress(UserError):
            await self.enlarger.wait_until_ready()
        while True:
            self.estimates.learn(self.enlarger.ready)
            await self._arrived.wait()
            if not self._queue:
                self._arrived.clear()
                continue
            job = self._queue.pop(0)
            for waiting in (job, *self._queue):
                self.tell(waiting)
            try:
                await self._enlarge(job)
                self._end(job, "done")
            except Stopped:
                self._end(job, "cancelled")
            except (UserError, OSError) as error:
                job.error = job.picture.named(job.plain(str(error)))
                self._end(job, "failed")

    async def _enlarge(self, job: Job) -> None:
        job.state, job.started = "running", time.monotonic()
        job.folder.mkdir()

        def hear(message: dict[str, object]) -> None:
            job.hear(message)
            self.tell(job)

        job.used = await self.enlarger.run(
            "enlarge",
            hear,
            path=str(job.picture.file),
            out=str(job.file),
            shown=bool(job.picture.tab),
            **job.options.arguments(self.weights[job.options.weights].path),
        )
        job.share = 1
        self.estimates.correct(job, job.used.pop("seconds"))

    def _end(self, job: Job, state: State) -> None:
        job.state = state
        job.finished.set()
        if state != "done":
            shutil.rmtree(job.folder, ignore_errors=True)
        self.tell(job)

    # --- tabs ---------------------------------------------------------------------------------

    def tell(self, job: Job) -> None:
        """Let the job's tab know of its state."""
        if tab := self.tabs.get(job.picture.tab):
            tab.tell(job)

    def ahead(self, job: Job) -> int:
        """The number of jobs that are done before this one."""
        return self._queue.index(job) + 1 if job in self._queue else 0

    def tab(self, key: str) -> Tab:
        """The tab of that key; a new one must connect soon."""
        if key not in self.tabs and len(self.tabs) >= self.limits.pictures:
            raise Refused("too many tabs are open", 429)
        return self.tabs.setdefault(key, Tab())

    async def _watch_tabs(self) -> None:
        """Forget the pictures of closed tabs, and stop their jobs."""
        while True:
            await asyncio.sleep(_AWAY / 5)
            now = time.monotonic()
            for key, tab in list(self.tabs.items()):
                if tab.streams == 0 and now - tab.left_at > _AWAY:
                    del self.tabs[key]
                    for picture in [p for p in self.pictures.values() if p.tab == key]:
                        await self.remove(picture)


def plain_name(name: str) -> str:
    """A file name from what a browser says, with a picture's suffix."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*').strip(". ")
    path = Path(kept or "picture")
    suffix = path.suffix if path.suffix.lower() in PICTURE_SUFFIXES else ".png"
    stem = path.stem if path.suffix.lower() in PICTURE_SUFFIXES else path.name
    while len(stem.encode()) > 100:
        stem = stem[:-1]
    return f"{stem.lstrip('.-') or 'picture'}{suffix}"
