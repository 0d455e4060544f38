"""The command line: `liif SUBCOMMAND`, and how mistakes are told."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from io import TextIOWrapper

from liif.cli import pictures, stages
from liif.cli.app import app
from liif.cli.records import killed_runs_noted
from liif.errors import UserError
from liif.interrupt import Interrupted

__all__ = ["app", "main", "pictures", "stages"]


def main() -> None:
    """Run the command line; a mistake of the user's is one line, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # × is not in every character set
    words = sys.argv[1:]
    a_job = any(not w.startswith("-") for w in words[:1]) and not {"-h", "--help"} & set(words)
    try:
        with killed_runs_noted() if a_job else nullcontext():
            app()
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"liif: {name}{error.strerror or error}", file=sys.stderr)
        raise SystemExit(1) from None
    except UserError as error:
        print(f"liif: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("liif: stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except Interrupted as error:
        print(f"liif: {error}", file=sys.stderr)
        raise SystemExit(128 + error.signal_number) from None
