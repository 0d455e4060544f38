import logging
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from liif.system import terminal
from liif.system.terminal import Terminal, install


class Snakemake:
    """Logs what Snakemake logs of its jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logger = logging.Logger("snakemake")
        self.default = logging.StreamHandler()
        self.default.name = "DefaultStreamHandler"
        self.logger.addHandler(self.default)
        self.terminal = Terminal(lambda rules: f"made by {', '.join(sorted(rules))}")
        install(self.logger, self.terminal)

    def say(
        self, event: str | None, level: int = logging.INFO, text: str = "", **more: Any
    ) -> None:
        self.logger.log(level, text, extra={"event": event, **more})

    def begin(self, *rules: str) -> None:
        self.say("run_info", stats={**dict.fromkeys(rules, 1), "total": len(rules)})
        for number, rule in enumerate(rules):
            self.say("job_info", jobid=number, rule_name=rule, log=[str(self.folder / rule)])

    def log(self, rule: str, text: str) -> None:
        """A job writes to its log."""
        with (self.folder / rule).open("a", encoding="utf-8") as stream:
            stream.write(text)


@pytest.fixture
def snakemake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Snakemake]:
    monkeypatch.setattr(terminal, "POLL_SECONDS", 0.01)
    made = Snakemake(tmp_path)
    yield made
    made.terminal.close()


Capture = pytest.CaptureFixture[str]


def test_a_line_for_each_job_and_the_summary_last(snakemake: Snakemake, capsys: Capture) -> None:
    (snakemake.folder / "pack").write_text("of an earlier run\n")
    snakemake.begin("pack", "train")
    snakemake.say(None, text="Select jobs to execute...")
    snakemake.say("shellcmd", text="liif pack")
    snakemake.log("pack", "packing: 2 photographs in 1 s\n│ set │ PSNR │\n")
    snakemake.say("job_finished", job_id=0)
    snakemake.say("progress", done=1, total=2)
    snakemake.log("train", "a: step 3/6, loss 0.1, 4 s left\na: 6 ste")
    snakemake.log("train", "ps in 8 s")
    snakemake.log("train", "\n")
    snakemake.say("job_finished", job_id=1)
    snakemake.terminal.close()
    assert capsys.readouterr().err.splitlines() == [
        "2 jobs: 1 pack, 1 train",
        "[1/2] packing: 2 photographs in 1 s",
        "[2/2] a: 6 steps in 8 s",
        "2 jobs in 0 s",
        "made by pack, train",
    ]


def test_errors_are_shown_whole(snakemake: Snakemake, capsys: Capture) -> None:
    snakemake.begin("pack")
    snakemake.log("pack", "liif: data/a.png: is not a picture\n")
    failed: dict[str, Any] = {"rule_name": "pack", "jobid": 0, "log": ["results/logs/pack.log"]}
    snakemake.say("job_error", logging.ERROR, **failed, rule_msg=None)
    snakemake.say(None, logging.ERROR, "Exiting because a job execution failed. Look above for …")
    snakemake.say("error", logging.ERROR, "Error:\n  of two lines")
    snakemake.terminal.close()
    assert capsys.readouterr().err.splitlines() == [
        "1 job: 1 pack",
        "[0/1] liif: data/a.png: is not a picture",
        "pack failed; its log: results/logs/pack.log",
        "Error:",
        "  of two lines",
    ]


def test_progress_is_repeated_ever_more_rarely(
    snakemake: Snakemake, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour of a training, with a line each ten seconds in its log."""
    clock = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    monkeypatch.setattr(snakemake.terminal, "_watch", lambda: None)
    snakemake.begin("train")
    for step in range(360):
        clock += 10
        snakemake.log("train", f"a: step {step}/360, loss 0.1, {3600 - 10 * step} s left\n")
        snakemake.terminal._look()
    shown = capsys.readouterr().err.splitlines()[1:]
    assert shown[0] == "[0/1] a: step 1/360, loss 0.1, 3590 s left"
    seconds = [10 * int(found) for found in re.findall(r"step (\d+)/", "\n".join(shown))]
    assert 10 <= len(seconds) <= 16
    assert all(b - a <= 620 for a, b in pairwise(seconds))
    clock += 700
    snakemake.log("train", "a: step 360/360, loss 0.1, 0 s left\na: 360 steps in 1 h\n")
    snakemake.terminal._look()  # what the last line has overtaken is not shown
    snakemake.say("job_finished", job_id=0)
    assert capsys.readouterr().err.splitlines() == ["[1/1] a: 360 steps in 1 h"]


def test_the_log_of_a_job_that_a_cluster_restarts(
    snakemake: Snakemake, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snakemake.terminal, "_watch", lambda: None)
    snakemake.begin("train")
    snakemake.log("train", "a: step 3/6, loss 0.1, 4 s left\na: stopped at step 3 of 6\n")
    snakemake.terminal._look()
    (snakemake.folder / "train").write_text("")
    snakemake.log("train", "a: resuming after step 3 of 6\n")
    snakemake.terminal._look()
    snakemake.log("train", "a: step 5/6, loss 0.1, 1 s left\na: 6 steps in 8 s\n")
    snakemake.say("job_finished", job_id=0)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "[0/1] a: stopped at step 3 of 6",
        "[1/1] a: resuming after step 3 of 6",
        "[1/1] a: 6 steps in 8 s",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            'MissingInputException in rule pack in file "x/train.smk", line 4:\nMissing input '
            "files for rule pack:\n    output: a.pack\n    affected files:\n        data/none",
            "liif: no such file or folder: data/none",
        ),
        (
            'InputFunctionException in rule pack in file "x/train.smk", line 4:\nError:\n'
            '  UserError: data/a.zip: is damaged\nWildcards:\n  part=a\nTraceback:\n  File "x"',
            "liif: data/a.zip: is damaged",
        ),
        (
            'RuleException:\nCalledProcessError in file "x/train.smk", line 18:\n'
            "Command 'liif pack' returned non-zero exit status 137.",
            "a job failed with exit status 137",
        ),
        (
            "WorkflowError:\nAt least one job did not complete successfully.",
            "not all jobs succeeded; rerun the command to resume",
        ),
        ("WorkflowError:\nAnother", "WorkflowError:\nAnother"),
    ],
)
def test_mistakes_are_one_line(
    snakemake: Snakemake, capsys: Capture, text: str, shown: str
) -> None:
    snakemake.say("error", logging.ERROR, text)
    assert capsys.readouterr().err == f"{shown}\n"


IN_A_TERMINAL = """
import pathlib, sys, time
sys.path.insert(0, {tests!r})
from system.test_terminal import Snakemake
from liif.system import terminal
snakemake = Snakemake(pathlib.Path({folder!r}))
snakemake.begin("train", "pack")
snakemake.log("train", "a: epoch 1/2, step 3/6, loss 0.1, 4 s left\\n")
snakemake.log("pack", "a warning\\n")
time.sleep(1)
snakemake.say("job_finished", job_id=0)
snakemake.say("job_finished", job_id=1)
snakemake.terminal.close()
"""


def test_bars_on_a_terminal(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    program = IN_A_TERMINAL.format(tests=tests, folder=str(tmp_path))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 10000):
                shown += part
        except OSError:  # closed by the program
            pass
    os.close(ours)
    assert process.returncode == 0, shown
    text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", shown.decode())
    assert re.search(r"all jobs .* 0%", text)
    assert re.search(r"\ba .* 50% 4 s left", text)
    assert "step 3/6" not in text
    assert "[2/2] a warning" in text
    assert text.rstrip().endswith("made by pack, train")
