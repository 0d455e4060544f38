"""Speed and memory, compared with plain reference implementations.

    make bench                                     measures all, and prints tables
    python benchmarks/run.py upscaling training    repeats these parts
    python benchmarks/run.py --documents           writes the last tables into the documentation

Ratios are of medians of alternating runs, so that a machine that slows down affects all. Writes the
numbers with a description of the machine to benchmarks/latest.json.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loaded
import torch
import tracked
import trained
import upscaled
from gpu import gpu_rows
from rates import Rates, best, product_rates
from tables import Result, show, write_documents
from variants import Row

from liif.network import device, precision

OUT = Path(__file__).parent / "latest.json"
PARTS: dict[str, Callable[[], list[Row]]] = {
    "upscaling": upscaled.rows,
    "training": trained.rows,
    "loading": loaded.rows,
    "sizes": upscaled.size_rows,
    "tracking": tracked.rows,
    "gpu": gpu_rows,
}


def main() -> None:
    last: Result = json.loads(OUT.read_text("utf-8")) if OUT.exists() else {}
    if "--documents" in sys.argv:
        write_documents(last)
        return
    device.keep_freed_memory()  # as the commands do
    about = machine()
    # Other parts keep what was measured last on the same machine.
    rows = last["rows"] if last.get("machine") == about else {}
    result: Result = {"machine": about, "rates": product_rates(), "rows": rows}
    for name in sys.argv[1:] or PARTS:
        rows[name] = with_shares(PARTS[name](), result["rates"])
        result["rows"] = {part: rows[part] for part in PARTS if part in rows}
        OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    show(result)


def with_shares(rows: list[Row], rates: Rates) -> list[Row]:
    """Rows with the share of the machine's product rate that each precision reaches."""
    for row in rows:
        if "gflops" in row:
            row["share"] = {p: round(g / best(rates, p), 3) for p, g in row["gflops"].items()}
    return rows


def machine() -> dict[str, Any]:
    """Describe the machine."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    has = torch.cpu.get_capabilities()
    about = {
        "cpu": cpu,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bf16_instructions": [name for name in ("amx_bf16", "avx512_bf16") if has.get(name)],
        "auto": precision.choose("auto", torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    masked = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return {**about, "max_isa": masked} if masked else about


if __name__ == "__main__":
    main()
