"""The training loop, which reads top to bottom in ``Trainer.run``.

Set the learning rate, take a step, and after every epoch validate, keep the best, save and report.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from liif import RESULTS_VERSION
from liif.checkpoints.format import save_checkpoint
from liif.checkpoints.outputs import Outputs, history_csv
from liif.config import Recipe
from liif.data.pack import Pack
from liif.data.patches import LARGEST, TrainingBatches
from liif.network.build import build, initialise_he
from liif.system import memory
from liif.system.errors import UserError
from liif.system.files import atomic_write, write_json, write_text
from liif.system.progress import duration, log
from liif.system.signals import Interrupted, stop_requests
from liif.tracking.run import Run
from liif.training.group import ALONE, Group
from liif.training.preview import Strips
from liif.training.replica import Replica
from liif.training.state import Origin, State, all_finite, resume, save, tensors_of
from liif.training.step import train_step, validate
from liif.training.throughput import Pace

NO_RUN = Run()
EXPLODED = 1000.0
"""Above this loss a training has gone wrong: RGB lie in −1..1, so a useful loss is below 1."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How a training runs here; none of it changes what it ends in, but for rounding."""

    device: torch.device
    workers: int = 0
    """Processes that make batches ahead."""
    save_minutes: float = 5
    """Time between saves of the state within an epoch."""
    group: Group = ALONE
    """The processes that share each step. Only the first needs `out`, `state` and `store`; each
    needs the photographs, and where they are no packs, the pack that the first makes of them."""


