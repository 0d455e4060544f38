"""The graph of the rules, as Snakemake plans it, drawn as SVG."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import networkx
from markupsafe import Markup

from liif.system.progress import log

_WIDTH, _HEIGHT, _GAP, _LAYER = 150, 34, 24, 74
"""In pixels."""


def rules(snakefile: Path, settings: str, target: str) -> list[tuple[str, str]]:
    """Which rule's output is which rule's input, for a target.

    Parameters
    ----------
    settings
        The whole configuration, as JSON.

    Returns
    -------
    Pairs (rule, rule that needs it); none if Snakemake cannot tell, which is said.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(settings, encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
        options = ["--rulegraph", "dot", "--nolock", "--configfile", str(config)]
        done = subprocess.run([*command, target, *options], capture_output=True, text=True)
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
    """The graph in layers, from top to bottom; an edge that others imply is left out."""
    graph = networkx.transitive_reduction(networkx.DiGraph(edges))
    layers = [sorted(layer) for layer in networkx.topological_generations(graph)]
    paths = _through(graph, layers)
    _untangle(paths, layers)
    widths = [sum(_width(node) + _GAP for node in layer) for layer in layers]
    width, height = max(widths) + _GAP, len(layers) * _LAYER
    places: dict[str, tuple[float, float]] = {}
    for i, layer in enumerate(layers):
        left = (width - widths[i] + _GAP) / 2
        for node in layer:
            places[node] = left + _width(node) / 2, i * _LAYER + _HEIGHT / 2 + 4
            left += _width(node) + _GAP
    parts = [_edge([places[node] for node in path]) for path in paths]
    parts += [_node(rule, *places[rule]) for rule in graph]
    head = Markup(
        '<svg viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true" focusable="false">'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="var(--soft)"/>'
        "</marker></defs>"
    ).format(w=width, h=height)
    return head + Markup("").join(parts) + Markup("</svg>")


_BEND = "\0"
"""Begins the name of a place where an edge passes a layer between two rules."""


def _width(node: str) -> int:
    return _GAP if node.startswith(_BEND) else _WIDTH


def _through(graph: networkx.DiGraph[str], layers: list[list[str]]) -> list[list[str]]:
    """Each edge as the nodes it goes through, with places of its own in layers that it passes."""
    layer_of = {rule: i for i, layer in enumerate(layers) for rule in layer}
    paths = []
    for a, b in sorted(graph.edges):
        bends = []
        for i in range(layer_of[a] + 1, layer_of[b]):
            bends.append(f"{_BEND}{a}>{b}{i}")
            layers[i].append(bends[-1])
        paths.append([a, *bends, b])
    return paths


def _untangle(paths: list[list[str]], layers: list[list[str]]) -> None:
    """Order each layer by where its neighbours are, a few times down and up."""
    near: dict[str, list[str]] = {}
    for path in paths:
        for a, b in pairwise(path):
            near.setdefault(a, []).append(b)
            near.setdefault(b, []).append(a)
    for turn in range(8):
        order = layers if turn % 2 == 0 else layers[::-1]
        for before, layer in pairwise(order):
            at = {node: i / max(1, len(before) - 1) for i, node in enumerate(before)}
            middle = {node: _mean([at[n] for n in near[node] if n in at]) for node in layer}
            layer.sort(key=middle.__getitem__)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.5


def _edge(points: list[tuple[float, float]]) -> Markup:
    """A curve through points, from below the first to above the last."""
    (x, y), *rest = points
    path = f"M{x:g} {y + _HEIGHT / 2:g}"
    y += _HEIGHT / 2
    for i, (x1, y1) in enumerate(rest):
        top = y1 - _HEIGHT / 2
        middle = (y + top) / 2
        path += f" C{x:g} {middle:g} {x1:g} {middle:g} {x1:g} {top:g}"
        if i < len(rest) - 1:
            path += f" L{x1:g} {y1 + _HEIGHT / 2:g}"
        x, y = x1, y1 + _HEIGHT / 2
    return Markup(
        '<path d="{}" fill="none" stroke="var(--soft)" marker-end="url(#arrow)"/>'
    ).format(path)


def _node(rule: str, x: float, y: float) -> Markup:
    return Markup(
        '<rect x="{}" y="{}" width="{}" height="{}" rx="7" fill="var(--panel)" '
        'stroke="var(--line)"/><text x="{}" y="{}" text-anchor="middle" font-size="14" '
        'fill="var(--ink)">{}</text>'
    ).format(x - _WIDTH / 2, y - _HEIGHT / 2, _WIDTH, _HEIGHT, x, y + 5, rule)
