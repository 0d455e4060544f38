"""The typed, checked configuration: the one truth about what can be set.

``config/config.yaml`` is the documented experiment written out; every default here equals it.
The schema in ``workflow/schemas`` is generated from these classes (``make schema``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from liif.config_file import one_line
from liif.system.errors import UserError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Scale = Annotated[float, Field(ge=1, le=64)]
Skip = Literal["none", "bilinear", "bicubic"]
Channel = Literal["rgb", "y"]
Border = Annotated[int, Field(ge=0)] | Literal["scale", "scale+6"]
RGB = tuple[float, float, float]


class Settings(BaseModel):
    """Base of all settings: nothing unknown, nothing changed afterwards."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


T = TypeVar("T", bound=Settings)


class EDSREncoder(Settings):
    """EDSR-baseline; the defaults are the published sizes."""

    name: Literal["edsr"] = "edsr"
    blocks: PositiveInt = 16
    """Residual blocks."""
    channels: PositiveInt = 64
    """Feature channels."""


class RDNEncoder(Settings):
    """RDN; the defaults are configuration "B" of its paper."""

    name: Literal["rdn"] = "rdn"
    blocks: PositiveInt = 16
    """Residual dense blocks."""
    layers: PositiveInt = 8
    """Convolutions in each block."""
    growth: PositiveInt = 64
    """Channels that each convolution adds."""
    channels: PositiveInt = 64
    """Feature channels."""


class Architecture(Settings):
    """A LIIF network."""

    encoder: Annotated[EDSREncoder | RDNEncoder, Field(discriminator="name")] = EDSREncoder()
    """The encoder and its sizes."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 256, 256, 256), min_length=1)
    """Widths of the decoder's hidden layers."""
    skip: Skip = "none"
    """What the enlarged input adds to the prediction; the paper's is none."""
    mean: RGB = (0.5, 0.5, 0.5)
    """Subtracted from RGB in 0..1 before the encoder, added after the decoder."""
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.5, 0.5, 0.5)
    """Divided by before the encoder, multiplied by after the decoder."""


class StepSchedule(Settings):
    """Learning rate × factor after every so many epochs."""

    name: Literal["step"] = "step"
    every: PositiveInt = 200
    """Epochs."""
    factor: PositiveFloat = 0.5
    """What the rate is multiplied by."""


class CosineSchedule(Settings):
    """Learning rate falls to zero along half a cosine, step by step."""

    name: Literal["cosine"] = "cosine"


class Training(Settings):
    """A training; the defaults are the documented recipe."""

    epochs: PositiveInt = 1000
    """How often the learning rate is looked at, validation done and progress kept."""
    visits: PositiveInt = 20
    """Patches cut from each photograph in an epoch."""
    batch: PositiveInt = 16
    """Patches in a step."""
    patch: PositiveInt = 48
    """Side of the LR patch, in pixels."""
    scales: tuple[Scale, Scale] = (1, 4)
    """Each patch's scale is drawn uniformly from this range."""
    queries: PositiveInt = 2304
    """HR pixels asked for in each patch, without replacement."""
    augment: bool = True
    """Random horizontal and vertical flips and transposition."""
    loss: Literal["l1", "l2"] = "l1"
    """Mean absolute or squared error of normalised RGB."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """With PyTorch's defaults but for the learning rate."""
    learning_rate: PositiveFloat = 1e-4
    """The optimizer's, before the schedule."""
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="name")] = StepSchedule()
    """How the learning rate falls."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the products in training; bf16 is faster on devices that have it."""
    init: Literal["default", "he"] = "default"
    """PyTorch's initialisation, or He's with damped outputs (better for short trainings)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of initial weights and of all samples."""
    validation_patches: PositiveInt = 160
    """Fixed patches of the validation photographs that are measured after every epoch."""

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
        """The learning rate of a step, counted from 0."""
        if isinstance(self.schedule, CosineSchedule):
            from math import cos, pi

            return self.learning_rate * 0.5 * (1 + cos(pi * step / (self.epochs * steps_per_epoch)))
        halvings = step // steps_per_epoch // self.schedule.every
        return self.learning_rate * self.schedule.factor**halvings


