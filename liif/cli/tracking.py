"""What the subcommands put on record, and what killed ones left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from liif.system.project import project, records_folder

if TYPE_CHECKING:
    from liif.tracking.tracker import NoTracker


@contextmanager
def killed_runs_noted() -> Iterator[None]:
    """Runs whose process was killed are marked so by the next job, whatever it does."""

    tracker = None
    if any(records_folder(project()).glob("*/*/live.lock")):
        from liif.tracking.tracker import Tracker, installed

        if installed():
            tracker = Tracker(project())
            if not tracker.records.bury():
                tracker = None
    try:
        yield
    finally:
        if tracker is not None:
            tracker.close(seconds=30)


@contextmanager
def tracking(wanted: bool | None) -> Iterator[NoTracker]:
    """What a job keeps records with; they are delivered before it ends."""
    from liif.tracking import tracker as courier

    tracker = courier.tracker(wanted, project())
    try:
        yield tracker
    except BaseException:
        tracker.close(seconds=20)  # who stopped a job waits for it
        raise
    tracker.close()
