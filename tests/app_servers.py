"""Servers of the page and of the interface, in a thread, with small limits."""

import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from samples import photograph

from liif.app.engine import Engine
from liif.app.limits import Limits
from liif.app.server import Kind, application, http_server, listen

SMALL_LIMITS = Limits(
    upload=1_000_000, pixels=250_000, output=1_000_000, pictures=12, waiting=3, seconds=60
)


class Served(NamedTuple):
    """A running server."""

    address: str
    engine: Engine
    folder: Path


@contextmanager
def served(kind: Kind, folder: Path, limits: Limits) -> Iterator[Served]:
    """Run a server within the block."""
    app = application(kind, folder, limits=limits)
    server = http_server(app)
    with listen("127.0.0.1", 0) as sock:
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Served(f"http://127.0.0.1:{sock.getsockname()[1]}", app.state.engine, folder)
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def encoded(height: int, width: int, kind: str = "PNG", **options: object) -> bytes:
    """A picture file of that size."""
    file = BytesIO()
    Image.fromarray(photograph(height, width)).save(file, kind, **options)
    return bytes(file.getvalue())


def run_commands(folder: Path, *commands: str) -> None:
    """Run command lines there, in one process."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom liif.cli import app\n"
        "for words in eval(sys.argv[1]):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0, words"
    )
    words = [shlex.split(command)[1:] for command in commands]
    subprocess.run([sys.executable, "-c", code, repr(words)], cwd=folder, check=True)
