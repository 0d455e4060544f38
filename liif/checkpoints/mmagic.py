"""Checkpoints of mmagic, and of mmedit before it: names, normalisation, residual scaling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import cast

from torch import Tensor

from liif.checkpoints.state_dict import ONLY_FULL_LIIF, Contents, contents
from liif.network.build import RGB
from liif.system.errors import UserError, printable

_NOT_THE_NETWORK = ("data_preprocessor.", "pixel_loss.", "step_counter")
"""Other things that mmagic keeps in a state dict."""
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
"""mmagic's names and the older mmedit's, with the published ones."""
_NORMALISATION: dict[str, tuple[RGB, RGB]] = {
    "edsr": ((0.4488, 0.4371, 0.4040), (1.0, 1.0, 1.0)),
    "rdn": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and std of mmagic's published models, for files that do not state theirs."""


def contents_of(path: Path, state: Mapping[str, Tensor], meta: object) -> Contents:
    """Contents of a `state_dict` with the network under `generator.`, or alone (mmedit ≤ 0.9)."""
    tensors = _renamed(path, state)
    text = "\n".join(_texts(meta))
    if re.search(r"(local_ensemble|feat_unfold|cell_decode)\s*=\s*False", text):
        raise UserError(f"{path}: {ONLY_FULL_LIIF}")
    stated = _normalisation(text)
    source = "its configuration" if stated else "mmagic's published model"
    provenance = {"format": "mmagic", "normalisation": f"of {source}"}
    read = contents(path, tensors, provenance, _residual_scaling(path, text))
    mean, std = stated or _NORMALISATION[read.architecture.encoder.name]
    if min(std) <= 0:
        raise UserError(
            f"{path}: its configuration has a `std` of {min(std):g}; it must be positive"
        )
    normalised = read.architecture.model_copy(update={"mean": mean, "std": std})
    return read._replace(architecture=normalised)


def _renamed(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors under the published names."""
    prefix = "generator."
    inner = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    network = inner or {k: v for k, v in state.items() if not k.startswith(_NOT_THE_NETWORK)}
    unknown = [k for k in state if inner and not k.startswith((prefix, *_NOT_THE_NETWORK))]
    blocks = len({k.split(".")[-3] for k in network if k.endswith(".conv1.weight")})
    tensors = {}
    for name, tensor in network.items():
        for pattern, published in _NAMES:
            if re.fullmatch(pattern, name):
                tensors[re.sub(pattern, published.format(blocks=blocks), name)] = tensor
                break
        else:
            unknown.append(name)
    if not tensors:
        raise KeyError("no tensor of a LIIF network")
    if unknown:
        count = f"{len(unknown)} unknown tensor{'s' if len(unknown) > 1 else ''}"
        raise UserError(f"{path}: contains {count}: {', '.join(map(printable, unknown))}")
    return tensors


def _residual_scaling(path: Path, text: str) -> float:
    """The factor of residual blocks in the text of a configuration; 1 where none is given."""
    found = {float(number) for number in re.findall(r"\bres_scale\s*=\s*(\d[\d.]*)", text)}
    if len(found) > 1:
        listed = ", ".join(f"{n:g}" for n in sorted(found))
        raise UserError(f"{path}: its configuration has several values of res_scale ({listed})")
    return found.pop() if found else 1


def _texts(value: object) -> Iterator[str]:
    """Every text within nested dictionaries and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def _normalisation(text: str) -> tuple[RGB, RGB] | None:
    """Mean and std of RGB in 0..1 in the text of a configuration.

    The model's own preprocessing has precedence over that of a data pipeline.
    """
    own = (_within_brackets(text[m.end() :]) for m in re.finditer(r"data_preprocessor\s*=", text))
    return next((found for part in (*own, text) if (found := _mean_and_std(part))), None)


def _within_brackets(text: str) -> str:
    """The text to the end of its first pair of brackets."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character in ")]}":
            return text[:at]
    return text


def _mean_and_std(text: str) -> tuple[RGB, RGB] | None:
    found = []
    for name in ("mean", "std"):
        match = re.search(rf"\b(?:rgb_)?{name}\s*=\s*[\[(]([\d.,*\seE+-]+)[\])]", text)
        parts = [p for p in match[1].split(",") if p.strip()] if match else []
        try:
            found.append([prod(map(float, part.split("*")), start=1.0) for part in parts])
        except ValueError:
            return None
        if len(found[-1]) != 3:
            return None
    mean, std = found
    unit = 255 if max(std) > 2 else 1  # mmagic counts in grey levels, mmedit in 0..1
    return cast(tuple[RGB, RGB], tuple(tuple(v / unit for v in values) for values in (mean, std)))
