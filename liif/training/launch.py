"""Starting a training by several processes on this machine, as `torchrun` does."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from liif.system.progress import log
from liif.system.signals import STOP_SIGNALS
from liif.training.group import LAUNCHER, RENDEZVOUS

_PATIENCE = 900
"""Seconds for the last step and for saving, when the processes are asked to stop."""


def launch(processes: int) -> None:
    """Run this same command by so many processes, which share its work; all end well, or

    Raises
    ------
    SystemExit
        With the code of the first that did not; it has said why.
    """
    # Imported here, since it takes a second.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    heeded = [s.name for s in STOP_SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    with TemporaryDirectory(prefix="liif-train-") as folder, _environment(Path(folder)):
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id="liif",
            rdzv_backend="c10d",
            rdzv_endpoint=str(Path(folder) / "agent"),
            rdzv_configs={"store_type": "file"},
            local_addr="127.0.0.1",
            max_restarts=0,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            signals_to_handle=",".join(heeded),
            shutdown_timeout=_PATIENCE,
        )
        logging.disable()  # what there is to say is said in one line, by us
        try:
            # -P, or modules of the current folder would come before those that are meant; and
            # dollars are for the launcher's own words.
            words = [word.replace("$", "$$") for word in sys.argv[1:]]
            elastic_launch(config, sys.executable)("-P", "-m", "liif", *words)
        except SignalException as stop:
            raise SystemExit(128 + int(stop.sigval)) from None
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            for each, other in error.failures.items():  # what was killed comes before what follows
                if other.exitcode < 0 and other.exitcode != -signal.SIGTERM:
                    rank, failure = each, other
            if failure.exitcode > 0:
                raise SystemExit(failure.exitcode) from None
            name = signal.Signals(-failure.exitcode).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            log(
                f"liif: process {rank + 1} of {processes} was ended by {name}{hint}; the last saved"
                " state is kept, and the same command goes on from there"
            )
            raise SystemExit(1) from None


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """What the processes are told. They meet in a folder, and talk through the loopback alone."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    environment = {
        RENDEZVOUS: str(folder),
        LAUNCHER: str(os.getpid()),
        # Otherwise a store that nobody needs would listen on every interface.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