class Recipe(Architecture):
    """All that decides what a training ends in, but the data: a network and its training."""

    train: Training = Training()
    """How it is trained."""

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        # Here and not in Training: a model's own settings are only complete with the experiment's.
        train, side = self.train, self.train.smallest_side
        if train.scales[0] > train.scales[1]:
            raise ValueError(f"`scales` (={list(train.scales)}) must be [smallest, largest]")
        if train.queries > side**2:
            raise ValueError(
                f"`queries` (={train.queries}) exceeds the {side}² pixels of the "
                f"smallest HR patch; lower it or enlarge `patch` (={train.patch})"
            )
        return self

    @property
    def architecture(self) -> Architecture:
        """The network alone."""
        return Architecture.model_validate(self.model_dump(exclude={"train"}))

    def key(self, fingerprint: str) -> str:
        """Under which the trained weights are found again: a hash of settings and data."""
        text = json.dumps([self.model_dump(mode="json"), fingerprint], sort_keys=True)
        return sha256(text.encode()).hexdigest()


class Download(Settings):
    """Weights on the network."""

    url: str = Field(pattern=r"^https?://")
    """Where they are."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """What they must be."""

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str) -> str:
        # Logs, reports and MLflow's parameters show what the configuration holds.
        if "@" in urlsplit(url).netloc:
            raise ValueError("no name and password in an address: put them into ~/.netrc")
        return url


class TrainedModel(Architecture):
    """A model of the experiment that is trained."""

    train: Training = Training()
    """What differs from the experiment's `train` for this model."""
    scales: tuple[Scale, ...] | None = None
    """Scales to evaluate on the validation set, in place of the experiment's."""


class GivenModel(Settings):
    """A model of the experiment that is only evaluated and used."""

    weights: str | Download
    """`bundled`, a file, or `url` and `sha256`; ours, the authors' or mmagic's format."""
    scales: tuple[Scale, ...] | None = None
    """Scales to evaluate on the validation set, in place of the experiment's."""


class TestFrom(Settings):
    """Test pictures cut from the validation photographs."""

    __test__ = False  # no test case, whatever pytest thinks of its name

    from_: Literal["valid"] = Field(default="valid", alias="from")
    """The validation photographs."""


class TestHR(Settings):
    """Test pictures made from HR photographs, so that the truth is known."""

    __test__ = False

    hr: Path
    """A folder or an archive of photographs."""


class TestLR(Settings):
    """LR pictures of one's own; the truth is not known, so nothing is measured."""

    __test__ = False

    lr: Path
    """A folder or an archive of pictures."""


class Data(Settings):
    """Where the photographs come from: folders or archives (zip, tar) of pictures."""

    train: Path = Path("data/DIV2K_train_HR.zip")
    """To train on. DIV2K's own two archives are downloaded when missing."""
    valid: Path = Path("data/DIV2K_valid_HR.zip")
    """To validate and evaluate on."""
    test: TestFrom | TestHR | TestLR = TestFrom()
    """To enlarge: {from: valid}, {hr: DIR} or {lr: DIR}."""
    crop: PositiveInt | None = 800
    """HR test pictures are cut to this centred square; null takes them whole."""

    @field_validator("test", mode="before")
    @classmethod
    def _one_kind(cls, value: Any) -> Any:
        kinds: dict[str, type[Settings]] = {"from": TestFrom, "hr": TestHR, "lr": TestLR}
        if isinstance(value, dict):
            if len(value) != 1 or next(iter(value)) not in kinds:
                raise ValueError("must be one of {from: valid}, {hr: DIR} and {lr: DIR}")
            return kinds[next(iter(value))].model_validate(value)
        return value


class Evaluation(Settings):
    """What is measured, and how."""

    scales: tuple[Scale, ...] = (2, 3, 4, 6, 8, 12, 18, 24, 30)
    """On the validation set."""
    channel: Channel = "rgb"
    """PSNR and SSIM on RGB (DIV2K's way) or on luma (the benchmarks')."""
    border: Border = "scale+6"
    """Pixels left out at each side: a number, `scale` (benchmarks) or `scale+6` (DIV2K)."""


