"""A Slurm cluster of one node on this machine, for tests: Debian's slurm-wlm and munge."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from servers import free_port

NEEDED = ("slurmctld", "slurmd", "munged", "mungekey", "sbatch", "squeue", "scontrol")
_CONF = """\
ClusterName=liif
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
MinJobAge=300
EnforcePartLimits=ALL
SlurmdParameters=config_overrides
DefMemPerCPU=500
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000
PartitionName=main Nodes={host} Default=YES MaxTime=60 DefaultTime=10
"""


def missing() -> str:
    """The programs that are missing."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    return ", ".join(name for name in NEEDED if shutil.which(name, path=path) is None)


class Cluster:
    """Slurm's daemons in a temporary folder.

    The credentials of jobs expire soon, so that a requeued job restarts within seconds.
    """

    def __init__(self) -> None:
        # A short path, since the paths of sockets are limited to 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="liif-slurm-", dir="/tmp"))
        self.folder.chmod(0o755)  # every user needs munge's socket
        self.host = socket.gethostname().partition(".")[0]
        conf = self.folder / "slurm.conf"
        bin_ = self.folder / "bin"
        for folder in (self.folder / "state", self.folder / "spool", bin_):
            folder.mkdir()
        ports = (free_port(), free_port())
        text = _CONF.format(host=self.host, folder=self.folder, user=getpass.getuser(), ports=ports)
        conf.write_text(text)
        # Snakemake's plugin removes Slurm's variables from the environment of srun.
        (bin_ / "srun").write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec /usr/bin/srun "$@"\n')
        (bin_ / "srun").chmod(0o755)
        path = os.pathsep.join([str(bin_), os.environ["PATH"], "/usr/sbin"])
        self.started = False
        self.environment: dict[str, str] = {**os.environ, "SLURM_CONF": str(conf), "PATH": path}

    def start(self) -> None:
        """Start the daemons, and wait for the node."""
        munge = {"key-file": "munge.key", "seed-file": "munge.seed", "log-file": "munged.log"}
        munge |= {"pid-file": "munged.pid", "socket": "munge.sock"}
        self.run("mungekey", "-c", "-k", f"{self.folder}/munge.key")
        self.run("munged", *(f"--{name}={self.folder}/{file}" for name, file in munge.items()))
        self.run("slurmctld", "-c", "-f", f"{self.folder}/slurm.conf")
        self.run("slurmd", "-f", f"{self.folder}/slurm.conf", "-N", self.host)
        for _ in range(100):
            if self.run("sinfo", "-h", "-o", "%T", check=False).strip() == "idle":
                self.started = True
                return
            time.sleep(0.2)
        logs = (self.folder / f"{name}.log" for name in ("munged", "slurmctld", "slurmd"))
        raise AssertionError("\n".join(log.read_text() for log in logs if log.exists()))

    def run(self, *words: str, check: bool = True) -> str:
        """Run one of Slurm's commands; returns its output."""
        done = subprocess.run(
            words,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def stop(self) -> None:
        """Stop all jobs and the daemons, and delete the folder."""
        if self.started:
            self.run("scancel", "-p", "main", check=False)
            end = time.monotonic() + 30
            while self.run("squeue", "-h", check=False).strip() and time.monotonic() < end:
                time.sleep(0.2)
        for name in ("slurmd", "slurmctld", "munged"):
            with suppress(OSError, ValueError, psutil.Error):
                daemon = psutil.Process(int((self.folder / f"{name}.pid").read_text()))
                if daemon.name() == name:
                    daemon.send_signal(signal.SIGTERM)
                    try:
                        daemon.wait(20)
                    except psutil.TimeoutExpired:
                        daemon.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
