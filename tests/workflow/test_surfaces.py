"""Nothing listens beyond the loopback, and no password leaks."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest
from projects import BIN, ROOT, TINY, Project, git, sh
from samples import Folder
from servers import QUIET, free_port, mlflow_server

PASSWORD = "open-sesame-4711"
pytestmark = pytest.mark.filterwarnings("ignore:::mlflow", "ignore::DeprecationWarning")


def listening(process: psutil.Process) -> set[str]:
    """Addresses on which a process and its descendants listen."""
    found = set()
    below: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        below = process.children(recursive=True)
    for each in [process, *below]:
        try:
            connections = each.net_connections("inet")
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has just exited
            continue
        found |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.slow
def test_mlflows_pages_listen_on_the_loopback_alone(tmp_path: Path) -> None:
    """`make ui` with another port."""
    text = (ROOT / "Makefile").read_text()
    recipe = re.search(
        r"^ui: .*\n\t@echo .*\n\tcd demo && \$\(abspath \$\(BIN\)\)/(mlflow ui.*)$", text, re.M
    )
    assert recipe is not None
    words = [str(BIN / "mlflow"), *recipe[1].split()[1:], "--port", str(free_port())]
    with (tmp_path / "log").open("w") as log:
        process = psutil.Popen(
            words,
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **QUIET},
        )
    try:
        end = time.monotonic() + 60
        while not (addresses := listening(process)):
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.1)
        assert addresses == {"127.0.0.1"}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_no_job_listens_and_no_password_is_kept(project: Project, folder: Folder) -> None:
    """Passwords of a tracking server and of a DVC remote, in the whole workflow."""
    path = project.path
    model = {"small-edsr": TINY["models"]["small-edsr"]}
    given = {"given": {"weights": "bundled", "scales": []}}
    small: dict[str, Any] = {"evaluate": {"scales": []}, "tracking": True}
    project.configure(models={**model, **given}, **small)
    git(path, "init", "--quiet")
    sh(path, "dvc", "init", "--quiet")
    sh(path, "dvc", "remote", "add", "-d", "shared", "s3://bucket/liif")
    for name in ("access_key_id", "secret_access_key", "session_token"):
        sh(path, "dvc", "remote", "modify", "--local", "shared", name, PASSWORD)
    (path / ".gitignore").write_text(".snakemake/\n/results/*\n")
    sh(path, "dvc", "add", "--quiet", "data")
    port = free_port()
    address = f"http://me:{PASSWORD}@127.0.0.1:{port}"
    seen: set[str] = set()
    with pytest.MonkeyPatch.context() as patch, mlflow_server(path.parent, port):
        patch.setenv("MLFLOW_TRACKING_URI", address)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        process = project.start("results/sr_800")
        watched = psutil.Process(process.pid)

        def watch() -> None:
            while process.poll() is None:
                seen.update(listening(watched))
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        output, _ = process.communicate()
        watcher.join()
        assert process.returncode == 0, output
    assert seen == set()
    assert PASSWORD not in output
    assert (path / "results" / "report.html").exists()
    kept = [p for p in path.rglob("*") if p.is_file() and p.name != "config.local"]
    server_side = [path.parent / "server.db", path.parent / "server.log"]
    server_side += [p for p in (path.parent / "artifacts").rglob("*") if p.is_file()]
    assert (path.parent / "server.db").stat().st_size > 0
    for file in [*kept, *server_side]:
        assert PASSWORD.encode() not in file.read_bytes(), file


def test_a_password_in_an_address_is_not_shown(tmp_path: Path) -> None:
    """With an unreachable server, the error names the address without the password."""
    url = f"http://me:{PASSWORD}@127.0.0.1:{free_port()}/x.pth?key={PASSWORD}"
    words = [sys.executable, "-m", "liif", "import", url, "x.safetensors", "--sha256", "0" * 64]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "127.0.0.1" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_a_password_in_an_address_that_works_is_not_shown(
    tmp_path: Path,
    address: str,
) -> None:
    """With a missing checksum, and with a file that is not a checkpoint."""
    url = address.replace("http://", f"http://me:{PASSWORD}@") + f"?key={PASSWORD}"
    digest = sha256(bytes(range(250)) * 4000).hexdigest()
    for more, printed in (([], "pass its --sha256"), (["--sha256", digest], "is neither")):
        words = [sys.executable, "-m", "liif", "import", url, "x.safetensors", *more]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert printed in done.stderr
        assert PASSWORD not in done.stdout + done.stderr


def test_a_password_in_the_configuration_is_refused(project: Project) -> None:
    """It would appear in logs and reports; it belongs in ~/.netrc."""
    url = f"https://me:{PASSWORD}@example.org/x.pth"
    model = {"given": {"weights": {"url": url, "sha256": "0" * 64}}}
    project.configure(models=model)
    output = project.run("--dry-run", "results/sr_800", fails=True)
    assert "must not contain a name or password; put them into ~/.netrc" in output
    assert PASSWORD not in output


@pytest.mark.slow
def test_file_names_are_not_shell_commands(project: Project, folder: Folder) -> None:
    """Names from the configuration are quoted for the shell."""
    name = "data/a b;touch hacked;$(touch hacked)'\""
    folder(f"project/{name}", mine=(7, 9))
    given = {"given": {"weights": "data/given.pth", "scales": []}}
    data = {**TINY["data"], "train": name, "test": {"lr": name}}
    project.configure(models=given, data=data, evaluate={"scales": []})
    project.run()
    assert project.file("sr_800/given/mine.png").exists()
    assert not (project.path / "hacked").exists()
    assert json.loads(project.file("manifests/upscale/given/0.json").read_text())["pictures"]
