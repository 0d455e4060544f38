"""Pictures computed ahead, as on a GPU; here by a CPU that pretends to be one."""

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import SMALL, Folder

from liif.checkpoints.format import save_checkpoint
from liif.images import write
from liif.images.channels import Band
from liif.inference import ahead
from liif.inference.ahead import Ahead
from liif.inference.plan import Job
from liif.inference.size import Size
from liif.inference.upscale import upscale
from liif.inference.upscaler import Upscaler, open_upscaler
from liif.network.build import build
from liif.system.errors import UserError
from liif.system.signals import Stopped, raise_on_stop


@pytest.fixture(autouse=True)
def no_thread_remains() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.fixture
def upscaler(tmp_path: Path) -> Upscaler:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, build(SMALL["edsr"]), SMALL["edsr"])
    return open_upscaler(path, "cpu", precision="float32")._replace(on_gpu=True)


def job(upscaler: Upscaler) -> Job:
    return Job(upscaler=upscaler, size=Size(scale=3), overwrite=True)


def numbered(count: int, computed: list[int]) -> Iterator[Band]:
    """Bands of one row of ten bytes; notes which were computed."""
    for i in range(count):
        computed.append(i)
        yield slice(i, i + 1), np.full((1, 10, 1), i, np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pictures_are_those_of_a_cpu(
    folder: Folder, tmp_path: Path, upscaler: Upscaler, suffix: str
) -> None:
    source = folder("lr", a=(9, 6), b=(33, 20), c=(5, 5))
    results = []
    for on_gpu in (False, True):
        todo = replace(job(upscaler._replace(on_gpu=on_gpu)), suffix=suffix)
        results.append(list(upscale([source], tmp_path / f"{on_gpu}", todo).items()))
    assert results[0] == results[1]
    assert len(results[0]) == 3


def test_a_picture_is_computed_while_the_one_before_is_written(
    folder: Folder, tmp_path: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, real_write, real_bands = threading.Event(), write.write, upscaler.bands

    def bands(lr: Any, size: tuple[int, int]) -> Iterator[Any]:
        yield from real_bands(lr, size)
        if size == (15, 15):
            second.set()

    def write_after_it(path: Path, *args: Any, **options: Any) -> None:
        assert second.wait(30), "the second picture waits for the first to be written"
        real_write(path, *args, **options)

    monkeypatch.setattr(write, "write", write_after_it)
    source = folder("lr", a=(9, 6), b=(5, 5))
    assert len(upscale([source], tmp_path / "sr", job(upscaler._replace(bands=bands)))) == 2


def test_a_picture_that_fails_is_reported_in_its_turn(
    folder: Folder, tmp_path: Path, upscaler: Upscaler, capsys: pytest.CaptureFixture[str]
) -> None:
    real = upscaler.bands

    def bands(lr: Any, size: tuple[int, int]) -> Iterator[Any]:
        yield from real(lr, size)
        if size == (15, 15):
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    source = folder("lr", a=(9, 6), b=(5, 5), d=(6, 6))
    (source / "c.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="2 of 4 pictures failed") as caught:
        upscale([source], tmp_path / "sr", job(upscaler._replace(bands=bands)))
    failed = str(caught.value).splitlines()[1:]
    assert "b.png: not enough memory; lower --max-memory" in failed[0]
    assert "c.png" in failed[1]
    assert capsys.readouterr().err.count("not enough memory") == 1
    assert sorted(path.name for path in (tmp_path / "sr").iterdir()) == ["a.png", "d.png"]


@pytest.mark.parametrize("error", [Stopped(15), KeyboardInterrupt(), AssertionError()])
def test_computing_ends_when_writing_is_interrupted(
    folder: Folder,
    tmp_path: Path,
    upscaler: Upscaler,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    def endless(lr: Any, size: tuple[int, int]) -> Iterator[Any]:
        while True:
            yield slice(0, 1), np.zeros((1, size[1], 3), np.float32)

    def interrupted(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(write, "write", interrupted)
    source = folder("lr", a=(9, 6), b=(5, 5))
    with pytest.raises(type(error)):
        upscale([source], tmp_path / "sr", job(upscaler._replace(bands=endless)))


@pytest.mark.parametrize("at", [0, 3])
def test_a_stop_signal_while_bands_are_awaited(
    folder: Folder, tmp_path: Path, upscaler: Upscaler, at: int
) -> None:
    def slow(lr: Any, size: tuple[int, int]) -> Iterator[Any]:
        for i in count():
            if i == at:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            time.sleep(0.1)
            yield slice(0, 1), np.zeros((1, size[1], 3), np.float32)

    source = folder("lr", a=(9, 6), b=(5, 5))
    with raise_on_stop(), pytest.raises(Stopped):
        upscale([source], tmp_path / "sr", job(upscaler._replace(bands=slow)))
    assert not list(tmp_path.glob("sr/*"))


def test_bands_that_wait_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "MAX_BYTES", 35)
    computed: list[int] = []
    with Ahead() as computing:
        bands = computing.start(numbered(20, computed))
        for i, (rows, band) in enumerate(bands):
            assert (rows, band[0, 0, 0]) == (slice(i, i + 1), i)
            assert len(computed) <= i + 1 + 5  # three wait, one is too many, one just taken
    assert computed == list(range(20))


def test_pictures_are_computed_in_turn_and_not_when_closed() -> None:
    computed: list[list[int]] = [[], [], []]
    with Ahead() as computing:
        gate = threading.Event()

        def first() -> Iterator[Band]:
            gate.wait(30)
            yield from numbered(3, computed[0])

        pictures = [computing.start(first())]
        pictures += [computing.start(numbered(3, each)) for each in computed[1:]]
        pictures[1].close()
        assert computed == [[], [], []]
        gate.set()
        assert [rows.start for rows, _ in pictures[2]] == [0, 1, 2]
        assert computed == [[0, 1, 2], [], [0, 1, 2]]
        assert len(list(pictures[0])) == 3
        assert list(pictures[0]) == []
