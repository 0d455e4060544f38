"""Training: photographs → weights, resumable at any moment."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from liif.checkpoints.outputs import Outputs
from liif.config import Recipe
from liif.data.pack import Pack, is_pack, pack
from liif.system.locks import lock
from liif.system.progress import log
from liif.tracking.entries import log_training_end, log_training_start
from liif.tracking.tracker import NoTracker
from liif.training.group import Group
from liif.training.state import tell_of_others
from liif.training.trainer import Limits, Trainer

NO_TRACKER = NoTracker()


def train(
    name: str,
    recipe: Recipe,
    *,
    data: Path,
    valid: Path,
    out: Path,
    state: Path,
    store: Path,
    limits: Limits,
    tracker: NoTracker = NO_TRACKER,
) -> Outputs:
    """Train a model, or find it already trained, or go on where it was interrupted.

    Parameters
    ----------
    name
        What to call it in messages.
    data, valid
        Photographs: a pack, a folder or an archive.
    out
        The weights file; history, best weights and a sidecar are put beside it.
    state
        Folder for what is needed to go on; it must outlive interruptions.
    store
        Folder of finished trainings, each under the key of its settings and data.
    tracker
        Keeps a record of it.

    Raises
    ------
    UserError
        Unusable photographs, a loss that is no number, a second training of the same.
    Interrupted
        By SIGINT or SIGTERM, after saving.
    """
    outputs, group = Outputs(weights=out), limits.group
    photographs = _packed(data, state / "train.pack", group)
    validation = _packed(valid, state / "valid.pack", group)
    key = recipe.key(photographs.fingerprint)
    group.agreed(
        (key, validation.fingerprint), f"the settings or the photographs ({data}, {valid})"
    )
    finished = Outputs(weights=store / f"{key}.safetensors")
    folder = state / key[:16]
    if group.first(finished.exist):
        log(f"{name}: these settings and data are trained already; no step is needed")
        log_training_end(tracker.run(name, key), recipe, finished)
    else:
        with group.led(lambda: lock(state / f"{folder.name}.lock", f"the training of {name}")):
            # An orphan may have come to its end just now.
            if not group.first(finished.exist):
                trainer = Trainer(name, recipe, key, photographs, validation, folder, limits)
                anew = trainer.state.step == 0
                if anew and group.leads:
                    tell_of_others(state, folder, name, trainer.origin)
                run = tracker.run(name, key, from_scratch=anew)
                log_training_start(
                    run,
                    recipe,
                    parameters=sum(p.numel() for p in trainer.parameters.values()),
                    device=str(limits.device),
                    threads=torch.get_num_threads(),
                    data={
                        "training": (str(data), photographs),
                        "validation": (str(valid), validation),
                    },
                )
                with run.active():
                    trainer.run(finished, run, tracker.start)
                    log_training_end(run, recipe, finished)
            if group.leads:
                shutil.rmtree(folder, ignore_errors=True)
    if group.leads:
        finished.copy_to(outputs)
    return outputs


def _packed(source: Path, out: Path, group: Group) -> Pack:
    """The pack of the photographs, made by the first process unless they are one already."""
    if is_pack(source):
        group.first(lambda: Pack(source) and None)  # which tells what is wrong with it
        return Pack(source)
    return group.first(lambda: pack(source, out))
