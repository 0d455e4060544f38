"""Servers on the loopback that users run on other machines: MLflow and S3."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""For MLflow's server: no usage statistics, no job workers."""
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


def free_port() -> int:
    """An unused port on the loopback."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def _serving(
    words: list[str],
    responds: Callable[[], Any],
    log: IO[str] | int = subprocess.DEVNULL,
    environment: dict[str, str] | None = None,
) -> Iterator["subprocess.Popen[str]"]:
    """Run a server within the block, where it may be killed."""
    process = subprocess.Popen(
        words,
        stdout=log,
        stderr=log,
        text=True,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        end = time.monotonic() + 240
        while not responds():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def mlflow_server(
    folder: Path, port: int, artifacts: str | None = None, environment: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Run a tracking server with its own database and artifacts."""
    words = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    words += ["--artifacts-destination", artifacts or str(folder / "artifacts")]

    def responds() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with (
        (folder / "server.log").open("a") as log,
        _serving(words, responds, log, {**QUIET, **(environment or {})}) as process,
    ):
        yield process


@contextmanager
def s3(bucket: str) -> Iterator[str]:
    """Run an S3 endpoint with a bucket; yields its address."""
    import boto3

    port = free_port()

    def responds() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with _serving(words, responds):
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        client.create_bucket(Bucket=bucket)
        yield url
