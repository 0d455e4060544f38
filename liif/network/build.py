"""Architectures: how networks are configured, recognised, counted, described and built.

An encoder is its module and its class in `ENCODERS`. Torch is imported only to build a network, so
that reading a configuration stays cheap.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    GetPydanticSchema,
    PositiveFloat,
    PositiveInt,
    model_serializer,
)

from liif.config_file import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from liif.network.model import LIIF
    from liif.network.tiling import Encoder

RGB = tuple[float, float, float]


class EncoderSettings(Settings):
    """Settings of an encoder, named like its module's arguments, and other facts about it."""

    path: ClassVar[str]
    """Import path of its module: `liif.network.edsr.EDSR`."""
    description: ClassVar[str]
    """Name and sizes except the channels, as a format string of the settings."""
    name: str
    channels: PositiveInt = 64
    """Feature channels."""

    @model_serializer(mode="wrap")
    def _channels_last(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        # Settings are parameters of Snakemake's jobs, which repeats jobs whose text changes.
        values = dump(self)
        last = {"channels": values.pop("channels")} if "channels" in values else {}
        return values | last

    def build(self) -> Encoder:
        """Build the encoder with fresh weights."""
        module, _, name = self.path.rpartition(".")
        encoder: Encoder = getattr(import_module(module), name)(**self.model_dump(exclude={"name"}))
        return encoder

    def describe(self) -> str:
        """Name and sizes in a few words, without the channels."""
        return self.description.format(**self.model_dump())

    @property
    @abstractmethod
    def tensor_count(self) -> int:
        """Number of tensors in its state dict."""

    @classmethod
    @abstractmethod
    def recognise(cls, tensors: Mapping[str, Tensor]) -> EncoderSettings | None:
        """Settings read from the keys and shapes of a state dict, or None for other encoders."""


class EDSREncoder(EncoderSettings):
    """EDSR-baseline; the defaults are the published sizes."""

    path = "liif.network.edsr.EDSR"
    description = "EDSR, {blocks} blocks"
    name: Literal["edsr"] = "edsr"
    blocks: PositiveInt = 16
    """Residual blocks."""

    @property
    def tensor_count(self) -> int:
        """Number of tensors in its state dict."""
        return 4 * (self.blocks + 1)

    @classmethod
    def recognise(cls, tensors: Mapping[str, Tensor]) -> EncoderSettings | None:
        """Settings read from the published keys."""
        head = tensors.get("encoder.head.0.weight")
        if head is None:
            return None
        return cls(blocks=_count(tensors, "encoder.body.") - 1, channels=head.shape[0])


class RDNEncoder(EncoderSettings):
    """RDN; the defaults are configuration "B" of its paper."""

    path = "liif.network.rdn.RDN"
    description = "RDN, {blocks} blocks of {layers} layers, growth {growth}"
    name: Literal["rdn"] = "rdn"
    blocks: PositiveInt = 16
    """Residual dense blocks."""
    layers: PositiveInt = 8
    """Convolutions in each block."""
    growth: PositiveInt = 64
    """Channels that each convolution adds."""

    @property
    def tensor_count(self) -> int:
        """Number of tensors in its state dict."""
        return 2 * (4 + self.blocks * (self.layers + 1))

    @classmethod
    def recognise(cls, tensors: Mapping[str, Tensor]) -> EncoderSettings | None:
        """Settings read from the published keys."""
        first = tensors.get("encoder.SFENet1.weight")
        if first is None:
            return None
        return cls(
            blocks=_count(tensors, "encoder.RDBs."),
            layers=_count(tensors, "encoder.RDBs.0.convs."),
            growth=tensors["encoder.RDBs.0.convs.0.conv.0.weight"].shape[0],
            channels=first.shape[0],
        )


ENCODERS: tuple[type[EncoderSettings], ...] = (EDSREncoder, RDNEncoder)
"""Every encoder. A new one needs its module and a class in this table."""


def _one_of_the_encoders(_: Any, handler: Any) -> Any:
    union = reduce(or_, ENCODERS)
    return handler.generate_schema(Annotated[union, Field(discriminator="name")])


class Architecture(Settings):
    """A LIIF network."""

    encoder: Annotated[EncoderSettings, GetPydanticSchema(_one_of_the_encoders)] = EDSREncoder()
    """The encoder and its sizes."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 256, 256, 256), min_length=1)
    """Widths of the decoder's hidden layers."""
    skip: Literal["none", "bilinear", "bicubic"] = "none"
    """Interpolation of the LR input that is added to the prediction; the paper adds none."""
    mean: RGB = (0.5, 0.5, 0.5)
    """Mean that is subtracted from RGB in 0..1 before the encoder, and added after the decoder."""
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.5, 0.5, 0.5)
    """Standard deviation by which RGB is divided, and multiplied after the decoder."""

    @property
    def tensor_count(self) -> int:
        """Number of tensors in the network's state dict, known without building it."""
        return self.encoder.tensor_count + 2 * (len(self.hidden) + 1)


def build(architecture: Architecture) -> LIIF:
    """Build a network with fresh weights."""
    from liif.network.decoder import Decoder
    from liif.network.model import LIIF

    encoder = architecture.encoder.build()
    return LIIF(
        encoder,
        Decoder(encoder.channels, architecture.hidden),
        skip=architecture.skip,
        mean=architecture.mean,
        std=architecture.std,
    )


def recognise(tensors: Mapping[str, Tensor]) -> Architecture:
    """Architecture read from the keys and shapes of a state dict with the published names.

    A KeyError, IndexError or ValidationError means that the state dict is not of a LIIF network.
    """
    linears = _count(tensors, "imnet.layers.")
    hidden = [tensors[f"imnet.layers.{2 * i}.weight"].shape[0] for i in range(linears - 1)]
    encoder = next((e for kind in ENCODERS if (e := kind.recognise(tensors))), None)
    if encoder is None:
        raise KeyError("encoder")
    return Architecture(encoder=encoder, hidden=tuple(hidden))


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Number of different numbers after the prefix in the keys."""
    return len({key[len(prefix) :].split(".")[0] for key in tensors if key.startswith(prefix)})


def initialise_he(model: LIIF) -> None:
    """Apply He initialisation to every layer, and damp the outputs of blocks and network.

    K. He et al., "Delving Deep into Rectifiers", ICCV 2015. The damping (×0.3 for the fusion of a
    dense block, ×0.1 for the last layer) lets a short training of a small network learn at once.
    """
    from torch import nn

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            if name.endswith("LFF"):
                layer.weight.data *= 0.3
    model.imnet.linears[-1].weight.data *= 0.1
