"""Calls of the library leave the process as it was, run in threads, and import on Windows."""

import subprocess
import sys
from pathlib import Path

from PIL import Image
from samples import photograph

BLOCKED = """
import importlib, os, psutil, signal, sys
class Blocked:
    def find_spec(self, name, *_):
        if name in {"fcntl", "pwd", "grp", "resource", "termios", "pty"}:
            raise ModuleNotFoundError(name=name)
for name in {"fcntl", "pwd", "grp", "resource", "termios", "pty"}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocked())
"""
"""Modules that Windows lacks cannot be imported any more; psutil's part for Linux has them."""

DELETED = """
for name in ("sched_getaffinity", "register_at_fork", "getuid", "geteuid", "fork", "umask"):
    delattr(os, name)
for name in ("SIGHUP", "pthread_sigmask", "set_wakeup_fd"):
    delattr(signal, name)
"""
"""Nor are there functions that it lacks, or that would change the process."""

STATE = """
import logging, warnings, scipy.sparse, scipy.special
import PIL.Image, PIL.ImageFile, PIL.PngImagePlugin, PIL.TiffImagePlugin, torch
def state():
    import PIL
    stops = (signal.SIGINT, signal.SIGTERM)
    return (
        [signal.getsignal(number) for number in stops], list(warnings.filters),
        dict(os.environ), os.getcwd(), sys.path[:], sys.excepthook, sys.getrecursionlimit(),
        logging.root.level, list(logging.root.handlers), torch.get_num_threads(),
        torch.get_default_dtype(), torch.is_grad_enabled(),
        PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
        PIL.PngImagePlugin.MAX_TEXT_MEMORY, PIL.PngImagePlugin.MAX_TEXT_CHUNK,
    )
before = state()
"""

CALLS = """
import liif
from concurrent.futures import ThreadPoolExecutor
import numpy as np
def work(_):
    model = liif.load()
    picture = liif.read_picture(__import__("pathlib").Path(sys.argv[1]))
    enlarged = model.upscale(picture.rgb, scale=1.5)
    return enlarged.tobytes(), liif.imresize(picture.rgb, 2).tobytes()
with ThreadPoolExecutor(4) as threads:
    results = set(threads.map(work, range(8)))
assert len(results) == 1, len(results)
"""


def run(tmp_path: Path, code: str) -> None:
    Image.fromarray(photograph(12, 14)).save(tmp_path / "a.png")
    words = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_calls_change_nothing_of_the_process(tmp_path: Path) -> None:
    """Torch and Pillow are imported before, so that their own changes do not count."""
    hooks = (
        "def refuse(*_, **__): raise AssertionError('changes the process')\n"
        "os.register_at_fork = os.umask = signal.signal = refuse\n"
    )
    check = (
        "after = state()\nfor one, other in zip(before, after): assert one == other, (one, other)\n"
    )
    run(tmp_path, "import os, signal, sys\n" + STATE + hooks + CALLS + check)


def test_calls_need_nothing_that_windows_lacks(tmp_path: Path) -> None:
    run(tmp_path, BLOCKED + "import platformdirs, torch\n" + DELETED + CALLS)
