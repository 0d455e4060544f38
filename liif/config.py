"""The typed, checked configuration: the single definition of what can be set.

``config/config.yaml`` is the documented experiment written out; every default here equals it.
The schema that serves editors is generated from these classes (``make schema``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from math import cos, pi
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from liif import RESULTS_VERSION
from liif.config_file import Settings, checked, one_line, read_yaml
from liif.network.build import Architecture, EDSREncoder, RDNEncoder
from liif.system.errors import UserError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Scale = Annotated[float, Field(ge=1, le=64)]
Channel = Literal["rgb", "y"]
Border = Annotated[int, Field(ge=0)] | Literal["scale", "scale+6"]


class StepSchedule(Settings):
    """Learning rate × factor after every so many epochs."""

    name: Literal["step"] = "step"
    every: PositiveInt = 200
    """Epochs."""
    factor: PositiveFloat = 0.5
    """Multiplies the rate."""


class CosineSchedule(Settings):
    """Learning rate falls to zero along half a cosine, step by step."""

    name: Literal["cosine"] = "cosine"


class Training(Settings):
    """A training; the defaults are the documented recipe."""

    epochs: PositiveInt = 1000
    """An epoch ends with validation and a saved state."""
    visits: PositiveInt = 20
    """Patches cut from each photograph in an epoch."""
    batch: PositiveInt = 16
    """Patches in a step."""
    patch: PositiveInt = 48
    """Side of the LR patch, in pixels."""
    scales: tuple[Scale, Scale] = (1, 4)
    """Each patch's scale is drawn uniformly from this range."""
    queries: PositiveInt = 2304
    """HR pixels sampled from each patch, without replacement."""
    augment: bool = True
    """Random horizontal and vertical flips and transposition."""
    loss: Literal["l1", "l2"] = "l1"
    """Mean absolute or squared error of normalised RGB."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """With PyTorch's defaults, except for the learning rate."""
    learning_rate: PositiveFloat = 1e-4
    """The optimizer's, before the schedule."""
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="name")] = StepSchedule()
    """How the learning rate falls."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of matrix products and convolutions; bf16 is faster on devices that support it."""
    init: Literal["default", "he"] = "default"
    """PyTorch's initialisation, or He's with damped outputs (better for short trainings)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of initial weights and of all samples."""
    validation_patches: PositiveInt = 160
    """Fixed patches of the validation photographs, evaluated after every epoch."""

    @property
    def smallest_side(self) -> int:
        """Side of the HR patch at the smallest scale."""
        return round(self.patch * self.scales[0])

    @property
    def largest_side(self) -> int:
        """Side of the HR patch at the largest scale."""
        return round(self.patch * self.scales[1])

    def steps_per_epoch(self, photographs: int) -> int:
        """Steps in an epoch over so many photographs; the last batch is filled up."""
        return -(-photographs * self.visits // self.batch)

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of a step, counted from 0."""
        if isinstance(self.schedule, CosineSchedule):
            return self.learning_rate * 0.5 * (1 + cos(pi * step / (self.epochs * steps_per_epoch)))
        decays = step // steps_per_epoch // self.schedule.every
        return self.learning_rate * self.schedule.factor**decays


class Recipe(Architecture):
    """Everything except the data that determines the trained weights: a network, its training."""

    train: Training = Training()
    """How it is trained."""

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        # Here and not in Training: a model's own settings are completed by the experiment's.
        train, side = self.train, self.train.smallest_side
        if train.scales[0] > train.scales[1]:
            raise ValueError(f"`scales` (={list(train.scales)}) must be [smallest, largest]")
        if train.queries > side**2:
            raise ValueError(
                f"`queries` (={train.queries}) exceeds the {side}² pixels of the "
                f"smallest HR patch; lower it or raise `patch` (={train.patch})"
            )
        return self

    @property
    def architecture(self) -> Architecture:
        """The network alone."""
        return Architecture.model_validate(self.model_dump(exclude={"train"}))

    def key(self, fingerprint: str, results_version: int = RESULTS_VERSION) -> str:
        """The hash of settings and data under which trained weights are stored.

        Equal for equal results across versions of liif: fields added after 0.1.0 count only
        where they differ from their default, and the results' version counts from 2 on.
        """
        parts: list[Any] = [_hashed(self), fingerprint]
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


def _hashed(settings: BaseModel) -> dict[str, Any]:
    """The settings that count in a training's key, as JSON values."""
    kind, values = type(settings), settings.model_dump(mode="json")
    always = {"name"} | _FIELDS_OF_0_1_0.get(kind.__name__, set())
    for name, field in kind.model_fields.items():
        value = getattr(settings, name)
        if name not in always and value == field.get_default(call_default_factory=True):
            del values[name]
        elif isinstance(value, BaseModel):
            values[name] = _hashed(value)
    return values


class Download(Settings):
    """Weights at a URL."""

    url: str = Field(pattern=r"^https?://")
    """Their address."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """The file's checksum."""

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str) -> str:
        # Logs, reports and MLflow's parameters show the configuration.
        if "@" in urlsplit(url).netloc:
            raise ValueError("no name and password in an address: put them into ~/.netrc")
        return url


class TrainedModel(Architecture):
    """A model of the experiment that is trained."""

    train: Training = Training()
    """This model's differences from the experiment's `train`."""
    scales: tuple[Scale, ...] | None = None
    """Scales to evaluate on the validation set, in place of the experiment's."""


