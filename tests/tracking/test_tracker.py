import threading
from pathlib import Path
from typing import Any

import pytest

from liif.system.errors import UserError
from liif.tracking import store
from liif.tracking import tracker as tracker_module
from liif.tracking.run import Run
from liif.tracking.tracker import NoTracker, Tracker, make_tracker


def test_off_or_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not make_tracker(False, tmp_path).enabled
    assert make_tracker(True, tmp_path).enabled
    assert make_tracker(None, tmp_path).enabled
    monkeypatch.setattr(tracker_module, "installed", lambda: False)
    assert not make_tracker(None, tmp_path).enabled
    with pytest.raises(UserError, match="tracking needs MLflow"):
        make_tracker(True, tmp_path)


def test_without_tracking_nothing_is_kept(tmp_path: Path) -> None:
    tracker = NoTracker()
    run = tracker.run("m", "key")
    assert type(run) is Run
    tracker.start()
    tracker.close()
    assert not list(tmp_path.iterdir())


def test_whatever_goes_wrong_is_said_once_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("at http://me:secret@host: no answer\nand more lines")

    monkeypatch.setattr(store.Store, "__init__", broken)
    monkeypatch.setattr(store, "system_monitor", broken)
    for name in ("a", "b"):
        tracker = Tracker(tmp_path)
        tracker.start()
        tracker.run(name, "key").log_params({"a": 1})
        tracker.close(seconds=10)
    error = capsys.readouterr().err
    assert error.count("MLflow (") == 1
    assert "at http://host no answer" in error.replace("host:", "host")
    assert "secret" not in error
    assert "more lines" not in error
    assert len([r for r in tracker.records.all() if r.is_pending()]) == 2


def test_closing_wakes_the_delivery_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the instant when it has looked and not yet slept."""
    looked, go_on = threading.Event(), threading.Event()

    def rounds(self: Tracker) -> int:
        looked.set()
        go_on.wait(10)
        return 0

    monkeypatch.setattr(Tracker, "_round", rounds)
    monkeypatch.setattr(Tracker, "_sample", lambda _: None)
    tracker = Tracker(tmp_path)
    tracker.start()
    assert looked.wait(10)
    closing = threading.Thread(target=tracker.close)
    closing.start()
    go_on.set()
    closing.join(10)
    assert not closing.is_alive()


def test_a_delivery_thread_that_died_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(tmp_path)
    dead = threading.Thread(target=lambda: None)
    dead.start()
    dead.join()
    tracker._thread = dead
    seen = threading.Event()
    monkeypatch.setattr(Tracker, "_round", lambda _: seen.set())
    monkeypatch.setattr(Tracker, "_sample", lambda _: None)
    monkeypatch.setattr(Tracker, "_left", lambda _: False)
    tracker.run("m", "key").log_params({"a": 1})
    tracker.close(seconds=10)
    assert seen.is_set()


def test_another_job_that_delivers_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last look may have been before our last word."""
    rounds: list[int] = []
    monkeypatch.setattr(Tracker, "_round", lambda _: rounds.append(1))
    monkeypatch.setattr(Tracker, "_sample", lambda _: None)
    monkeypatch.setattr(Tracker, "_left", lambda _: len(rounds) < 3)
    tracker = Tracker(tmp_path)
    tracker.run("m", "key").log_params({"a": 1})
    tracker.close(seconds=10)
    assert len(rounds) == 3
