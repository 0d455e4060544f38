"""Run `pip install` with its arguments, and show in a few lines what it does.

On a terminal the last line changes with each package; elsewhere a line a minute is printed.
"""

import re
import subprocess
import sys
import time

LARGE = re.compile(r"Downloading (?:\S*/)?(\S+) \((\d{3,}\S* MB|\S+ GB)\)")
STEP = re.compile(r"Collecting|Downloading|Building|Using cached")
SECONDS = 60
WIDTH = 100


def main() -> int:
    start = shown = time.monotonic()
    live = sys.stdout.isatty()
    command = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", *sys.argv[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pip:
        assert pip.stdout is not None
        count = 0
        for line in map(str.strip, pip.stdout):
            count += line.startswith("Collecting")
            if found := LARGE.match(line):
                show(f"  {found[1]}, {found[2]}", live)
            elif line.startswith("Installing collected packages"):
                show(f"  installing {line.count(',') + 1} packages", live)
            elif live and STEP.match(line):
                print(f"\r\x1b[K  package {count}: {line}"[:WIDTH], end="", flush=True)
            elif STEP.match(line) and time.monotonic() - shown > SECONDS:
                show(f"  {count} packages so far", live)
                shown = time.monotonic()
    show(f"  {'failed' if pip.returncode else 'done'} in {time.monotonic() - start:.0f} s", live)
    return pip.returncode


def show(line: str, live: bool) -> None:
    print("\r\x1b[K" * live + line, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
