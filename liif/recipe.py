"""The settings of one training, and the key under which its weights are stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from math import cos, pi
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_serializer,
    model_validator,
)

from liif import RESULTS_VERSION
from liif.config_file import Settings, hashed
from liif.network.build import Architecture
from liif.network.precision import Precision

Scale = Annotated[float, Field(ge=1, le=64)]
Probability = Annotated[float, Field(gt=0, le=1)]
BlurSigma = Annotated[float, Field(gt=0, le=8)]
"""σ of a Gaussian blur before downscaling, in LR pixels."""
NoiseSigma = Annotated[float, Field(ge=0, le=100)]
"""σ of Gaussian noise after downscaling, in grey levels."""
Quality = Annotated[int, Field(ge=1, le=100)]
"""Quality of JPEG compression, the last step."""


class Weights(Settings):
    """Existing weights in liif's, the authors' or mmagic's format, by `weights` or `url`."""

    weights: str | None = Field(default=None, min_length=1)
    """`bundled`, a name of `liif weights list`, or a file."""
    url: str | None = Field(default=None, pattern=r"^https?://")
    """URL to download the file from; needs `sha256`."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """The file's checksum."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, values: Any) -> Any:
        return {"weights": values} if isinstance(values, str) else values

    @model_validator(mode="after")
    def _check(self) -> Weights:
        if self.weights is not None and self.url is not None:
            raise ValueError("takes `weights` or `url`, not both")
        if self.weights is not None and "://" in self.weights:
            raise ValueError("put a URL under `url`, with the `sha256` of its file")
        if self.sha256 is None and self.url is not None:
            raise ValueError("`url` needs `sha256`, the checksum of its file")
        if self.sha256 is None and self.weights is None:
            raise ValueError("needs a name, a file, or `url` with `sha256`")
        return self

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str | None) -> str | None:
        # Logs, reports and MLflow's tags show the configuration.
        if url is not None and "@" in urlsplit(url).netloc:
            raise ValueError("must not contain a name or password; put them into ~/.netrc")
        return url

    @model_serializer(mode="wrap")
    def _only_what_is_set(self, dump: Callable[[Any], dict[str, Any]]) -> str | dict[str, Any]:
        values = {name: value for name, value in dump(self).items() if value is not None}
        return self.weights if self.weights and values.keys() == {"weights"} else values

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1}, handler(core)]}


class Teacher(Weights):
    """A network to learn from besides the photographs (distillation)."""

    weight: PositiveFloat = 1
    """Weight of the L1 distance to its output; the distance to the HR pixels has weight 1."""


class _Range(Settings):
    """A degradation whose strength is drawn uniformly from `range` for each patch."""

    range: tuple[float, float]
    """Smallest and largest strength."""
    probability: Probability = 1
    """Probability with which a patch is degraded."""

    @model_validator(mode="after")
    def _check(self) -> _Range:
        if self.range[0] > self.range[1]:
            raise ValueError(f"`range` (={list(self.range)}) must be [smallest, largest]")
        return self


class Blur(_Range):
    """Gaussian blur of the HR patch before it is downscaled; σ in LR pixels."""

    range: tuple[BlurSigma, BlurSigma]


class Noise(_Range):
    """Gaussian noise in the LR patch; σ in grey levels."""

    range: tuple[NoiseSigma, NoiseSigma]


class Jpeg(_Range):
    """JPEG compression of the LR patch, after noise; quality from 1 to 100."""

    range: tuple[Quality, Quality]


class Degrade(Settings):
    """Degradations of training and validation patches besides bicubic downscaling."""

    blur: Blur | None = None
    """Gaussian blur before downscaling."""
    noise: Noise | None = None
    """Gaussian noise after downscaling."""
    jpeg: Jpeg | None = None
    """JPEG compression, the last step."""


class StepSchedule(Settings):
    """Learning rate multiplied by `factor` every `every` epochs."""

    name: Literal["step"] = "step"
    every: PositiveInt = 200
    """Number of epochs with the same learning rate."""
    factor: PositiveFloat = 0.5
    """Factor by which the learning rate changes."""


class CosineSchedule(Settings):
    """Learning rate that falls to zero along half a cosine, step by step."""

    name: Literal["cosine"] = "cosine"


