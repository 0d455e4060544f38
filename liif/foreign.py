"""Checkpoints of others: the authors' and mmagic's, read without running code from them."""

from __future__ import annotations

import pickle
import re
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from pydantic import ValidationError
from torch import Tensor

from liif.config import RGB, Architecture, EDSREncoder, RDNEncoder
from liif.errors import UserError

Tensors = dict[str, Tensor]
"""By the names that the authors published, which are ours too."""


class Foreign(NamedTuple):
    """A checkpoint of others, as it is here."""

    tensors: Tensors
    architecture: Architecture
    provenance: dict[str, Any]
    """`format`, and what the file says of its training."""


_UNUSED = ("encoder.sub_mean.", "encoder.add_mean.")
"""Mean shifts that the authors' encoders carry but never apply."""
_ASIDE = ("data_preprocessor.", "pixel_loss.", "step_counter")
"""What mmagic keeps beside the network."""


def read(path: Path) -> Foreign:
    """Read the authors' `.pth`, or any of mmagic's layouts.

    Raises
    ------
    UserError
        The file is damaged, names code that no checkpoint needs, or has another layout.
    """
    content = _load(path)
    try:
        if not isinstance(content, Mapping):
            raise TypeError(type(content))
        if "model" in content and "sd" in content["model"]:
            return _authors(path, content)
        state = {str(k): v for k, v in content["state_dict"].items() if torch.is_tensor(v)}
        return _mmagic(path, state, content.get("meta"))
    except (KeyError, TypeError, AttributeError, IndexError, ValidationError):
        keys = list(content) if isinstance(content, Mapping) else [type(content).__name__]
        state = content.get("state_dict", content) if isinstance(content, Mapping) else {}
        if isinstance(state, Mapping):
            keys = [str(key) for key in state] or keys
        shown = ", ".join(map(str, keys[:4])) + (" …" if len(keys) > 4 else "")
        raise UserError(
            f"{path}: is a checkpoint, but not in the layout of LIIF's authors or of mmagic; "
            f"it holds {shown}"
        ) from None


# --- the authors' ----------------------------------------------------------------------------


def _authors(path: Path, content: Mapping[str, Any]) -> Foreign:
    """{'model': {'name', 'args', 'sd'}, 'optimizer', 'epoch'}."""
    state, args = content["model"]["sd"], content["model"]["args"]
    tensors = {k: v for k, v in state.items() if not k.startswith(_UNUSED)}
    flags = ("feat_unfold", "cell_decode", "local_ensemble")
    if not all(bool(args.get(flag, True)) for flag in flags):
        raise UserError(
            f"{path}: was trained without unfolding, cell decoding or local ensemble; "
            "only full LIIF is supported"
        )
    provenance = {"format": "authors", "epoch": content.get("epoch")}
    return Foreign(cast(Tensors, tensors), architecture_of(tensors), provenance)


def architecture_of(tensors: Mapping[str, Tensor]) -> Architecture:
    """The architecture that published key names and shapes tell."""

    def count(prefix: str) -> int:
        """How many different numbers follow the prefix."""
        return len({k[len(prefix) :].split(".")[0] for k in tensors if k.startswith(prefix)})

    hidden = tuple(
        tensors[f"imnet.layers.{2 * i}.weight"].shape[0] for i in range(count("imnet.layers.") - 1)
    )
    encoder: EDSREncoder | RDNEncoder
    if "encoder.SFENet1.weight" in tensors:
        layers = count("encoder.RDBs.0.convs.")
        encoder = RDNEncoder(
            blocks=count("encoder.RDBs."),
            layers=layers,
            growth=tensors["encoder.RDBs.0.convs.0.conv.0.weight"].shape[0],
            channels=tensors["encoder.SFENet1.weight"].shape[0],
        )
    else:
        encoder = EDSREncoder(
            blocks=count("encoder.body.") - 1, channels=tensors["encoder.head.0.weight"].shape[0]
        )
    return Architecture(encoder=encoder, hidden=hidden)


# --- mmagic's --------------------------------------------------------------------------------

