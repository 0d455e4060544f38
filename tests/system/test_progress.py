import sys
import time

import pytest

from liif.system import progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (18720, "5 h 12 min"), (273600, "3 d 4 h")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


def test_work_continues_when_standard_error_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, _: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    progress.log("unheard")


def test_progress_shows_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    bar = progress.Progress("work", 4, unit="things")
    for _ in range(4):
        bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "work: 1/4 things, 30 s left"
    assert lines[-1] == "work: 4 things in 40 s"
    counted = progress.Progress("work", 1, unit="things", closing=False)
    counted.advance()
    assert capsys.readouterr().err == ""
    assert counted.elapsed == 20
