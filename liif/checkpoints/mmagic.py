"""mmagic's checkpoints, and those of mmedit before it: names, normalisation, scaling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from liif.checkpoints.state_dict import Foreign, Tensors, architecture_of, folded, require_tensors
from liif.config import RGB
from liif.system.errors import UserError, printable

_ASIDE = ("data_preprocessor.", "pixel_loss.", "step_counter")
"""What mmagic keeps beside the network."""
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


def read(path: Path, state: Tensors, meta: object) -> Foreign:
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
        count = f"{len(unplaced)} tensor{'s' if len(unplaced) > 1 else ''}"
        raise UserError(
            f"{path}: there is no place for {count}: {', '.join(map(printable, unplaced))}"
        )
    require_tensors(path, tensors)
    architecture = architecture_of(tensors)
    text = "\n".join(_texts(meta))
    if re.search(r"(local_ensemble|feat_unfold|cell_decode)\s*=\s*False", text):
        raise UserError(
            f"{path}: was trained without unfolding, cell decoding or local ensemble; "
            "only full LIIF is supported"
        )
    said = _normalisation(text)
    mean, std = said or _NORMALISATION[architecture.encoder.name]
    if min(std) <= 0:
        raise UserError(f"{path}: its configuration divides by {min(std):g} (std)")
    architecture = architecture.model_copy(update={"mean": mean, "std": std})
    source = "its configuration" if said else "mmagic's published model"
    provenance = {"format": "mmagic", "normalisation": f"of {source}"}
    return folded(path, Foreign(tensors, architecture, provenance), _residual_scaling(path, text))


def _residual_scaling(path: Path, text: str) -> float:
    """What residual blocks are multiplied by, as the text of a configuration has it; usually 1."""
    found = {float(number) for number in re.findall(r"\bres_scale\s*=\s*(\d[\d.]*)", text)}
    if len(found) > 1:
        listed = ", ".join(f"{n:g}" for n in sorted(found))
        raise UserError(f"{path}: its configuration has several values of res_scale ({listed})")
    return found.pop() if found else 1


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
    """Mean and std of RGB in 0..1, as the text of a configuration has them.

    What the model itself applies counts before what a pipeline of other data has.
    """
    own = (_within_brackets(text[m.end() :]) for m in re.finditer(r"data_preprocessor\s*=", text))
    return next((said for part in (*own, text) if (said := _mean_and_std(part))), None)


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
