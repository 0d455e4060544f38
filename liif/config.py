"""The typed, checked configuration: the single definition of what can be set.

``config/config.yaml`` is the full experiment written out; every default here equals it.
The schema that serves editors is generated from these classes (``make schema``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    ValidationError,
    model_validator,
)

from liif.config_file import Settings, checked, one_line, read_yaml
from liif.network.build import Architecture, EDSREncoder, RDNEncoder
from liif.network.precision import Precision
from liif.recipe import (
    BlurSigma,
    NoiseSigma,
    Quality,
    Recipe,
    Scale,
    Teacher,
    Training,
    Weights,
)
from liif.system.errors import UserError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Channel = Literal["rgb", "y"]
Border = Annotated[int, Field(ge=0)] | Literal["scale", "scale+6"]


def _require_place(weights: Weights) -> Weights:
    if weights.weights is None and weights.url is None:
        raise ValueError("`sha256` alone does not say where the file is; add `weights` or `url`")
    return weights


class TrainedModel(Architecture):
    """A model of the experiment that is trained."""

    start: Annotated[Weights, AfterValidator(_require_place)] | None = None
    """Initial weights: all tensors of the same network, or the encoder of a network with another
    decoder. Settings of the network that are left out are taken from them."""
    teacher: Annotated[Teacher, AfterValidator(_require_place)] | None = None
    """A network to learn from besides the photographs (distillation)."""
    train: Training = Training()
    """Settings that differ from the experiment's `train`."""
    scales: tuple[Scale, ...] | None = None
    """Scales to evaluate on the validation set, in place of the experiment's."""


class GivenModel(Settings):
    """A model with existing weights, which is only evaluated and used."""

    weights: Annotated[Weights, AfterValidator(_require_place)]
    """`bundled`, a name of `liif weights list`, a file, or `url` and `sha256`."""
    scales: tuple[Scale, ...] | None = None
    """Scales to evaluate on the validation set, in place of the experiment's."""


class TestPictures(Settings):
    """The test pictures: exactly one of these keys."""

    __test__ = False  # not a test case, although pytest would collect it by its name

    from_: Literal["valid"] | None = Field(default=None, alias="from")
    """Crop them from the validation photographs."""
    hr: Path | None = None
    """Folder or archive of HR photographs, from which the LR test pictures are made."""
    lr: Path | None = None
    """Folder or archive of LR pictures; without HR, they are upscaled but not evaluated."""

    @model_validator(mode="after")
    def _check(self) -> TestPictures:
        if [self.from_, self.hr, self.lr].count(None) != 2:
            raise ValueError("must be one of {from: valid}, {hr: DIR} and {lr: DIR}")
        return self


class Data(Settings):
    """The photographs: folders or archives (zip, tar)."""

    train: Path = Path("data/DIV2K_train_HR.zip")
    """Photographs to train on. DIV2K's two archives are downloaded if missing."""
    valid: Path = Path("data/DIV2K_valid_HR.zip")
    """Photographs to validate and evaluate on."""
    test: TestPictures = TestPictures.model_validate({"from": "valid"})
    """The test pictures: {from: valid}, {hr: DIR} or {lr: DIR}."""
    crop: PositiveInt | None = 800
    """Side of the centred square to which HR test pictures are cropped; null keeps them whole."""


class Case(Settings):
    """A degradation of fixed strength, applied to every LR picture of a set."""

    blur: BlurSigma | None = None
    """σ of Gaussian blur before downscaling, in LR pixels."""
    noise: NoiseSigma | None = None
    """σ of Gaussian noise after downscaling, in grey levels."""
    jpeg: Quality | None = None
    """Quality of JPEG compression, the last step."""

    @model_validator(mode="after")
    def _check(self) -> Case:
        if self == Case.model_construct():
            raise ValueError("must set `blur`, `noise` or `jpeg`")
        return self


CASES = {
    "jpeg75": Case(jpeg=75),
    "jpeg30": Case(jpeg=30),
    "noise10": Case(noise=10),
    "both": Case(noise=10, jpeg=75),
}
"""The documented cases."""


class Evaluation(Settings):
    """How models are evaluated."""

    scales: tuple[Scale, ...] = (2, 3, 4, 6, 8, 12, 18, 24, 30)
    """Scales at which the validation set is evaluated."""
    channel: Channel = "rgb"
    """Channel of PSNR and SSIM: rgb (DIV2K's convention), or y for luma (the benchmarks')."""
    border: Border = "scale+6"
    """Excluded border in pixels: a number, `scale` (the benchmarks') or `scale+6` (DIV2K's)."""
    degradations: dict[Name, Case] = Field(default={})
    """Degraded validation and test sets to evaluate besides the clean ones, by name."""


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
    """The photographs for training, validation and testing."""
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
    """The models by name, each either trained or with existing weights."""
    train: Training = Training()
    """Settings of all trainings."""
    scale: Scale = 8
    """Scale at which the test pictures are upscaled."""
    precision: Precision = "auto"
    """Precision of the networks' matrix products when test pictures are upscaled and models are
    evaluated: float32, bf16, or auto, which is bf16 where it is faster on the device, else float32.
    Trainings have `train.precision`."""
    back_projection: bool = True
    """Whether upscaled pictures are corrected so that, downscaled, they are closer to their input,
    on the test pictures and in evaluation."""
    evaluate: Evaluation = Evaluation()
    """How models are evaluated."""
    tracking: bool = True
    """Whether runs are tracked in MLflow."""
    buckets: PositiveInt = 1
    """Number of jobs into which work on many pictures is split."""

    def recipe(self, name: str) -> Recipe:
        """The resolved settings of a trained model: the experiment's `train`, then its own."""
        model = self.models[name]
        assert isinstance(model, TrainedModel)
        own = {name: getattr(model.train, name) for name in model.train.model_fields_set}
        train = {**dict(self.train), **own}
        settings = {name: getattr(model, name) for name in model.model_fields_set - {"scales"}}
        return Recipe.model_validate({**settings, "train": Training.model_validate(train)})

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
        """Names of the models with existing weights."""
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


def recipe(text: str, start: str | None = None, teacher: str | None = None) -> Recipe:
    """Settings of one training, from YAML or JSON text or from such a file.

    `start` and `teacher` replace the weights that the settings name.
    """
    values = read_yaml(text)
    if start is not None:
        values["start"] = start
    if teacher is not None:
        old = values.get("teacher")
        weight = {k: old[k] for k in ("weight",) if k in old} if isinstance(old, dict) else {}
        values["teacher"] = {"weights": teacher, **weight}
    return checked(Recipe, values)
