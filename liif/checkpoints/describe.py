"""What a checkpoint is: its network, where it came from, its training, what it reaches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from liif.checkpoints import published
from liif.checkpoints.catalog import locate
from liif.checkpoints.format import is_safetensors
from liif.checkpoints.load import read_checkpoint
from liif.checkpoints.outputs import Outputs
from liif.config import Recipe
from liif.network.build import Architecture
from liif.system.errors import UserError
from liif.system.files import file_sha256
from liif.system.progress import duration

Facts = list[tuple[str, str]]
"""What there is to say, as (what, value)."""


def describe(weights: str) -> Facts:
    """What a checkpoint is, from any format that `liif.load` takes.

    A training's sidecar beside the weights is told too, and what `../metrics` has under the same
    name, as the workflow puts it there.

    Raises
    ------
    UserError
        No such file, or none that can be read.
    """
    path = locate(weights)
    model, architecture, provenance = read_checkpoint(path)
    size = sum(p.numel() for p in model.parameters())
    formats = {"authors": "the authors'", "mmagic": "mmagic's"}
    ours = is_safetensors(path)
    origin = formats.get(provenance.get("format", ""))
    facts = [
        ("file", f"{path}, {path.stat().st_size / 1e6:.1f} MB"),
        ("sha256", file_sha256(path)),
        ("format", "liif's safetensors" if ours else f"{origin}"),
        ("network", _network(architecture)),
        ("parameters", f"{size:,}"),
        ("normalisation", f"mean {_rgb(architecture.mean)}, std {_rgb(architecture.std)}"),
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
            raise UserError(f"{path}: its recipe is of no known kind; update liif") from None
        facts += _training(recipe, provenance)
    return facts + _beside(path)


def _network(architecture: Architecture) -> str:
    encoder = architecture.encoder
    known = published.network(architecture)
    name = f"{known} as published: " if known else ""
    hidden = "-".join(map(str, architecture.hidden))
    sizes = f"{encoder.describe()}, {encoder.channels} channels"
    return f"{name}{sizes}; decoder {hidden}; skip {architecture.skip}"


def _training(recipe: Recipe, provenance: dict[str, Any]) -> Facts:
    t = recipe.train
    return [
        (
            "training",
            f"{t.epochs} epochs, batches of {t.batch}, LR patches of {t.patch}, scales "
            f"{t.scales[0]:g} to {t.scales[1]:g}, {t.loss}, {t.optimizer} at {t.learning_rate:g}, "
            f"{t.schedule.name} schedule, seed {t.seed}",
        ),
        ("training data", f"fingerprint {provenance.get('data', 'unknown')}"),
        ("data version", str(provenance.get("data_version") or "unknown")),
    ]


def _beside(path: Path) -> Facts:
    """What the workflow left beside the weights."""
    facts: Facts = []
    sidecar = Outputs(weights=path).sidecar
    if sidecar.is_file():
        run = _read(sidecar, "steps", "seconds", "device", "finished")
        took = f"{run['steps']:,} steps in {duration(run['seconds'])} on {run['device']}"
        facts.append(("trained", f"{took}, finished {run['finished']}"))
    metrics = path.parent.parent / "metrics" / f"{path.stem}.json"
    if metrics.is_file():
        for r in _read(metrics, "results")["results"]:
            psnr = "equal" if r["psnr"] is None else f"{r['psnr']:.3f} dB"
            ssim = "" if r["ssim"] is None else f", SSIM {r['ssim']:.4f}"
            facts.append((f"{r['set']} ×{r['scale']:g}", f"{psnr}{ssim}"))
    return facts


def _read(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON file of ours, with these keys at least."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = [value[key] for key in keys]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is damaged ({error}); delete it and run the same again") from None
    return value


def _rgb(values: tuple[float, ...]) -> str:
    return "/".join(f"{v:g}" for v in values)