class Experiment(Settings):
    """The whole configuration file."""

    data: Data = Data()
    models: dict[Name, TrainedModel | GivenModel] = Field(
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
    """How much the test pictures are enlarged."""
    evaluate: Evaluation = Evaluation()
    tracking: bool = True
    """Whether MLflow keeps a record of every run."""
    buckets: PositiveInt = 1
    """Into how many jobs work over many pictures is split."""

    @field_validator("models", mode="before")
    @classmethod
    def _kinds(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "bicubic" in value:
            raise ValueError("the name `bicubic` is taken by the baseline; use another")
        # Choosing the class here keeps errors about the kind of model that was meant.
        kinds = {
            name: GivenModel if isinstance(model, dict) and "weights" in model else TrainedModel
            for name, model in value.items()
        }
        checked, errors = {}, []
        for name, model in value.items():
            try:
                checked[name] = kinds[name].model_validate(model)
            except ValidationError as error:
                errors += [{**e, "loc": (name, *e["loc"])} for e in error.errors()]
        if errors:
            raise ValueError(_line(errors, "models"))
        return checked

    def recipe(self, name: str) -> Recipe:
        """The resolved settings of a trained model: the experiment's `train`, then its own."""
        model = self.models[name]
        assert isinstance(model, TrainedModel)
        train = {**self.train.model_dump(), **model.train.model_dump(exclude_unset=True)}
        return Recipe.model_validate({**model.model_dump(exclude={"scales"}), "train": train})

    def scales(self, name: str) -> tuple[float, ...]:
        """The scales at which a model (or `bicubic`) is evaluated on the validation set."""
        if name not in self.models:
            # Bicubic stands beside every model at every scale.
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
        """Names of the models that are given."""
        return [n for n, m in self.models.items() if isinstance(m, GivenModel)]


def experiment(values: Mapping[Any, Any]) -> Experiment:
    """Check a whole configuration.

    Raises
    ------
    UserError
        One line with the offending key, its value and what is allowed.
    """
    checked = _checked(Experiment, values)
    for name in checked.trained:
        try:
            checked.recipe(name)
        except ValidationError as error:
            raise UserError(_line(error.errors(), f"models.{name}")) from None
    return checked


_ONE_OF = {"test", "encoder", "schedule", "weights"}
"""Keys whose mappings are one thing or another: they are replaced, never mixed."""


def merge(base: Mapping[Any, Any], changes: Mapping[Any, Any]) -> dict[Any, Any]:
    """A configuration with changes on top, key by key.

    Mappings of one thing or another (`test`, `encoder`, `schedule`, `weights`, and a model that
    becomes a given one) are replaced whole.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        if both and key not in _ONE_OF and "weights" not in value:
            merged[key] = merge(cast(Mapping[Any, Any], old), value)
        else:
            merged[key] = value
    return merged


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
    return _checked(Recipe, read_yaml(text))


def read_yaml(text: str) -> dict[Any, Any]:
    """A mapping from YAML or JSON text, or from the file of that name."""
    source = "settings"
    if not text.lstrip().startswith("{") and ": " not in text:
        source = text
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # no such file, no text, no file name
            raise UserError(f"settings: cannot read {source}: {_reason(error)}") from None
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"settings: {source} is not YAML: {line}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"settings: {source} must hold a mapping, not {type(values).__name__}")
    return values


def schema() -> str:
    """The configuration's JSON schema, as the file in ``workflow/schemas``."""
    return json.dumps(Experiment.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _checked(kind: type[T], values: Any) -> T:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(_line(error.errors(), "")) from None


def _line(errors: list[Any], prefix: str) -> str:
    return one_line(errors, prefix, _known_keys)


def _known_keys(where: list[str]) -> list[str]:
    """The keys that there are at a place of the configuration."""
    kinds: dict[str, list[type[Settings]]] = {
        "data": [Data],
        "train": [Training],
        "evaluate": [Evaluation],
        "encoder": [EDSREncoder, RDNEncoder],
        "schedule": [StepSchedule, CosineSchedule],
        "weights": [Download],
    }
    here: list[type[Settings]] = [Experiment] if not where else kinds.get(where[-1], [])
    if len(where) == 2 and where[0] == "models":
        here = [TrainedModel, GivenModel]
    return sorted({name for kind in here for name in kind.model_fields})


if __name__ == "__main__":
    print(schema(), end="")
