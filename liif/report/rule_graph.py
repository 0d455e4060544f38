"""The graph of the workflow's rules, as Snakemake plans it, drawn as SVG."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean

import networkx
from markupsafe import Markup

from liif.config import Experiment
from liif.report.render import TEMPLATES
from liif.system.progress import log

_COLUMN, _ROW = 170, 74
"""Distances of the rules in the drawing."""


def rules(snakefile: Path, settings: Experiment) -> list[tuple[str, str]]:
    """Pairs (rule, rule that needs it) of an experiment; none, and a log line, on failure."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        values = settings.model_dump_json(by_alias=True, exclude_unset=True)
        config.write_text(values, encoding="utf-8")
        options = ["--snakefile", str(snakefile), "--nolock", "--configfile", str(config)]
        command = [sys.executable, "-m", "snakemake", "results/sr_800", "--rulegraph", "dot"]
        done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        log(f"the graph of the rules is left out: {done.stderr.strip().splitlines()[-1:]}")
        return []
    return parse(done.stdout)


def parse(dot: str) -> list[tuple[str, str]]:
    """The edges of a graph in the dot language, by the labels of its nodes."""
    labels = dict(re.findall(r'^\s*(\d+)\s*\[\s*label\s*=\s*"([^"]*)"', dot, re.MULTILINE))
    edges = re.findall(r"^\s*(\d+)\s*->\s*(\d+)", dot, re.MULTILINE)
    return [(labels[a], labels[b]) for a, b in edges if a in labels and b in labels]


def svg(edges: list[tuple[str, str]]) -> Markup:
    """The graph in layers from top to bottom, without edges that others imply."""
    graph = networkx.transitive_reduction(networkx.DiGraph(edges))
    depth = {n: i for i, layer in enumerate(networkx.topological_generations(graph)) for n in layer}
    paths = []
    for a, b in sorted(graph.edges):  # a long edge bends in each layer that it passes
        paths.append([a, *(f"{a} {i}" for i in range(depth[a] + 1, depth[b])), b])
        graph.remove_edge(a, b)
        networkx.add_path(graph, paths[-1])
    places: dict[str, tuple[float, float]] = {}
    for row, layer in enumerate(networkx.topological_generations(graph)):
        above = {n: fmean([places[p][0] for p in graph.predecessors(n)] or [0]) for n in layer}
        for i, node in enumerate(sorted(layer, key=lambda n: (above[n], n))):
            places[node] = (i - (len(layer) - 1) / 2) * _COLUMN, (row + 0.5) * _ROW
    page = TEMPLATES.get_template("rule_graph.svg")
    return Markup(page.render(rules=sorted(depth), paths=paths, places=places))