class _Extended(Settings):
    """Settings whose fields added after 0.1.0 are dumped only where they differ from the default.

    Snakemake compares settings as text, and would repeat jobs of earlier versions.
    """

    @model_serializer(mode="wrap")
    def _without_new_defaults(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        kind = type(self)
        old = _FIELDS_OF_0_1_0.get(kind.__name__, kind.model_fields)
        return {
            name: value
            for name, value in dump(self).items()
            if name in old or getattr(self, name) != kind.model_fields[name].default
        }


class Training(_Extended):
    """Settings of a training; the defaults are the published recipe."""

    epochs: PositiveInt = 1000
    """Number of epochs; each ends with validation and a saved state."""
    visits: PositiveInt = 20
    """Patches per photograph and epoch."""
    batch: PositiveInt = 16
    """Patches per step."""
    patch: PositiveInt = 48
    """Side of the LR patch, in pixels."""
    scales: tuple[Scale, Scale] = (1, 4)
    """Each patch's scale is drawn uniformly from this range."""
    queries: PositiveInt = 2304
    """HR pixels sampled per patch, without replacement."""
    augment: bool = True
    """Random horizontal and vertical flips and transposition."""
    degrade: Degrade | None = None
    """Blur, noise and JPEG in the LR patches; the published recipe has none."""
    loss: Literal["l1", "l2"] = "l1"
    """l1 or l2: mean absolute or squared error of normalised RGB."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """adam or adamw, with PyTorch's defaults except the learning rate."""
    learning_rate: PositiveFloat = 1e-4
    """Initial learning rate."""
    encoder_learning_rate: NonNegativeFloat | None = None
    """Initial learning rate of the encoder, if another one; with 0 the encoder does not change."""
    warmup: NonNegativeInt = 0
    """Number of first steps in which the learning rate rises linearly from zero."""
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="name")] = StepSchedule()
    """How the learning rate falls."""
    precision: Precision = "float32"
    """Precision of matrix products and convolutions: float32, bf16, or auto, which is bf16 where it
    is faster on the device on which the training starts, else float32."""
    init: Literal["default", "he"] = "default"
    """Initialisation: default (PyTorch's), or he with damped outputs (for short trainings)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the initial weights and of all sampling."""
    validation_patches: PositiveInt = 160
    """Number of fixed validation patches, evaluated after every epoch."""

    @property
    def largest_side(self) -> int:
        """Side of the HR patch at the largest scale."""
        return round(self.patch * self.scales[1])

    def steps_per_epoch(self, photographs: int) -> int:
        """Steps in an epoch over that many photographs; the last batch is filled up."""
        return -(-photographs * self.visits // self.batch)

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / (self.warmup + 1)
        if isinstance(self.schedule, CosineSchedule):
            return self.learning_rate * 0.5 * (1 + cos(pi * step / (self.epochs * steps_per_epoch)))
        decays = step // steps_per_epoch // self.schedule.every
        return self.learning_rate * self.schedule.factor**decays


class Recipe(Architecture, _Extended):
    """Everything except the data that determines the trained weights: a network, its training."""

    start: Weights | None = None
    """Initial weights: all tensors of the same network, or the encoder of a network with another
    decoder. Settings of the network that are left out are taken from them."""
    teacher: Teacher | None = None
    """A network to learn from besides the photographs (distillation)."""
    train: Training = Training()
    """Settings of the training."""

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        # Here and not in Training: a model's own settings are completed by the experiment's.
        train = self.train
        side = round(train.patch * train.scales[0])
        if train.scales[0] > train.scales[1]:
            raise ValueError(f"`scales` (={list(train.scales)}) must be [smallest, largest]")
        if train.queries > side**2:
            raise ValueError(
                f"`queries` (={train.queries}) exceeds the {side}² pixels of the "
                f"smallest HR patch; lower it or raise `patch` (={train.patch})"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_new_defaults(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        values = super()._without_new_defaults(dump)
        if self.start is None:
            return values
        unset = Architecture.model_fields.keys() - self.model_fields_set  # those of the start
        return {name: value for name, value in values.items() if name not in unset}

    @property
    def given(self) -> dict[str, Weights]:
        """The initial weights (`start`) and those of the `teacher`, where they are set."""
        named = {"start": self.start, "teacher": self.teacher}
        return {name: weights for name, weights in named.items() if weights is not None}

    @property
    def architecture(self) -> Architecture:
        """The network alone."""
        return Architecture.model_validate(self.model_dump(exclude={"start", "teacher", "train"}))

    def key(self, fingerprint: str, results_version: int = RESULTS_VERSION) -> str:
        """The hash of settings and data under which trained weights are stored.

        Equal for equal results across versions of liif: fields added after 0.1.0 count only
        where they differ from their default, and the results' version counts from 2 on.
        """
        settings = hashed(self.model_copy(update=dict.fromkeys(self.given)), _FIELDS_OF_0_1_0)
        for name, weights in self.given.items():  # their content, wherever they are
            settings[name] = weights.model_dump(exclude={"weights", "url"}, exclude_defaults=True)
        parts: list[Any] = [settings, fingerprint]
        if results_version > 1:
            parts.append(results_version)
        return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


_FIELDS_OF_0_1_0 = {
    "Recipe": {"encoder", "hidden", "skip", "mean", "std", "train"},
    "EDSREncoder": {"name", "blocks", "channels"},
    "RDNEncoder": {"name", "blocks", "layers", "growth", "channels"},
    "Training": {
        *("epochs", "visits", "batch", "patch", "scales", "queries", "augment", "loss"),
        *("optimizer", "learning_rate", "schedule", "precision", "init", "seed"),
        "validation_patches",
    },
    "StepSchedule": {"name", "every", "factor"},
    "CosineSchedule": {"name"},
}
"""The fields that always count in a training's key. Frozen: later fields are not added here."""
