"""A process that does one task at a time for the server, and is replaced when it ends.

Pictures from elsewhere are read and upscaled in such processes: a picture that crashes one does
not end the server, a task can be stopped at any moment, and its memory becomes free.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from liif.images.read import MAX_PIXELS_VARIABLE
from liif.system.errors import PictureError

_LINE = 1 << 22
"""Bytes of the longest message."""
_GRACE = 0.5
"""Seconds for a task to stop by itself, before its process is killed."""


class Stopped(Exception):
    """The task was stopped on request."""


class Worker:
    """Does tasks of `liif.app.tasks` in a process.

    Parameters
    ----------
    kind
        A process of kind `enlarge` loads the network before its first task.
    max_pixels
        Of pictures that it reads.
    """

    def __init__(self, kind: Literal["read", "enlarge"], max_pixels: int) -> None:
        self.ready: dict[str, float] = {}
        """What the process measured of itself when it started."""
        self._kind, self._max_pixels = kind, max_pixels
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._stopping = False

    async def start(self) -> None:
        """Start the process, unless it runs."""
        if self._process is not None and self._process.returncode is None:
            return
        # Threads that wait must not keep a core busy: the server needs it.
        defaults = {MAX_PIXELS_VARIABLE: str(self._max_pixels), "OMP_WAIT_POLICY": "passive"}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "liif.app.tasks", self._kind),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            limit=_LINE,
            env={**defaults, **os.environ},
            start_new_session=True,  # Ctrl-C is for the server, which stops its processes
        )

    async def run(
        self,
        task: str,
        on_message: Callable[[dict[str, Any]], None] | None = None,
        *,
        seconds: float | None = None,
        **arguments: Any,
    ) -> Any:
        """The result of a task; raises `Stopped` if it was stopped.

        Raises
        ------
        PictureError
            What went wrong with the picture, in one line.
        """
        async with self._turn:
            self._stopping = False
            try:
                async with asyncio.timeout(seconds):
                    await self.start()
                    await self._send({"task": task, "arguments": arguments})
                    return await self._result(on_message)
            except TimeoutError:
                await self._kill()
                raise PictureError(f"took more than {seconds:g} s; it is left out") from None
            except asyncio.CancelledError:
                await self._kill()
                raise

    async def _send(self, message: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with suppress(ConnectionError):  # an ended process is noticed by its empty output
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()

    async def _message(self) -> dict[str, Any]:
        """The next message of the process; empty at its end."""
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return json.loads(line) if line else {}

    async def _result(self, on_message: Callable[[dict[str, Any]], None] | None) -> Any:
        while message := await self._message():
            if "ready" in message:
                self.ready = message["ready"]
            if message.get("ends"):
                await self._kill()
                await self.start()
            if "result" in message:
                return message["result"]
            if "cancelled" in message:
                raise Stopped
            if "error" in message:
                raise PictureError(message["error"])
            if on_message is not None:
                on_message(message)
        await self._kill()
        await self.start()  # for the next task
        if self._stopping:
            raise Stopped
        raise PictureError("its process has ended, perhaps for lack of memory; try a smaller size")

    async def stop(self) -> None:
        """Stop the task under way, within a second."""
        self._stopping, process = True, self._process
        await self._send({"cancel": True})
        try:
            async with asyncio.timeout(_GRACE), self._turn:
                pass
        except TimeoutError:
            if process is not None and process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()

    async def wait_until_ready(self) -> None:
        """Wait until the process has started and measured itself."""
        async with self._turn:
            await self.start()
            while not self.ready and (message := await self._message()):
                self.ready = message.get("ready", {})

    async def close(self) -> None:
        """End the process."""
        await self._kill()

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
