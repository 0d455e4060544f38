"""The tracker of a job, and the runs of jobs that were killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from liif.system.project import project, records_folder

if TYPE_CHECKING:
    from liif.tracking.tracker import NoTracker


@contextmanager
def mark_killed_runs() -> Iterator[None]:
    """Mark runs whose process was killed; deliver that by the end of the block."""
    with ExitStack() as stack:
        if any(records_folder(project()).glob("*/*/live.lock")):
            from liif.tracking.tracker import Tracker, installed

            if installed() and (tracker := Tracker(project())).records.mark_killed():
                stack.callback(tracker.close, seconds=30)
        yield


@contextmanager
def job_tracker(wanted: bool | None) -> Iterator[NoTracker]:
    """The tracker of a job; its records are delivered by the end of the block."""
    from liif.tracking.tracker import make_tracker

    tracker = make_tracker(wanted, project())
    try:
        yield tracker
    except BaseException:
        tracker.close(seconds=20)  # someone is waiting for the job to stop
        raise
    tracker.close()
