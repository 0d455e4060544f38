"""The command line: `liif SUBCOMMAND`, and how mistakes are told."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from io import TextIOWrapper

from liif import progress, ranks
from liif.cli import pictures, stages
from liif.cli.app import app
from liif.cli.records import killed_runs_noted
from liif.errors import UserError
from liif.interrupt import Interrupted, Stopped, unwinding
from liif.progress import say

__all__ = ["app", "main", "pictures", "stages"]


def main() -> None:
    """Run the command line; a mistake of the user's is one line, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # × is not in every character set
    words = sys.argv[1:]
    a_job = any(not w.startswith("-") for w in words[:1]) and not {"-h", "--help"} & set(words)
    leads = ranks.rank() == 0
    progress.quiet = not leads  # of a training by several processes one talks, but for errors
    try:
        with ExitStack() as stack:
            if a_job:
                stack.enter_context(unwinding())
                if leads:
                    stack.enter_context(killed_runs_noted())
            app()
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        _fail(f"{name}{error.strerror or error}")
    except UserError as error:
        _fail(str(error))
    except MemoryError:
        _fail("there is not enough memory; close other programs, or take less at once")
    except ranks.Elsewhere:
        say("liif: another process of this training ended and says why; the same command goes on")
        raise SystemExit(1) from None
    except Stopped as stop:
        say("liif: stopped; nothing half-written is left, and the same command goes on")
        raise SystemExit(128 + stop.signal_number) from None
    except Interrupted as error:
        say(f"liif: {error}")
        raise SystemExit(128 + error.signal_number) from None


def _fail(reason: str) -> None:
    """Say why and end, whichever process this is."""
    progress.quiet = False
    which = f" (process {ranks.rank() + 1} of {ranks.size()})" if ranks.rank() else ""
    say(f"liif{which}: {reason}")
    raise SystemExit(1) from None
