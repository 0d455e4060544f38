"""The command line `liif SUBCOMMAND`, and how errors are shown.

Commands import heavy modules only when they run, so that `liif --help` answers at once.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from contextlib import ExitStack
from io import TextIOWrapper
from typing import NoReturn

from liif.cli import pictures, serving, weights, data, workflow, results  # isort: skip (the help's order)
from liif.cli.options import app
from liif.cli.tracking import mark_killed_runs
from liif.system import processes, progress
from liif.system.errors import UserError
from liif.system.progress import log
from liif.system.signals import Interrupted, Stopped, raise_on_stop

__all__ = ["app", "data", "main", "pictures", "results", "serving", "weights", "workflow"]


def main() -> None:
    """Run the command line; an error is one line, with a traceback only after `liif --debug`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # × is not in every character set
    # A damaged picture is one line of ours, and its damaged metadata is left out.
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    words = [word for word in sys.argv[1:] if word != "--debug"]
    a_job = any(not w.startswith("-") for w in words[:1]) and not {"-h", "--help"} & set(words)
    # Of a training by several processes only rank 0 logs, except for errors, and cleans up.
    follows = words[:1] == ["train"] and processes.rank() > 0
    progress.quiet = follows
    try:
        with ExitStack() as stack:
            if a_job:
                stack.enter_context(raise_on_stop())
                if not follows:
                    stack.enter_context(mark_killed_runs())
            app()
    except processes.PeerFailed as error:
        reason = f" ({error})" if str(error) else ""
        log(
            f"liif: another process of this training has ended{reason}; "
            "run the same command to resume"
        )
        _leave(1)
    except Stopped as stop:
        log("liif: stopped; nothing half-written is left; run the same command to resume")
        _leave(128 + stop.signal_number)
    except Interrupted as error:
        log(f"liif: {error}")
        _leave(128 + error.signal_number)
    except Exception as error:
        progress.quiet = False
        if words != sys.argv[1:]:
            traceback.print_exc()
        rank = f" (process {processes.rank() + 1} of {processes.world_size()})"
        log(f"liif{rank if processes.rank() else ''}: {_reason(error)}")
        _leave(1)


def _reason(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "not enough memory; close other programs, or process less at once"
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"unexpected {what} (`liif --debug …` shows the traceback)"


def _leave(code: int) -> NoReturn:
    """Exit; a rank of a training at once, since a GPU may wait for another forever."""
    if processes.is_rank():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code) from None
