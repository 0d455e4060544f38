"""The training loop, which reads top to bottom in ``Trainer.run``.

Set the learning rate, take a step, and after every epoch validate, keep the best, save and log.
"""

from __future__ import annotations

import math
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch

from liif import RESULTS_VERSION
from liif.checkpoints.format import save_checkpoint
from liif.checkpoints.outputs import Outputs, history_csv
from liif.data.pack import Pack
from liif.data.patches import LARGEST, LoadedBatches, TrainingBatches
from liif.network.precision import Used, choose
from liif.system import memory
from liif.system.errors import UserError
from liif.system.files import atomic_write, write_json, write_text
from liif.system.processes import PeerFailed
from liif.system.progress import duration, log
from liif.system.signals import Interrupted, stop_requests
from liif.tracking.problems import never_failing
from liif.tracking.run import Run
from liif.training.group import ALONE, Group
from liif.training.losses import EXPLODED, Losses
from liif.training.preview import Preview
from liif.training.start import Given, networks, parameter_groups
from liif.training.state import State, resume, save, tensors_of
from liif.training.step import Replica, train_step
from liif.training.throughput import Throughput
from liif.training.validation import is_psnr_of, validate

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How a training runs on this machine; its results are the same, up to rounding."""

    device: torch.device
    workers: int = 0
    """Data-loader workers."""
    save_minutes: float = 5
    """Time between saves within an epoch."""
    group: Group = ALONE
    """The ranks that share each step. Only rank 0 needs `out`, `state` and `store`; all need the
    photographs: the given packs, or those that rank 0 makes."""


class Trainer:
    """One training, or one rank's share of it."""

    def __init__(
        self,
        name: str,
        given: Given,
        key: str,
        photographs: Pack,
        validation: Pack,
        folder: Path,
        limits: Limits,
    ) -> None:
        recipe = given.recipe
        self.name, self.recipe, self.settings = name, recipe, recipe.train
        self.folder, self.limits, self.validation = folder, limits, validation
        self.group = limits.group
        for pack in (photographs, validation):
            self.group.on_rank0(partial(pack.require, self.settings.largest_side, LARGEST))
        share = (self.group.rank, self.group.size)
        self.batches = TrainingBatches(photographs, self.settings, share)
        self.per_epoch = self.batches.steps_per_epoch
        settings = recipe.model_dump(mode="json")
        self.origin = {**settings, "photographs": photographs.fingerprint[:16]}
        self.provenance = {
            "recipe": settings,
            "data": photographs.fingerprint,
            "results_version": RESULTS_VERSION,
        }
        if photographs.data_version is not None:
            self.provenance["data_version"] = photographs.data_version
        self.model, self.teaching = networks(given, limits.device)
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = OPTIMIZERS[self.settings.optimizer](
            parameter_groups(self.model, self.settings),
            lr=self.settings.learning_rate,
            fused=True if limits.device.type == "cuda" else None,  # None: as PyTorch chooses
        )
        self.preview: Preview | None = None
        self.state = self._resume(key)
        # A resumed training keeps its precision, whatever the device; all ranks have rank 0's.
        asked = self.state.precision or self.settings.precision
        self.precision: Used = self.group.on_rank0(partial(choose, asked, limits.device))
        self.state.precision = self.provenance["precision"] = self.precision
        self.replica = Replica(self.model, self.settings.batch, self.group)

    def run(self, finished: Outputs, run: Run, begin: Callable[[], None]) -> None:
        """Train to the end and write the results.

        `begin` is called after the data-loader workers were forked, when threads may start.
        """
        state, settings, total = self.state, self.settings, len(self.batches)
        # Handlers are set before workers are forked: an exception within a fork would be lost.
        with (
            stop_requests() as stop,
            memory.explain(f"{self.name}: training", self._remedy),
            closing(self._load()) as batches,
        ):
            run.log_epochs(state.history)  # a killed process may have saved more than it logged
            begin()
            if state.step == 0:
                self.group.on_rank0(partial(self._log_preview, run, 0))
            on_cpu = self.limits.device.type == "cpu"
            throughput = Throughput(self.name, settings, self.per_epoch, state.step, on_cpu=on_cpu)
            save_state = partial(
                save, self.folder, state, self.origin, self.parameters, self.optimizer
            )
            saved = time.monotonic()
            unread = Losses(self.group, self.limits.device)
            for batch in batches:
                for group in self.optimizer.param_groups:
                    group["lr"] = settings.rate(state.step, self.per_epoch) * group["factor"]
                on_device = batch.to(self.limits.device)
                unread.add(
                    train_step(
                        self.replica,
                        self.optimizer,
                        on_device,
                        settings.loss,
                        self.precision,
                        self.teaching,
                    )
                )
                state.step += 1
                epoch, within = divmod(state.step, self.per_epoch)
                if within > 0 and not unread.due:
                    continue
                due = time.monotonic() - saved > 60 * self.limits.save_minutes
                losses, (stopping, due) = unread.read(bool(stop), due and self.group.is_rank0)
                self._count(losses, throughput)
                saving = within == 0 or due or stopping
                if saving:
                    self._require_finite_weights()  # before any of them is saved
                if within == 0:
                    self._end_epoch(throughput)
                    self.group.on_rank0(partial(self._log_preview, run, epoch))
                if saving and state.step < total:
                    state.seconds += throughput.lap()
                    self.group.on_rank0(save_state)  # all wait: none may leave before it
                    run.log_epochs(state.history)  # after saving: a resumed run repeats none
                    saved = time.monotonic()
                if stopping and state.step < total:
                    raise Interrupted(
                        f"{self.name}: stopped and saved at step {state.step} of {total}; "
                        "run the same command to resume",
                        stop[0] if stop else signal.SIGTERM,
                    )
        state.seconds += throughput.lap()
        if self.group.is_rank0:
            self._finish(finished)

    def _load(self) -> LoadedBatches:
        """The batches of the next steps."""
        on_gpu = self.limits.device.type == "cuda"
        return self.batches.from_step(self.state.step, self.limits.workers, pinned=on_gpu)

    def _count(self, losses: list[float], throughput: Throughput) -> None:
        """Check the losses of the last steps, and add them to the epoch's."""
        for step, loss in enumerate(losses, self.state.step - len(losses)):
            if not loss <= EXPLODED:  # NaN compares false
                self._fail(f"the loss is {loss:g}", step)
            self.state.loss_sum += loss
            throughput.step(loss)

    def _end_epoch(self, throughput: Throughput) -> None:
        """Validate, keep the best weights and extend the history."""
        state = self.state
        psnr = validate(self.model, self.validation, self.recipe, self.limits.device, self.group)
        if psnr > state.best:
            state.best = psnr
            if self.group.is_rank0:
                self._write_model(self.folder / "best.safetensors", valid_psnr=round(psnr, 4))
        loss, state.loss_sum = state.loss_sum / self.per_epoch, 0.0
        state.history.append(
            {
                "epoch": state.step // self.per_epoch,
                "step": state.step,
                "loss": loss,
                "valid_psnr": psnr,
                "learning_rate": self.settings.rate(state.step - 1, self.per_epoch),
                "patches_per_second": throughput.patches_per_second,
                "timestamp": round(time.time(), 3),
            }
        )
        if self.group.is_rank0:
            write_text(self.folder / "history.csv", history_csv(state.history))
        throughput.log(loss, psnr)

    def _log_preview(self, run: Run, epoch: int) -> None:
        if not run.recorded:
            return
        with never_failing():
            self.preview = self.preview or Preview(self.name, self.validation, self.settings)
            for key, pixels in self.preview.draw(self.model).items():
                run.log_image(key, pixels, step=epoch)

    def _require_finite_weights(self) -> None:
        """Refuse weights that show a failed training."""
        if not all(bool(torch.isfinite(tensor).all()) for tensor in self.parameters.values()):
            self._fail("weights are not finite", self.state.step - 1)

    def _fail(self, wrong: str, step: int) -> NoReturn:
        """Report a step after which the training has failed."""
        rate = self.settings.rate(step, self.per_epoch)
        error = UserError(
            f"{self.name}: {wrong} at step {step} with learning rate {rate:g}, in the batch of "
            f"{', '.join(self.batches.names(step))}; the last good state is kept in "
            f"{self.folder}; lower `learning_rate`, change `init`, or look at these photographs"
        )
        raise error if self.group.is_rank0 else PeerFailed

    @property
    def _remedy(self) -> str:
        """How to use less memory."""
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
        """Write the results, the weights last."""
        state = self.state
        write_text(finished.history, history_csv(state.history))
        with atomic_write(finished.best) as part:
            shutil.copyfile(self.folder / "best.safetensors", part)
        write_json(
            finished.sidecar,
            {
                "name": self.name,
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "seconds": round(state.seconds, 1),
                "steps": state.step,
                "device": str(self.limits.device),
                "precision": self.precision,
                "threads": torch.get_num_threads(),
                "processes": self.group.size,
                "torch": torch.__version__,
                "results_version": RESULTS_VERSION,
                "validation": self.validation.fingerprint,
            },
        )
        self._write_model(finished.weights)
        log(f"{self.name}: {state.step} steps in {duration(state.seconds)}")

    def _resume(self, key: str) -> State:
        """The state of an interrupted run, which rank 0 has, or a new one."""
        fingerprint = self.validation.fingerprint
        state = self.group.on_rank0(
            lambda: resume(self.folder, key, self.origin, self.parameters, self.optimizer)
        )
        if state is None:
            return State(key, validation=fingerprint)
        self.group.broadcast(tensors_of(self.parameters, self.optimizer, state.step))
        log(f"{self.name}: resuming after step {state.step} of {len(self.batches)}")
        if not self.group.on_rank0(partial(self._is_of_this_validation, state)):
            log(
                f"{self.name}: the validation photographs have changed; history and best weights "
                "start over"
            )
            state.best, state.history = -math.inf, []
        state.validation = fingerprint
        return state

    def _is_of_this_validation(self, state: State) -> bool:
        """Whether history and best weights were measured on these photographs."""
        best = self.folder / "best.safetensors"
        if state.validation or not best.is_file():
            return state.validation in ("", self.validation.fingerprint)
        return is_psnr_of(best, state.best, self.validation, self.recipe, self.limits.device)
