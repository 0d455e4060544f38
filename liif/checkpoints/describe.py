"""Description of a checkpoint: its network, origin, training and metrics."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from liif.checkpoints.catalog import BUNDLED, locate, published_network
from liif.checkpoints.format import is_safetensors
from liif.checkpoints.load import read_checkpoint
from liif.checkpoints.outputs import Outputs, name_of
from liif.network.build import Architecture
from liif.recipe import Degrade, Recipe, Teacher, Weights
from liif.system.errors import UserError
from liif.system.files import file_sha256
from liif.system.progress import duration

FORMATS = {"authors": "the authors'", "mmagic": "mmagic's"}
"""Formats of other projects."""
Facts = list[tuple[str, str]]
"""Names and values, in the order to show them."""


def describe(weights: str) -> Facts:
    """Describe a checkpoint of any format that `liif.load` takes.

    Includes a training's sidecar beside the weights, and the workflow's `../metrics` of the same
    name.
    """
    path = locate(weights)
    model, architecture, provenance = read_checkpoint(path)
    size = sum(p.numel() for p in model.parameters())
    ours, origin = is_safetensors(path), FORMATS.get(provenance.get("format", ""))
    facts = [
        ("file", f"{path}, {path.stat().st_size / 1e6:.1f} MB"),
        ("sha256", file_sha256(path)),
        ("format", "liif's safetensors" if ours else f"{origin}"),
        ("network", _network(architecture)),
        ("parameters", f"{size:,}"),
        ("normalisation", normalisation(architecture)),
    ]
    if ours and origin:
        facts.append(("converted from", f"{origin} format, sha256 {provenance.get('sha256', '?')}"))
    if "normalisation" in provenance:
        facts.append(("normalised", str(provenance["normalisation"])))
    if "res_scale" in provenance:
        facts.append(("residual scaling", f"{provenance['res_scale']}, folded into the weights"))
    if provenance.get("epoch") is not None:
        facts.append(("epoch", str(provenance["epoch"])))
    if "recipe" in provenance:
        try:
            recipe = Recipe.model_validate(provenance["recipe"])
        except ValidationError:
            raise UserError(f"{path}: its recipe is unknown to this liif; update liif") from None
        facts += _training(recipe, provenance)
    metrics = path.parent.parent / "metrics" / f"{name_of(path)}.json"
    for file, facts_of in ((Outputs(weights=path).sidecar, _run), (metrics, _measured)):
        if file.is_file():
            try:
                facts += facts_of(json.loads(file.read_text(encoding="utf-8")))
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise UserError(f"{file}: is damaged, or not liif's ({error})") from None
    return facts


def normalisation(architecture: Architecture) -> str:
    """The normalisation in words."""
    mean, std = ("/".join(f"{v:g}" for v in of) for of in (architecture.mean, architecture.std))
    return f"mean {mean}, std {std}"


def _network(architecture: Architecture) -> str:
    encoder, hidden = architecture.encoder, "-".join(map(str, architecture.hidden))
    name = published_network(architecture)
    sizes = f"{encoder.describe()}, {encoder.channels} channels; decoder {hidden}"
    return f"{f'{name} as published: ' if name else ''}{sizes}; skip {architecture.skip}"


def _training(recipe: Recipe, provenance: dict[str, Any]) -> Facts:
    t = recipe.train
    settings = (
        f"{t.epochs} epochs, batches of {t.batch}, LR patches of {t.patch}, scales "
        f"{t.scales[0]:g} to {t.scales[1]:g}, {t.loss}, {t.optimizer} at {t.learning_rate:g}, "
        f"{t.schedule.name} schedule, seed {t.seed}"
    )
    degraded = [("degraded", _degradations(t.degrade))] if t.degrade is not None else []
    return [
        ("training", settings),
        *degraded,
        *((role, _given(weights)) for role, weights in recipe.given.items()),
        ("training data", f"fingerprint {provenance.get('data', 'unknown')}"),
        ("data version", str(provenance.get("data_version") or "unknown")),
    ]


def _degradations(degrade: Degrade) -> str:
    """Degradations of training patches: `noise 1 to 20 (40%), jpeg 25 to 95 (60%)`."""
    return ", ".join(
        f"{name} {drawn.range[0]:g} to {drawn.range[1]:g} ({drawn.probability:.0%})"
        for name, drawn in degrade
        if drawn is not None
    )


def _given(weights: Weights) -> str:
    """Weights that a training started from or learned from."""
    name = "bundled, " if weights.sha256 == file_sha256(BUNDLED) else ""
    weight = f", weight {weights.weight:g}" if isinstance(weights, Teacher) else ""
    return f"{name}sha256 {weights.sha256}{weight}"


def _run(sidecar: dict[str, Any]) -> Facts:
    took = f"{sidecar['steps']:,} steps in {duration(sidecar['seconds'])} on {sidecar['device']}"
    used = f", in {sidecar['precision']}" if "precision" in sidecar else ""  # since 0.2.0
    return [("trained", f"{took}{used}, finished {sidecar['finished']}")]


def _measured(metrics: dict[str, Any]) -> Facts:
    facts = []
    for r in metrics["results"]:
        psnr = "equal" if r["psnr"] is None else f"{r['psnr']:.3f} dB"
        ssim = "" if r["ssim"] is None else f", SSIM {r['ssim']:.4f}"
        used = r.get("precision")
        low = "" if used in (None, "float32") else f", in {used}"
        corrected = ", with back-projection" if r.get("back_projection") else ""
        facts.append((f"{r['set']} ×{r['scale']:g}", f"{psnr}{ssim}{low}{corrected}"))
    return facts
