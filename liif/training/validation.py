"""Validation: mean PSNR over fixed patches, and the records of one set of photographs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor

from liif.checkpoints.format import save_checkpoint
from liif.checkpoints.load import read_checkpoint
from liif.checkpoints.outputs import Outputs, history_csv
from liif.data.pack import Pack
from liif.data.patches import validation_batches
from liif.images.metrics import psnr_of_error
from liif.network.model import LIIF, Encoded
from liif.recipe import Recipe
from liif.system.files import atomic_write, write_json, write_text
from liif.system.progress import log
from liif.training.group import ALONE, Group

_TOLERANCE = 0.005
"""Difference in dB up to which a PSNR that is measured again, on any device, counts as the same."""


def patches_at_once(lr: Tensor) -> int:
    """Number of patches of a batch to decode together, as in a training step: all on a GPU."""
    return 1 if lr.device.type == "cpu" else len(lr)


@torch.inference_mode()
def validate(
    model: LIIF, validation: Pack, recipe: Recipe, device: torch.device, group: Group = ALONE
) -> float:
    """Mean PSNR in dB over the fixed validation patches, which the ranks share out."""
    values = torch.zeros(recipe.train.validation_patches, dtype=torch.float64)
    share = (group.rank, group.size)
    for numbers, batch in validation_batches(validation, recipe.train, share):
        lr, queries, cells, truth = batch.to(device)
        encoded = model.encode(lr)
        at_once = patches_at_once(lr)
        errors: list[Tensor] = []
        for i in range(0, len(lr), at_once):
            part = slice(i, i + at_once)
            features = Encoded(encoded.features[part], encoded.lr[part])
            rgb = model.decode(features, queries[part], cells[part]).clamp(0, 1)
            errors += [error.double().mean() for error in (rgb - truth[part]) ** 2]
        psnrs = map(psnr_of_error, torch.stack(errors).tolist())  # one copy from a GPU
        values[numbers.start : numbers.stop] = torch.tensor(list(psnrs), dtype=torch.float64)
    return sum(map(float, group.all_reduce(values))) / len(values)


def is_psnr_of(
    weights: Path, psnr: float, validation: Pack, recipe: Recipe, device: torch.device
) -> bool:
    """Whether weights reach that PSNR on these photographs, and so were measured on them."""
    model = read_checkpoint(weights)[0].to(device)
    return abs(validate(model, validation, recipe, device) - psnr) < _TOLERANCE


def revalidate(
    name: str, finished: Outputs, validation: Pack, recipe: Recipe, device: torch.device
) -> bool:
    """Make the records of a finished training for another validation set; False if there is none.

    The final weights are the same, and all that can still be measured: they are the best known,
    and the history has the last epoch alone. Records from before their files named a validation
    set are taken over if the weights reach the PSNR in them.
    """
    weights = finished.weights
    marks = [path.name.split(".")[1] for path in weights.parent.glob(f"{weights.stem}.*.run.json")]
    others = [Outputs(weights=weights, validation=mark) for mark in ("", *sorted(marks))]
    others = [other for other in others if other.exist()]
    if not others:
        return False
    other, history = others[0], others[0].read_history()
    model, architecture, provenance = read_checkpoint(weights)
    psnr = validate(model.to(device), validation, recipe, device)
    if not other.validation and abs(history[-1]["valid_psnr"] - psnr) < _TOLERANCE:
        with atomic_write(finished.best) as part:
            shutil.copyfile(other.best, part)
    else:
        log(
            f"{name}: the validation photographs differ from those of the finished training; its "
            f"weights reach {psnr:.2f} dB on them; the history now has only its last epoch"
        )
        history = [{**history[-1], "valid_psnr": psnr}]
        provenance["valid_psnr"] = round(psnr, 4)
        save_checkpoint(finished.best, model, architecture, provenance)
    write_text(finished.history, history_csv(history))
    sidecar = json.loads(other.sidecar.read_text(encoding="utf-8"))
    write_json(finished.sidecar, {**sidecar, "validation": validation.fingerprint})
    return True