class GivenModel(Settings):
    """A model of the experiment that is only evaluated and used."""

    weights: Annotated[
        Annotated[str, Tag("file")] | Annotated[Download, Tag("download")],
        Discriminator(lambda value: "download" if isinstance(value, dict | Download) else "file"),
    ]
    """`bundled`, a file, or `url` and `sha256`; in liif's, the authors' or mmagic's format."""
    scales: tuple[Scale, ...] | None = None
    """Scales to evaluate on the validation set, in place of the experiment's."""


class TestPictures(Settings):
    """The test pictures: just one of these keys."""

    __test__ = False  # not a test case, although pytest would collect it by its name

    from_: Literal["valid"] | None = Field(default=None, alias="from")
    """Cut them from the validation photographs."""
    hr: Path | None = None
    """A folder or an archive of HR photographs to make them from."""
    lr: Path | None = None
    """A folder or an archive of LR pictures; without a reference nothing is measured on them."""

    @model_validator(mode="after")
    def _check(self) -> TestPictures:
        if [self.from_, self.hr, self.lr].count(None) != 2:
            raise ValueError("must be one of {from: valid}, {hr: DIR} and {lr: DIR}")
        return self


class Data(Settings):
    """The photographs: folders or archives (zip, tar) of pictures."""

    train: Path = Path("data/DIV2K_train_HR.zip")
    """To train on. DIV2K's own two archives are downloaded when missing."""
    valid: Path = Path("data/DIV2K_valid_HR.zip")
    """To validate and evaluate on."""
    test: TestPictures = TestPictures.model_validate({"from": "valid"})
    """To upscale: {from: valid}, {hr: DIR} or {lr: DIR}."""
    crop: PositiveInt | None = 800
    """HR test pictures are cut to this centred square; null takes them whole."""


class Evaluation(Settings):
    """The measurements on the validation set."""

    scales: tuple[Scale, ...] = (2, 3, 4, 6, 8, 12, 18, 24, 30)
    """On the validation set."""
    channel: Channel = "rgb"
    """PSNR and SSIM on RGB (DIV2K's convention) or on luma (the benchmarks')."""
    border: Border = "scale+6"
    """Pixels left out at each side: a number, `scale` (benchmarks) or `scale+6` (DIV2K)."""


def _not_bicubic(name: str) -> str:
    if name == "bicubic":
        raise ValueError("the name `bicubic` is taken by the baseline; use another")
    return name


def _model_kind(value: Any) -> str:
    given = "weights" in value if isinstance(value, dict) else isinstance(value, GivenModel)
    return "given" if given else "trained"


class Experiment(Settings):
    """The whole configuration file."""

    data: Data = Data()
    models: dict[
        Annotated[Name, AfterValidator(_not_bicubic)],
        Annotated[
            Annotated[TrainedModel, Tag("trained")] | Annotated[GivenModel, Tag("given")],
            Discriminator(_model_kind),
        ],
    ] = Field(
        default={
            "edsr-baseline": TrainedModel(encoder=EDSREncoder()),
            "rdn": TrainedModel(encoder=RDNEncoder()),
        },
        min_length=1,
    )
    """Each by name, either trained or given."""
    train: Training = Training()
    """For all models that are trained."""
    scale: Scale = 8
    """Scale factor of the test pictures."""
    evaluate: Evaluation = Evaluation()
    tracking: bool = True
    """Whether every run is recorded in MLflow."""
    buckets: PositiveInt = 1
    """Number of jobs that work over many pictures is split into."""

    def recipe(self, name: str) -> Recipe:
        """The resolved settings of a trained model: the experiment's `train`, then its own."""
        model = self.models[name]
        assert isinstance(model, TrainedModel)
        train = {**self.train.model_dump(), **model.train.model_dump(exclude_unset=True)}
        return Recipe.model_validate({**model.model_dump(exclude={"scales"}), "train": train})

    def scales(self, name: str) -> tuple[float, ...]:
        """The scales at which a model (or `bicubic`) is evaluated on the validation set."""
        if name not in self.models:
            # Bicubic is compared with every model at every scale.
            own = [s for m in self.models.values() for s in m.scales or ()]
            return tuple(dict.fromkeys([*self.evaluate.scales, *own]))
        scales = self.models[name].scales
        return self.evaluate.scales if scales is None else scales

    @property
    def trained(self) -> list[str]:
        """Names of the models to train."""
        return [n for n, m in self.models.items() if isinstance(m, TrainedModel)]

    @property
    def given(self) -> list[str]:
        """Names of the models whose weights are given."""
        return [n for n, m in self.models.items() if isinstance(m, GivenModel)]


def experiment(values: Mapping[Any, Any]) -> Experiment:
    """Check a whole configuration; a mistake raises a `UserError` of one line."""
    result = checked(Experiment, values)
    for name in result.trained:
        try:
            result.recipe(name)
        except ValidationError as error:
            raise UserError(one_line(error, {}, f"models.{name}")) from None
    return result


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested settings by dotted name, such as `train.batch`."""
    flat: dict[str, object] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def recipe(text: str) -> Recipe:
    """Settings of one training, from YAML or JSON text or from such a file."""
    return checked(Recipe, read_yaml(text))