class Trainer:
    """One training, or one process's share of it."""

    def __init__(
        self,
        name: str,
        recipe: Recipe,
        key: str,
        photographs: Pack,
        validation: Pack,
        folder: Path,
        limits: Limits,
    ) -> None:
        self.name, self.recipe, self.settings = name, recipe, recipe.train
        self.folder, self.limits, self.validation = folder, limits, validation
        self.group = limits.group
        self.group.first(lambda: photographs.require(self.settings.largest_side, LARGEST))
        self.group.first(lambda: validation.require(self.settings.largest_side, LARGEST))
        share = (self.group.rank, self.group.size)
        self.batches = TrainingBatches(photographs, self.settings, share)
        self.per_epoch = self.batches.steps_per_epoch
        self.provenance = {
            "recipe": recipe.model_dump(mode="json"),
            "data": photographs.fingerprint,
            "results_version": RESULTS_VERSION,
        }
        if photographs.data_version is not None:
            self.provenance["data_version"] = photographs.data_version
        torch.manual_seed(self.settings.seed)
        self.model = build(recipe.architecture)
        if self.settings.init == "he":
            initialise_he(self.model)
        self.model.to(limits.device)
        self.parameters = dict(self.model.named_parameters())
        optimizers = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        self.optimizer = optimizers[self.settings.optimizer](
            self.parameters.values(), lr=self.settings.learning_rate
        )
        self.strips: Strips | None = None
        self.origin = Origin(recipe=recipe, data=photographs.fingerprint)
        self.state = self._resume(key)
        self.replica = Replica(self.model, self.group, self.settings.batch)

    def run(
        self, finished: Outputs, run: Run = NO_RUN, begin: Callable[[], None] = lambda: None
    ) -> None:
        """Train to the end and put the results under their key.

        `begin` is called when the loader has forked its workers, so that threads may be started.
        """
        state, total = self.state, len(self.batches)
        # From before the loader's workers are forked: an exception within a fork would be lost.
        with stop_requests() as stop, memory.explain(f"{self.name}: training", self._smaller):
            run.log_epochs(state.history)  # a killed process may have saved more than it recorded
            batches = self.batches.from_step(state.step, self.limits.workers)
            begin()
            if state.step == 0:
                self.group.first(partial(self._draw, run, 0))
            pace = Pace(
                self.name,
                self.settings,
                self.per_epoch,
                state.step,
                on_cpu=self.limits.device.type == "cpu",
            )
            saved = time.monotonic()
            for batch in batches:
                for group in self.optimizer.param_groups:
                    group["lr"] = self.settings.rate(state.step, self.per_epoch)
                mine = train_step(
                    self.replica,
                    self.optimizer,
                    batch.to(self.limits.device),
                    self.settings.loss,
                    self.settings.precision,
                )
                due = time.monotonic() - saved > 60 * self.limits.save_minutes
                # What one process has found all must do, or they would wait for each other.
                found = (bool(stop), due and self.group.leads)
                loss, *together = self.group.sums(mine, *found)
                stopping, due = (count > 0 for count in together)
                self._check(loss)
                state.step += 1
                at_end = state.step % self.per_epoch == 0
                keep = at_end or due or stopping
                if keep:
                    self._check(loss, weights=True)  # before anything of them is kept
                state.loss_sum += loss
                pace.step(loss)
                if at_end:
                    self._end_epoch(pace)
                    self.group.first(partial(self._draw, run, state.step // self.per_epoch))
                if keep and state.step < total:
                    state.seconds += pace.lap()
                    self.group.first(self._save)  # all wait, for none must leave before it
                    run.log_epochs(state.history)  # after saving, or a resumed one would double it
                    saved = time.monotonic()
                if stopping and state.step < total:
                    raise Interrupted(
                        f"{self.name}: stopped and saved at step {state.step} of {total}; "
                        "the same command goes on from there",
                        stop[0] if stop else signal.SIGTERM,
                    )
        state.seconds += pace.lap()
        if self.group.leads:
            self._finish(finished)

    def _end_epoch(self, pace: Pace) -> None:
        """Validate, keep the best, add to the history, say how it goes."""
        state = self.state
        psnr = validate(self.model, self.validation, self.recipe, self.limits.device, self.group)
        if psnr > state.best:
            state.best = psnr
            if self.group.leads:
                self._write_model(self.folder / "best.safetensors", valid_psnr=round(psnr, 4))
        state.history.append(
            {
                "epoch": state.step // self.per_epoch,
                "step": state.step,
                "loss": state.loss_sum / self.per_epoch,
                "valid_psnr": psnr,
                "learning_rate": self.settings.rate(state.step - 1, self.per_epoch),
                "patches_per_second": pace.patches_per_second,
                "timestamp": round(time.time(), 3),
            }
        )
        state.loss_sum = 0.0
        if self.group.leads:
            write_text(self.folder / "history.csv", history_csv(state.history))
        pace.log(state.history[-1]["loss"], psnr)

    def _draw(self, run: Run, epoch: int) -> None:
        """Show how the model enlarges now, where anyone will look at it."""
        if not run.recorded:
            return
        try:
            if self.strips is None:
                self.strips = Strips(self.name, self.validation, self.settings)
            for key, strip in self.strips.draw(self.model).items():
                run.log_image(key, strip, step=epoch)
        except Exception as error:  # no training fails for want of a picture
            run.report_problem(error)

    def _check(self, loss: float, *, weights: bool = False) -> None:
        """Stop before what went wrong is kept: the loss of a step, or the weights after it."""
        wrong = "" if loss <= EXPLODED else f"the loss is {loss:g}"  # NaN is not below it either
        if weights and not wrong and not all_finite(self.parameters.values()):
            wrong = "weights are no numbers any more"
        if wrong:
            step = self.state.step - weights  # which is counted already when weights are looked at
            rate = self.settings.rate(step, self.per_epoch)
            error = UserError(
                f"{self.name}: {wrong} at step {step} with learning rate {rate:g}, in the batch of "
                f"{', '.join(self.batches.names(step))}; the last good state is kept in "
                f"{self.folder}; lower `learning_rate`, change `init`, or look at these photographs"
            )
            raise self.group.known_to_all(error)

    @property
    def _smaller(self) -> str:
        """What takes less memory."""
        s = self.settings
        return (
            f"lower `batch` (={s.batch}), `queries` (={s.queries}) or `patch` (={s.patch}), take a "
            "smaller encoder, or leave more memory free; the last good state is kept in "
            f"{self.folder}"
        )

    def _write_model(self, path: Path, **provenance: Any) -> None:
        save_checkpoint(
            path, self.model, self.recipe.architecture, {**self.provenance, **provenance}
        )

    def _finish(self, finished: Outputs) -> None:
        """Put the results under their key, the weights last."""
        state = self.state
        write_text(finished.history, history_csv(state.history))
        best = self.folder / "best.safetensors"
        with atomic_write(finished.best) as part:
            shutil.copyfile(best, part)
        write_json(
            finished.sidecar,
            {
                "name": self.name,
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "seconds": round(state.seconds, 1),
                "steps": state.step,
                "device": str(self.limits.device),
                "threads": torch.get_num_threads(),
                "processes": self.group.size,
                "torch": torch.__version__,
                "results_version": RESULTS_VERSION,
            },
        )
        self._write_model(finished.weights)
        log(f"{self.name}: {state.step} steps in {duration(state.seconds)}")

    def _save(self) -> None:
        save(self.folder, self.state, self.origin, self.parameters, self.optimizer)

    def _resume(self, key: str) -> State:
        """The state of an interrupted run, or that of the beginning; the first process has it."""

        def here() -> State | None:
            return resume(self.folder, key, self.origin, self.parameters, self.optimizer)

        state = self.group.first(here)
        if state is None:
            return State(key)
        self.group.give(tensors_of(self.parameters, self.optimizer, state.step))
        log(f"{self.name}: goes on after step {state.step} of {len(self.batches)}")
        return state
