"""Terminal output of a workflow: a line for each job, and the progress of running jobs.

The jobs write everything to their logs, and Snakemake to its own, `.snakemake/log`.
"""

from __future__ import annotations

import logging
import re
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liif.system.progress import bars, duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

POLL_SECONDS = 0.25
_PROGRESS = re.compile(r"(?P<title>.+?): .*\b(?P<done>\d+)/(?P<total>\d+)\b.*, (?P<left>.+) left")
_TABLE = tuple("┏┃┡│├└")
_LINE = 110
"""Width of the lines that are wrapped."""


@dataclass
class _Job:
    rule: str
    logs: list[Path]
    read: dict[Path, int] = field(default_factory=dict)
    progress: str = ""
    held: str = ""
    start: float = 0.0
    next: float = 15.0
    bar: TaskID | None = None


class Terminal(logging.Handler):
    """Takes the place of Snakemake's handler: shows its errors, and the lines in the jobs' logs.

    On a terminal bars show the progress; elsewhere a job's line of progress is repeated ever more
    rarely. Tables stay in the logs. `summary` is called after a run without errors, with the names
    of the rules that ran; what it returns is shown last.
    """

    def __init__(self, summary: Callable[[set[str]], str]) -> None:
        super().__init__(logging.INFO)
        self._summary = summary
        self._jobs: dict[int, _Job] = {}
        self._rules: set[str] = set()
        self._done = self._total = 0
        self._start = time.monotonic()
        self._busy = threading.RLock()
        self._ended = threading.Event()
        self._bars: Progress | None = None
        self._whole: TaskID | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Show one of Snakemake's records, or what it says about a job."""
        with self._busy:
            self._emit(record, record.__dict__)

    def _emit(self, record: logging.LogRecord, of: dict[str, Any]) -> None:
        match of.get("event"):
            case "run_info":
                self._begin(of["stats"])
            case "job_info":
                self._add(of["jobid"], _Job(of["rule_name"], [Path(name) for name in of["log"]]))
            case "job_finished":
                self._done += 1
                self._remove(of["job_id"])
            case "job_error":
                self._remove(of["jobid"])
                logs = f"; its log: {', '.join(of['log'])}" if of["log"] else ""
                self._print(
                    f"{of['rule_name']} failed{logs}" + f"\n{of['rule_msg'] or ''}".rstrip()
                )
            case "group_error" if of["aux_logs"]:
                self._print(f"a group of jobs failed; its log: {', '.join(of['aux_logs'])}")
            case None | "error" if _is_shown(record):
                self._print(record.getMessage())

    def close(self) -> None:
        """Show what the jobs logged last, and the summary."""
        with self._busy:
            if not self._ended.is_set():
                self._ended.set()
                for number in list(self._jobs):
                    self._remove(number)
                if self._bars is not None:
                    self._bars.stop()
                    self._bars = None
                if self._done == self._total > 0:
                    seconds = time.monotonic() - self._start
                    self._print(f"{_count(self._total)} in {duration(seconds)}")
                    self._print(self._summary(self._rules))
        super().close()

    def _begin(self, stats: dict[str, int]) -> None:
        self._total = stats["total"]
        rules = ", ".join(f"{count} {name}" for name, count in stats.items() if name != "total")
        self._print(textwrap.fill(f"{_count(self._total)}: {rules}", _LINE, subsequent_indent="  "))
        if sys.stderr.isatty():
            self._bars = bars(counted=False)
            self._bars.start()
            self._bars.console.show_cursor()  # for the case that this process is killed
            self._whole = self._bars.add_task("all jobs", total=self._total, left="")
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            with self._busy:
                self._look()

    def _add(self, number: int, job: _Job) -> None:
        for log in job.logs:  # that of an earlier run
            log.unlink(missing_ok=True)
        job.start = time.monotonic()
        self._jobs[number] = job

    def _remove(self, number: int) -> None:
        """Show the rest of a job that has ended."""
        job = self._jobs.pop(number, None)
        if job is not None:
            self._read(job)
            self._show_held(job)
            self._rules.add(job.rule)
            if self._bars is not None and job.bar is not None:
                self._bars.remove_task(job.bar)
        if self._bars is not None and self._whole is not None:
            self._bars.update(self._whole, completed=self._done)

    def _look(self) -> None:
        for job in self._jobs.values():
            self._read(job)
            elapsed = time.monotonic() - job.start
            if self._bars is not None:
                self._draw(job)
            elif job.progress and elapsed >= job.next:
                self._print(job.progress, numbered=True)
                job.progress, job.next = "", elapsed + min(600.0, max(15.0, elapsed * 0.7))

    def _read(self, job: _Job) -> None:
        """Show the whole lines that a job has logged since, and keep the last one of progress."""
        for log in job.logs:
            with suppress(OSError):
                start = job.read.get(log, 0)
                if log.stat().st_size < start:  # a cluster has restarted the job
                    start = 0
                with log.open("rb") as stream:
                    stream.seek(start)
                    new = stream.read()
                whole = new.rfind(b"\n") + 1
                job.read[log] = start + whole
                for line in new[:whole].decode(errors="replace").splitlines():
                    self._show_held(job)
                    if _PROGRESS.fullmatch(line):
                        job.progress = line
                    elif not line.startswith(_TABLE):
                        job.held, job.progress = line, ""

    def _show_held(self, job: _Job) -> None:
        """Show the line before the current one: a job's last one is shown when it is counted."""
        if job.held:
            self._print(job.held, numbered=True)
            job.held = ""

    def _draw(self, job: _Job) -> None:
        found = _PROGRESS.fullmatch(job.progress)
        if found and self._bars is not None:
            if job.bar is None:
                job.bar = self._bars.add_task(found["title"], left="")
            done, total = int(found["done"]), int(found["total"])
            self._bars.update(job.bar, completed=done, total=total, left=f"{found['left']} left")

    def _print(self, text: str, *, numbered: bool = False) -> None:
        if numbered:
            text = f"[{self._done:{len(str(self._total))}}/{self._total}] {text}"
        with suppress(OSError, ValueError):  # a closed pipe or terminal, or a full disk
            if self._bars is not None:
                self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
            elif text:
                print(text, file=sys.stderr, flush=True)


