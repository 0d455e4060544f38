import time
from collections.abc import Iterator

import pytest

from liif.recipe import Training
from liif.training.throughput import Throughput


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    yield from capsys.readouterr().err.splitlines()


def test_rate_and_time_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    pace = Throughput("m", Training(epochs=2, batch=4), per_epoch=10, step=5, on_cpu=False)
    for i in range(5):
        clock[0] = 3.0 * (i + 1)
        pace.step(0.25)
    assert pace.patches_per_second == pytest.approx(4 / 3)
    assert pace.lap() == 15
    clock[0] = 20
    assert pace.lap() == 5
    printed = list(lines(capsys))
    assert printed[0] == "m: epoch 1/2, step 7/20, loss 0.2500, 1.3 patches/s, 39 s left"
    pace.log(0.5, 31.234)
    (line,) = lines(capsys)
    assert "epoch 1/2, step 10/20, loss 0.5000, validation 31.23 dB" in line


def test_long_trainings_are_announced_once(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for on_cpu in (True, False):
        pace = Throughput("m", Training(), per_epoch=1000, step=0, on_cpu=on_cpu)
        for i in range(9):
            clock[0] = 0.5 * (i + 1)
            pace.step(0.25)
        clock[0] = 0
        printed = list(lines(capsys))
        assert len(printed) == on_cpu
        assert not on_cpu or "takes about 5 d 18 h, judging from its first steps" in printed[0]
