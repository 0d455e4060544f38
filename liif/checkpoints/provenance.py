"""Provenance: what a weights file says of itself, read without its tensors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from liif.config import Recipe
from liif.system.errors import UserError
from liif.system.files import file_sha256


def metadata(weights: Path) -> dict[str, Any]:
    """What is kept beside the tensors: `architecture` and `provenance`."""
    with _opened(weights) as file:
        text = (file.metadata() or {}).get("liif", "{}")
    value = json.loads(text)
    return value if isinstance(value, dict) else {}


def parameters(weights: Path) -> int:
    """How many numbers the network has learnt."""
    with _opened(weights) as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 (no dict)


def identity(weights: Path) -> str:
    """What tells a model's weights from all others: the key of their training, or their hash."""
    provenance = metadata(weights).get("provenance", {})
    try:
        return Recipe.model_validate(provenance["recipe"]).key(provenance["data"])
    except (KeyError, TypeError, ValidationError):
        return file_sha256(weights)


def _opened(weights: Path) -> Any:
    try:
        return safe_open(weights, framework="numpy")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{weights}: is no readable safetensors file: {error}") from None