_NAMES = (
    (r"(?:conv_first|head)\.(\w+)", r"encoder.head.0.\1"),
    (r"(?:body|encoder\.0)\.(\d+)\.conv1\.(\w+)", r"encoder.body.\1.body.0.\2"),
    (r"(?:body|encoder\.0)\.(\d+)\.conv2\.(\w+)", r"encoder.body.\1.body.2.\2"),
    (r"(?:conv_after_body|encoder\.1)\.(\w+)", r"encoder.body.{blocks}.\1"),
    (r"sfe([12])\.(\w+)", r"encoder.SFENet\1.\2"),
    (r"rdbs\.(\d+)\.layers\.(\d+)\.conv\.(\w+)", r"encoder.RDBs.\1.convs.\2.conv.0.\3"),
    (r"rdbs\.(\d+)\.lff\.(\w+)", r"encoder.RDBs.\1.LFF.\2"),
    (r"gff\.([01])\.(\w+)", r"encoder.GFF.\1.\2"),
    (r"(imnet\.layers\.\d+\.\w+)", r"\1"),
)
"""mmagic's names and the older mmedit's, and the published ones."""
_NORMALISATION: dict[str, tuple[RGB, RGB]] = {
    "edsr": ((0.4488, 0.4371, 0.4040), (1.0, 1.0, 1.0)),
    "rdn": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and std of mmagic's published models, for files that do not say theirs."""


def _mmagic(path: Path, state: Tensors, meta: object) -> Foreign:
    """`state_dict` with the network under `generator.`, or alone as mmedit up to 0.9 has it."""
    prefix = "generator."
    inner = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    network = inner or {k: v for k, v in state.items() if not k.startswith(_ASIDE)}
    unplaced = [k for k in state if inner and not k.startswith((prefix, *_ASIDE))]
    blocks = len({k.split(".")[-3] for k in network if k.endswith(".conv1.weight")})
    tensors: Tensors = {}
    for name, tensor in network.items():
        for pattern, published in _NAMES:
            if re.fullmatch(pattern, name):
                tensors[re.sub(pattern, published.format(blocks=blocks), name)] = tensor
                break
        else:
            unplaced.append(name)
    if not tensors:
        raise KeyError("no name of a LIIF network")
    if unplaced:
        more = f" (and {len(unplaced) - 4} more)" if len(unplaced) > 4 else ""
        raise UserError(f"{path}: has no place for {', '.join(unplaced[:4])}{more}")
    architecture = architecture_of(tensors)
    text = "\n".join(_texts(meta))
    if re.search(r"(local_ensemble|feat_unfold|cell_decode)\s*=\s*False", text):
        raise UserError(
            f"{path}: was trained without unfolding, cell decoding or local ensemble; "
            "only full LIIF is supported"
        )
    said = _normalisation(text)
    mean, std = said or _NORMALISATION[architecture.encoder.name]
    architecture = architecture.model_copy(update={"mean": mean, "std": std})
    source = "its configuration" if said else "mmagic's published model"
    return Foreign(tensors, architecture, {"format": "mmagic", "normalisation": f"of {source}"})


def _texts(value: object) -> Iterator[str]:
    """Every text within nested dictionaries and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _normalisation(text: str) -> tuple[RGB, RGB] | None:
    """Mean and std of RGB in 0..1, as the text of a configuration has them."""
    found = []
    for name in ("mean", "std"):
        match = re.search(rf"\b(?:rgb_)?{name}\s*=\s*[\[(]([\d.,*\s]+)[\])]", text)
        if match is None:
            return None
        try:
            values = [_product(part) for part in match[1].split(",") if part.strip()]
        except ValueError:
            return None
        if len(values) != 3:
            return None
        found.append(values)
    mean, std = found
    unit = 255 if max(std) > 2 else 1  # mmagic counts in grey levels, mmedit in 0..1
    return cast(tuple[RGB, RGB], tuple(tuple(v / unit for v in values) for values in (mean, std)))


def _product(text: str) -> float:
    value = 1.0
    for factor in text.split("*"):
        value *= float(factor)
    return value


# --- files -----------------------------------------------------------------------------------


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # what a damaged file makes torch raise is not to be foreseen
        pass
    try:
        _require_no_script(path)
        # Training files of mmagic hold objects of classes that are not here.
        inert: Any = types.SimpleNamespace(
            __name__="inert", Unpickler=_Unpickler, load=lambda f, **k: _Unpickler(f, **k).load()
        )
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=inert)
    except Exception:
        raise UserError(
            f"{path}: is neither a liif safetensors file nor a checkpoint that can be loaded "
            "without running code from it"
        ) from None


def _require_no_script(path: Path) -> None:
    """TorchScript's archives are programs."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                raise pickle.UnpicklingError("TorchScript")


class _Inert:
    """Stands for an object of a class that is not here. It takes anything, and does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __call__(self, *args: object, **kwargs: object) -> _Inert:
        return self

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None:
        """Take an item of a list."""

    def extend(self, items: object) -> None:
        """Take items of a list."""

    def add(self, item: object) -> None:
        """Take an item of a set."""


_REAL = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}
"""All that a state dict needs, and all that is ever called."""
_FOREIGN = ("mmengine", "mmcv", "mmagic", "mmedit", "numpy", "_codecs", "collections", "torch")
"""Packages whose other objects are replaced by inert ones. Any other name refuses the file."""


class _Unpickler(pickle.Unpickler):
    """Finds what a state dict needs, and inert objects in place of all the rest."""

    def find_class(self, module: str, name: str) -> Any:
        """A function of the short list, or a class that does nothing."""
        if (module, name) in _REAL:
            return _REAL[module, name]
        if module.partition(".")[0] in _FOREIGN:
            return _Inert
        raise pickle.UnpicklingError(f"{module}.{name}")
