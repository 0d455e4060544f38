"""Liif's own checkpoints: safetensors files with architecture and provenance.

They hold the weights under their published names and, under one metadata key, sorted JSON with the
architecture and the provenance. Equal weights give equal bytes: no time, host or commit is kept.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from liif.network.build import Architecture
from liif.recipe import Recipe
from liif.system.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from liif.network.model import LIIF

_FORMAT = 1
_KEY = "liif"


def save_checkpoint(
    path: Path, model: LIIF, architecture: Architecture, provenance: dict[str, Any] | None = None
) -> None:
    """Write a model as a checkpoint; `provenance` is its origin (data and recipe, or a file)."""
    metadata = {
        "format": _FORMAT,
        "architecture": architecture.model_dump(mode="json"),
        "provenance": provenance or {},
    }
    save_tensors(path, model.state_dict(), metadata)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and a JSON metadata value as safetensors, atomically."""
    from safetensors.torch import save as to_bytes

    from liif.system.files import atomic_write  # lazily, since it imports locks

    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    # As bytes: the library writes a file through a temporary one, which a kill would leave behind.
    data = to_bytes(contiguous, metadata={_KEY: text})
    with atomic_write(path) as part:
        part.write_bytes(data)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], Architecture, dict[str, Any]]:
    """Tensors, architecture and provenance of a checkpoint; the tensors are not checked."""
    tensors, metadata = load_tensors(path)
    if "architecture" not in metadata:
        raise UserError(
            f"{path}: contains no network; is it a pack of photographs or a training's state?"
        )
    if metadata.get("format") != _FORMAT:
        raise UserError(
            f"{path}: has format {metadata.get('format')}, this liif reads format {_FORMAT}; "
            "update liif"
        )
    architecture = architecture_of(path, metadata)
    provenance = metadata.get("provenance", {})
    if not isinstance(provenance, dict) or not isinstance(provenance.get("format", ""), str):
        raise UserError(f"{path}: its provenance is damaged")
    return tensors, architecture, provenance


def architecture_of(path: Path, metadata: dict[str, Any]) -> Architecture:
    """The architecture in a checkpoint's metadata."""
    try:
        return Architecture.model_validate(metadata.get("architecture"))
    except ValidationError:
        raise UserError(f"{path}: its architecture is unknown to this liif; update liif") from None


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a safetensors file of liif."""
    with _opened(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _metadata(path, file)  # noqa: SIM118


def load_metadata(path: Path) -> dict[str, Any]:
    """Metadata alone: of a checkpoint `format`, `architecture` and `provenance`."""
    with _opened(path) as file:
        return _metadata(path, file)


def parameter_count(path: Path) -> int:
    """Number of learned values, read from the header alone."""
    with _opened(path) as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def identity(path: Path) -> str:
    """Identity of a model's weights: the key of their training, or else the file's hash."""
    from liif.system.files import file_sha256

    provenance = load_metadata(path).get("provenance", {})
    try:
        recipe, version = provenance["recipe"], provenance.get("results_version", 1)
        return Recipe.model_validate(recipe).key(provenance["data"], version)
    except (KeyError, TypeError, ValidationError):
        return file_sha256(path)


def is_safetensors(path: Path) -> bool:
    """Whether the file starts like safetensors: a length, then that much JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    if len(head) < 9 or head[8:] != b"{":
        return False
    length: int = struct.unpack("<Q", head[:8])[0]
    return length <= path.stat().st_size


@contextmanager
def _opened(path: Path, framework: str = "numpy") -> Iterator[Any]:
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file: {error}") from None


def _metadata(path: Path, file: Any) -> dict[str, Any]:
    text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise UserError(f"{path}: a safetensors file, but not one of liif's (no `{_KEY}` metadata)")
    try:
        metadata = json.loads(text)
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: its `{_KEY}` metadata is damaged")
    return metadata
