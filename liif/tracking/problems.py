"""Problems with records: reported once, since a job never fails for want of a record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from liif.system.progress import log
from liif.system.project import project, records_folder
from liif.system.redact import redact

reported = False
"""Whether this process has reported a problem."""


@contextmanager
def never_failing() -> Iterator[None]:
    """Report any exception of the block; the job continues."""
    try:
        yield
    except Exception as error:
        report(error)


def report(error: Exception) -> None:
    """Report the first problem of the process."""
    global reported
    if not reported:
        reported = True
        with suppress(ValueError, OSError):  # standard error may be closed, or its disk full
            log(f"{sentence(error)}; work continues")


def sentence(error: Exception) -> str:
    """One sentence: what is wrong, and what happens to the records."""
    lines = redact(str(error)).strip().splitlines() or [type(error).__name__]
    text = lines[0] if len(lines[0]) <= 200 else f"{lines[0][:200]} …"
    where = redact(os.environ.get("MLFLOW_TRACKING_URI", "")) or "the project's database"
    return (
        f"MLflow ({where}): {text}; undelivered records queue in {records_folder(project())} and "
        "are delivered by the next job, or by: liif deliver"
    )
