"""Tables of the measurements: on the terminal, and in the documents between their markers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rates import Rates, best
from rich.console import Console
from rich.table import Table
from variants import Row

from liif.network.precision import Used

ROOT = Path(__file__).parent.parent
START, END = "<!-- make bench -->\n", "<!-- end -->"
Result = dict[str, Any]
Line = Sequence[str]

# Longer phrases first.
CHINESE = {
    "share of the products'": "占乘积速率之比",
    "peak memory": "峰值内存",
    "published form": "论文形式",
    "a training step": "一个训练步",
    "Loading a patch, 2-megapixel photographs": "加载 200 万像素照片的一个图像块",
    "Demo's EDSR-LIIF, an epoch tracked in MLflow": "演示的 EDSR-LIIF，记录于 MLflow 的一轮训练",
    " (one run)": "（单次）",
    "ours": "本项目",
    "plain": "朴素实现",
    "ratio": "比值",
    "Products of matrices, GFLOP/s": "矩阵乘积，GFLOP/s",
    "1×1 convolution": "1×1 卷积",
    "oneDNN's linear": "oneDNN 线性层",
    "threads": "线程",
    "no bf16 instructions": "无 bf16 指令",
    " is ": " 为 ",
    ", ": "，",
    "; ": "；",
    ": ": "：",
}
# The documents that show the measurements, with the words of their language.
DOCUMENTS: dict[str, dict[str, str]] = {
    "docs/speed.md": {},
    "docs/zh/speed.md": CHINESE,
}


def show(result: Result) -> None:
    """Print everything."""
    console = Console(width=160)
    console.print(machine_line(result["machine"]), highlight=False)
    for head, *lines in (precision_table(result), other_table(result)):
        table = Table(*head)
        for line in lines:
            table.add_row(*line)
        console.print(table)
    console.print(rates_line(result["rates"]), highlight=False)


def write_documents(result: Result) -> None:
    """Replace what the documents show of the last measurements."""
    for name, words in DOCUMENTS.items():
        path = ROOT / name
        path.write_text(with_measurements(path.read_text(encoding="utf-8"), result, words), "utf-8")


def with_measurements(text: str, result: Result, words: dict[str, str]) -> str:
    """A document with these measurements, in its language."""
    plain = [line[:-1] for line in other_table(result) if line[2]]  # without the notes
    shown = [
        machine_line(result["machine"]),
        markdown(precision_table(result)),
        markdown(plain),
        rates_line(result["rates"]),
    ]
    block = "\n\n".join(shown)
    for english, other in words.items():
        block = block.replace(english, other)
    return re.sub(f"(?<={START}).*?(?={END})", lambda _: f"{block}\n", text, flags=re.DOTALL)


def machine_line(about: dict[str, Any]) -> str:
    """The processor, what it can do, and what `auto` is on it."""
    units = ", ".join(about["bf16_instructions"]) or "no bf16 instructions"
    masked = f", masked by ONEDNN_MAX_CPU_ISA={isa}" if (isa := about.get("max_isa")) else ""
    return (
        f"{about['cpu']}, {about['threads']} threads; {about['capability']}, {units}{masked}; "
        f"torch {about['torch']}; `auto` is {about['auto']}"
    )


def rates_line(rates: Rates) -> str:
    """The best of each way to multiply, in each precision."""
    shown = []
    for precision, by_way in rates.items():
        ways: dict[str, float] = {}
        for name, rate in by_way.items():
            way = name.split(", ")[0]
            ways[way] = max(rate, ways.get(way, 0))
        each = ", ".join(f"{way} {rate:.0f}" for way, rate in ways.items())
        shown.append(f"{precision} {best(rates, precision):.0f} ({each})")
    return f"Products of matrices, GFLOP/s: {'; '.join(shown)}"


def precision_table(result: Result) -> list[Line]:
    """Times of the published form and of ours in each precision, rates and memory."""
    auto: Used = result["machine"]["auto"]
    ours: list[Used] = ["float32"] if auto == "float32" else ["float32", auto]
    names = [f"{p} (`auto`)" if p == auto else p for p in ours]
    head = ["", "published form", *names, "GFLOP/s, share of the products'", "peak memory, MB"]
    lines: list[Line] = [head]
    for row in rows_of(result):
        if "ours" in row:
            continue
        times = [time_of(row, name) for name in ("published", *ours)]
        share, gflops, peaks = row["share"], row["gflops"], row["peak_mb"]
        rates = [f"{gflops[p]:.0f} ({share[p]:.0%})" if p in share else "–" for p in ours]
        memory = [f"{peaks[p]:.0f}" if p in peaks else "–" for p in ("published", *ours)]
        lines.append([row["what"], *times, " / ".join(rates), " / ".join(memory)])
    return lines


def time_of(row: Row, name: str) -> str:
    """Seconds, and how many times as fast as the published form."""
    if name not in row["seconds"]:
        return "–"
    seconds = row["seconds"][name]
    shown = f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    if name in row.get("ratio", {}):
        shown += f", {row['ratio'][name]:.1f}×"
    return shown + (" (one run)" if row.get("runs", {}).get(name) == 1 else "")


def other_table(result: Result) -> list[Line]:
    """Everything else, as it describes itself."""
    lines: list[Line] = [["", "ours", "plain", "ratio", "notes"]]
    for row in rows_of(result):
        if "ours" in row:
            ratio = f"{row['ratio']}×" if "ratio" in row else ""
            lines.append([row["what"], row["ours"], row.get("plain", ""), ratio, row["notes"]])
    return lines


def rows_of(result: Result) -> list[Row]:
    return [row for rows in result["rows"].values() for row in rows]


def markdown(lines: Sequence[Line]) -> str:
    head, *rest = lines
    table = [head, ["---"] * len(head), *rest]
    return "\n".join("| " + " | ".join(line) + " |" for line in table)
