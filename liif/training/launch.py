"""`liif train --processes N`: the same command run by N ranks on this machine.

It uses `torchrun`'s engine with `torchrun`'s options, and not the command itself, which prints a
traceback for every failed rank, exits with 1 after any signal, and listens on every interface.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from liif.system.progress import log
from liif.system.signals import STOP_SIGNALS
from liif.training.group import LAUNCHER, RENDEZVOUS

_SHUTDOWN_TIMEOUT = 900
"""Seconds for the last step and for saving after a stop signal."""


def launch(processes: int) -> None:
    """Run this command by that many ranks; `SystemExit` with the code of the first that failed."""
    # Imported here, since it takes a second.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    heeded = [s.name for s in STOP_SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    with TemporaryDirectory(prefix="liif-train-") as folder:
        # The ranks meet in the folder and talk over the loopback interface alone.
        loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
        os.environ.update(
            {
                RENDEZVOUS: folder,
                LAUNCHER: str(os.getpid()),
                # Otherwise an unneeded store would listen on every interface.
                "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
                "GLOO_SOCKET_IFNAME": loopback,
                "NCCL_SOCKET_IFNAME": loopback,
            }
        )
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
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        logging.disable()  # the ranks and this module log all that matters
        try:
            # -P keeps modules of the current folder from shadowing others; `$` starts a macro of
            # the engine.
            words = [word.replace("$", "$$") for word in sys.argv[1:]]
            elastic_launch(config, sys.executable)("-P", "-m", "liif", *words)
        except SignalException as stop:
            raise SystemExit(128 + int(stop.sigval)) from None
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            for each, other in error.failures.items():  # a kill comes before what follows from it
                if other.exitcode < 0 and other.exitcode != -signal.SIGTERM:
                    rank, failure = each, other
            if failure.exitcode > 0:
                raise SystemExit(failure.exitcode) from None
            name = signal.Signals(-failure.exitcode).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            log(
                f"liif: process {rank + 1} of {processes} was killed by {name}{hint}; the last "
                "saved state is kept; run the same command to resume"
            )
            raise SystemExit(1) from None
