"""The work that the server gives to its processes, each of which does one task at a time.

`python -m liif.app.tasks` reads tasks as lines of JSON, and writes messages and results as such. It
ends with its standard input, and so with the server.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from io import TextIOBase
from queue import SimpleQueue
from typing import Any

from liif.app import pictures
from liif.system import memory
from liif.system.errors import UserError

_KEPT = 1_200_000_000
"""Bytes of memory above which a process ends after a task, so that they become free."""


class Cancelled(Exception):
    """The task is no longer wanted."""


class _Notes(TextIOBase):
    """A text stream that sends each line that is written to it."""

    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send

    def write(self, text: str) -> int:
        for line in filter(None, text.splitlines()):
            self._send(note=line)
        return len(text)


def run(task: str, arguments: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """The last message about a task: its result, or what went wrong."""
    try:
        with redirect_stderr(_Notes(send)):
            return {"result": pictures.TASKS[task](send, **arguments)}
    except Cancelled:
        return {"cancelled": True}
    except UserError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"{error.strerror or error}"}
    except Exception as error:
        if memory.is_out_of_memory(error):
            return {"error": "there is not enough memory; take a smaller size"}
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return {"error": f"unexpected {what}"}


def serve(kind: str) -> None:
    """Do the tasks of the standard input until it ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no message
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    tasks: SimpleQueue[dict[str, Any]] = SimpleQueue()
    cancelled = threading.Event()

    def read() -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "cancel" in message:
                cancelled.set()
            else:
                cancelled.clear()
                tasks.put(message)
        os._exit(0)  # also in the middle of a task

    def send(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()
        if "band" in message and cancelled.is_set():
            raise Cancelled

    threading.Thread(target=read, daemon=True).start()
    if kind == "enlarge":
        send(ready=pictures.prepare())
    while True:
        message = tasks.get()
        last = run(message["task"], message["arguments"], send)
        gc.collect()
        ends = memory.used() > _KEPT
        send(**last, ends=ends)
        if ends:
            return


if __name__ == "__main__":
    serve(sys.argv[1])
