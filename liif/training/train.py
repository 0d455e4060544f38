"""Training: photographs → weights, resumable at any moment."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch

from liif.checkpoints.outputs import Outputs
from liif.data.pack import Pack, pack
from liif.recipe import Recipe
from liif.system.locks import lock
from liif.system.progress import log
from liif.tracking.tracker import NoTracker
from liif.training.entries import log_data, log_training_end, log_training_start
from liif.training.group import Group
from liif.training.start import read_given
from liif.training.state import report_others
from liif.training.trainer import Limits, Trainer
from liif.training.validation import revalidate

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
    """Train a model, resume its training, or find it finished.

    The weights do not depend on the validation photographs: where these change, a finished
    training is validated again, and a resumed one starts its history and its best weights over.

    Parameters
    ----------
    data, valid
        Photographs: a pack, a folder or an archive.
    out
        The weights file; history, best weights and a sidecar are written beside it.
    state
        Folder of unfinished trainings; it must outlive interruptions.
    store
        Folder of finished trainings, each under the key of its settings and data.
    """
    group, outputs = limits.group, Outputs(weights=out)
    given = group.on_rank0(lambda: read_given(recipe))
    recipe = given.recipe
    photographs = _packed(data, state / "train.pack", group)
    validation = _packed(valid, state / "valid.pack", group)
    key = recipe.key(photographs.fingerprint)
    group.require_equal(
        (key, validation.fingerprint), f"the settings or the photographs ({data}, {valid})"
    )
    finished = Outputs(weights=store / f"{key}.safetensors", validation=validation.fingerprint)
    folder = state / key[:16]
    sets = {"training": (str(data), photographs), "validation": (str(valid), validation)}
    tracked_run = partial(tracker.run, name, key, validation=validation.fingerprint)

    def is_finished() -> bool:
        return finished.exist() or revalidate(name, finished, validation, recipe, limits.device)

    found = group.on_rank0(finished.exist)
    one_writer = lock(state / f"{folder.name}.lock", f"the training of {name}")
    with ExitStack() as stack:
        if not found:
            group.on_rank0(lambda: stack.enter_context(one_writer))
        # Without the lock it was unfinished; another process may have finished it just now.
        if found or group.on_rank0(is_finished):
            log(f"{name}: already trained with these settings and data; no step is needed")
            run = tracked_run()
            log_data(run, sets)
            log_training_end(run, recipe, finished)
        else:
            trainer = Trainer(name, given, key, photographs, validation, folder, limits)
            from_scratch = trainer.state.step == 0
            if from_scratch and group.is_rank0:
                report_others(state, folder, name, trainer.origin)
            run = tracked_run(from_scratch=from_scratch)
            log_training_start(
                run,
                recipe,
                sets,
                precision=trainer.precision,
                parameters=sum(p.numel() for p in trainer.model.parameters()),
                device=str(limits.device),
                threads=torch.get_num_threads(),
            )
            with run.active():
                trainer.run(finished, run, tracker.start)
                log_training_end(run, recipe, finished)
        if group.is_rank0 and not found:
            shutil.rmtree(folder, ignore_errors=True)
    if group.is_rank0:
        finished.copy_to(outputs)
    return outputs


def _packed(source: Path, out: Path, group: Group) -> Pack:
    """The pack of the photographs, which rank 0 makes unless they are one already."""
    if source.suffix == ".pack":
        group.on_rank0(lambda: Pack(source) and None)  # reports an unusable pack once
        return Pack(source)
    return group.on_rank0(lambda: pack(source, out))