def _is_shown(record: logging.LogRecord) -> bool:
    """Whether a message that is not about a job is for the user."""
    text = record.getMessage()
    if record.levelno >= logging.WARNING:
        return not text.startswith("Exiting because a job execution failed")
    return text.startswith(("Nothing to be done", "Trying to restart job"))


def _count(jobs: int) -> str:
    return f"{jobs} job{'s' * (jobs != 1)}"


def without_rule_files(record: logging.LogRecord) -> bool:
    """Shorten an error of Snakemake's that names its rule files, if it has a plain reason.

    A filter of a handler: keeps every record.
    """
    text = record.getMessage() if getattr(record, "event", None) == "error" else ""
    if mistake := re.search(r"^ *UserError: (.+)$", text, re.MULTILINE):
        record.msg, record.args = f"liif: {mistake[1]}", None
    elif "Missing input files" in text:
        files = re.findall(r"^ {8}(\S.*)$", text, re.MULTILINE)
        record.msg, record.args = f"liif: no such file or folder: {', '.join(files)}", None
    elif ended := re.search(r"CalledProcessError in file.*\n.* (exit status \d+|died .*)\.", text):
        record.msg, record.args = f"a job failed with {ended[1].removeprefix('died with ')}", None
    elif text.endswith("At least one job did not complete successfully."):
        record.msg, record.args = "not all jobs succeeded; rerun the command to resume", None
    return True


def install(logger: logging.Logger, terminal: Terminal | None) -> None:
    """Replace Snakemake's handler of the terminal, or shorten its errors; its log file stays."""
    for handler in [h for h in logger.handlers if h.name == "DefaultStreamHandler"]:
        if terminal is not None:
            logger.removeHandler(handler)
            logger.addHandler(terminal)
        (terminal or handler).addFilter(without_rule_files)
