import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from samples import PHOTOGRAPHS, ROW

from liif.system.errors import UserError
from liif.system.signals import Interrupted, Stopped
from liif.tracking import problems
from liif.tracking.records import Record, Records


def rows(*epochs: int) -> list[dict[str, float]]:
    return [{**ROW, "epoch": e, "timestamp": 1000.0 + e} for e in epochs]


def kinds(record: Record) -> list[str]:
    return [event["kind"] for _, event in record.events()]


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "tracking")


def test_nothing_is_said_twice(records: Records, tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text("1")
    picture = np.zeros((4, 5, 3), np.uint8)
    for _ in range(2):  # the second time by another process, which reads what is there
        record = records.of("m", "key")
        record.log_params({"a": 1})
        record.set_tags({"b": "x"})
        record.log_epochs(rows(1, 2))
        record.log_metrics({"psnr": 30.0})
        record.log_dataset(PHOTOGRAPHS)
        record.log_image("crop", picture, step=1)
        record.log_file(file, "history.csv")
        record.log_text("recipe.json", "{}")
        record.log_model(file, step=3)
        record.log_sample("x", file)
        record.set_status("FINISHED", "well")
    once = ["params", "tags", "epoch", "epoch", "measured", "dataset", "image"]
    assert kinds(records.of("m", "key")) == [
        *once,
        *["file", "file", "model", "image", "status", "tags"],
    ]


def test_what_changed_is_said_again(records: Records, tmp_path: Path) -> None:
    record = records.of("m", "key")
    record.log_params({"device": "cpu"})
    record.log_params({"device": "cuda", "threads": 2})
    assert record.known.params == {"device": "cpu", "threads": "2"}
    assert record.known.tags == {"resumed.device": "cuda"}
    for value in (30.0, 30.0, 31.0):
        record.log_metrics({"psnr": value, "ssim": 0.5})
    assert record.known.measured == {"psnr": (31.0, 1), "ssim": (0.5, 0)}
    file = tmp_path / "f.txt"
    for text in ("1", "1", "2"):
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(file)
        record.log_file(file, "f.txt")
    stored = [e["file"] for _, e in record.events() if e["kind"] == "file"]
    assert [(record.folder / name).read_text() for name in stored] == ["1", "2"]


def test_a_file_stays_as_it_was(records: Records, tmp_path: Path) -> None:
    record, file = records.of("m", "key"), tmp_path / "weights.safetensors"
    file.write_text("old")
    record.log_model(file)
    (tmp_path / "new").write_text("new")
    (tmp_path / "new").replace(file)
    ((_, event),) = record.events()
    assert (record.folder / event["file"]).read_text() == "old"


def test_a_line_that_a_killed_process_left_is_cut_off(records: Records) -> None:
    record = records.of("m", "key")
    record.log_params({"a": 1})
    with record.path.open("ab") as file:
        file.write(b'{"kind": "para')
    assert kinds(record) == ["params"]
    records.of("m", "key").log_params({"b": 2})
    assert [e["values"] for _, e in record.events()] == [{"a": "1"}, {"b": "2"}]


@pytest.mark.parametrize(
    ("error", "status", "ended"),
    [
        (Interrupted("saved at step 8", signal.SIGTERM), "KILLED", "saved at step 8"),
        (UserError("the loss is nan"), "FAILED", "the loss is nan"),
        (ZeroDivisionError("x"), "FAILED", "ZeroDivisionError: x"),
        (KeyboardInterrupt(), "KILLED", "second request"),
        (Stopped(signal.SIGINT), "KILLED", "second request"),
    ],
)
def test_how_it_ended(records: Records, error: BaseException, status: str, ended: str) -> None:
    record = records.of("m", "key")

    def work() -> None:
        with record.active():
            assert record.known.status == "RUNNING"
            assert record.is_alive()
            raise error

    with pytest.raises(type(error)):
        work()
    assert record.known.status == status
    assert ended in record.known.tags["ended"]
    assert not record.is_alive()
    assert not record.mark_killed()


CHILD = """
import os, sys
from pathlib import Path
from liif.tracking.records import Records
record = Records(Path(sys.argv[1])).of("m", "key")
with record.active():
    print("alive", flush=True)
    sys.stdin.read()
"""


def test_a_lock_that_cannot_be_removed_ends_no_job(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where an open file cannot be."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    record = records.of("m", "key")
    with monkeypatch.context() as windows, record.active():
        windows.setattr(Path, "unlink", refuse)
    assert not record.is_alive()
    with monkeypatch.context() as windows:
        windows.setattr(Path, "unlink", refuse)
        assert [killed.name for killed in records.mark_killed()] == ["m"]


def test_a_killed_run_is_buried_by_the_next_job_only(records: Records) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(records.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"alive\n"
    assert records.mark_killed() == []
    child.kill()
    child.communicate()
    assert records.of("m", "key").known.status == "RUNNING"
    (record,) = records.mark_killed()
    assert record.known.status == "KILLED"
    assert records.mark_killed() == []
    with records.of("m", "key").active():
        assert records.mark_killed() == []
    assert kinds(record).count("status") == 3


def test_a_training_from_the_start_is_another_run(records: Records) -> None:
    assert records.of("m", "key", from_scratch=True).folder == records.of("m", "key").folder
    records.of("m", "key").log_epochs(rows(1))
    second = records.of("m", "key", from_scratch=True)
    assert second.folder.name == "key.2"
    second.log_epochs(rows(1))
    assert records.of("m", "key").folder == second.folder
    assert records.of("m", "key", from_scratch=True).folder.name == "key.3"
    assert records.of("m", "other").folder.name == "other"


def test_a_disk_without_room_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    troubles: list[Exception] = []
    monkeypatch.setattr(problems, "report", troubles.append)
    (tmp_path / "file").touch()
    record = Records(tmp_path / "file" / "x").of("m", "key")
    record.send_to(None, "e")
    record.log_params({"a": 1})
    record.log_image("i", np.zeros((2, 2, 3), np.uint8), step=1)
    record.log_file(tmp_path / "missing", "m")
    with record.active():
        record.log_epochs(rows(1))
    assert len(troubles) >= 5


def test_a_record_that_moves_starts_over(records: Records) -> None:
    record = records.of("m", "key")
    record.send_to(None, "sr_800")
    before = record.address
    assert not record.is_pending()
    record.log_params({"a": 1})
    assert record.is_pending()
    state = record.delivered()
    state.offset = record.path.stat().st_size
    record.note_delivered(state)
    assert not record.is_pending()
    record.send_to(None, "sr_800")
    assert not record.is_pending()
    record.send_to("http://127.0.0.1:1", "sr_800")
    assert record.is_pending()
    assert before is not None
    assert record.address == before.model_copy(update={"store": "http://127.0.0.1:1"})


def test_events_are_json_lines_that_others_can_read(records: Records) -> None:
    record = records.of("m", "key")
    record.log_epochs([{**ROW, "loss": 0.123456789012345}])
    (line,) = record.path.read_text().splitlines()
    assert json.loads(line) == {
        "kind": "epoch",
        "step": 1,
        "timestamp": 1000500,
        "values": {"loss": 0.123456789},
    }


@pytest.mark.parametrize("name", ["record.json", "delivered.json", "events.jsonl"])
@pytest.mark.parametrize("left", [b"", b"\0\0\0", b'{"id": "x", "new": 1}\n', b"[]\n", b"\xff\n"])
def test_what_a_power_cut_leaves_stops_nothing(records: Records, name: str, left: bytes) -> None:
    record = records.of("m", "key")
    record.send_to(None, "sr_800")
    record.log_params({"a": 1})
    record.note_delivered(record.delivered())
    (record.folder / name).write_bytes(left)
    (record.folder / "live.lock").touch()
    records.mark_killed()
    again = records.of("m", "key")
    again.send_to(None, "sr_800")
    again.log_params({"b": 2})
    assert again.known.params["b"] == "2"
    assert again.is_pending()


def test_events_that_a_power_cut_took_are_noticed(records: Records) -> None:
    record = records.of("m", "key")
    record.send_to(None, "e")
    record.log_params({"a": 1})
    state = record.delivered()
    state.offset, state.run = record.path.stat().st_size + 5, "r"
    record.note_delivered(state)
    assert record.delivered().offset == 0
    record.log_params({"b": 2})
    state.offset = record.path.stat().st_size - 3  # within a line
    record.note_delivered(state)
    assert (record.delivered().offset, record.delivered().run) == (0, "r")


def test_a_run_that_finished_is_not_buried(records: Records) -> None:
    record = records.of("m", "key")
    record.set_status("FINISHED", "well")
    lock = record.folder / "live.lock"
    lock.touch()  # its process was killed before it removed this
    assert records.mark_killed() == []
    assert not lock.exists()
    assert records.of("m", "key").known.status == "FINISHED"
    assert not record.is_alive()
    assert not lock.exists()


def test_a_record_without_address_still_waits(records: Records) -> None:
    record = records.of("m", "key")
    record.log_params({"a": 1})  # there was no room for its address just then
    assert record.address is None
    assert record.is_pending()
