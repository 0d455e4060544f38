"""Reading YAML as checked settings, with errors of one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from liif.system.errors import UserError
from liif.system.redact import redact


class Settings(BaseModel):
    """Base of all settings: immutable, unknown keys are refused with a hint."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _require_known_keys(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            known = sorted(field.alias or name for name, field in cls.model_fields.items())
            for key in values:
                if key not in known:
                    hint = f"the keys here are {', '.join(known)}"
                    if close := get_close_matches(str(key), known, n=1):
                        hint = f"did you mean `{close[0]}`?"
                    raise PydanticCustomError("unknown_key", "{hint}", {"key": key, "hint": hint})
        return values


T = TypeVar("T", bound=Settings)


def checked(kind: type[T], values: Any, prefix: str = "") -> T:
    """Settings from plain values; `prefix` is their place in the configuration."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(one_line(error, values, prefix)) from None


def one_line(error: ValidationError, values: Any, prefix: str = "") -> str:
    """The deepest of the validator's errors: where it is, its value, and what is allowed."""
    errors = error.errors()
    paths = [_path(e, values) for e in errors]
    path, first = max(zip(paths, errors, strict=True), key=lambda found: len(found[0]))
    where = ".".join([prefix] * bool(prefix) + path)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "unknown_key":
        return f"configuration: unknown key `{where}`; {message}{more}"
    value = first["input"]
    shown = "" if isinstance(value, Mapping | BaseModel) else redact(f" (={value!r})")
    return f"configuration: `{where or 'file'}`{shown}: {message[:1].lower()}{message[1:]}{more}"


def _path(error: Any, values: Any) -> list[str]:
    """The keys that lead to an error.

    The validator's location also names members of unions, which are no keys of the values.
    """
    path = []
    for part in error["loc"]:
        inside = isinstance(values, Mapping) and part in values
        sequence = isinstance(values, list | tuple) and isinstance(part, int)
        if inside or (sequence and part < len(values)):
            values = values[part]
            path.append(str(part))
    if error["type"] == "missing":
        path.append(str(error["loc"][-1]))
    return [*path, str(error["ctx"]["key"])] if error["type"] == "unknown_key" else path


_ALTERNATIVES = {"test", "encoder", "schedule", "weights", "start", "teacher"}
"""Keys whose mappings are alternatives: they are replaced, never merged."""


def merge(base: Mapping[Any, Any], changes: Mapping[Any, Any]) -> dict[Any, Any]:
    """A configuration with changes on top, key by key.

    Alternatives (`test`, `encoder`, `schedule`, `weights`, `start`, `teacher`, and a model whose
    changes give `weights`) are replaced whole.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        if both and key not in _ALTERNATIVES and "weights" not in value:
            merged[key] = merge(cast(Mapping[Any, Any], old), value)
        else:
            merged[key] = value
    return merged


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested settings by dotted name, such as `train.batch`."""
    flat: dict[str, object] = {}
    for key, value in settings.items():
        nested = isinstance(value, Mapping)
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def hashed(settings: BaseModel, always: Mapping[str, set[str]]) -> dict[str, Any]:
    """The settings that count in a key, as JSON values: those that differ from their default.

    `always` names, by class, the fields that count at their default, too; `name` always does.
    """
    kind, values = type(settings), settings.model_dump(mode="json")
    for name, field in kind.model_fields.items():
        value = getattr(settings, name)
        counts = name == "name" or name in always.get(kind.__name__, set())
        if not counts and value == field.get_default(call_default_factory=True):
            values.pop(name, None)
        elif isinstance(value, BaseModel):
            values[name] = hashed(value, always)
    return values


def read_yaml(text: str) -> dict[Any, Any]:
    """A mapping from YAML or JSON text, or from the file of that name."""
    source = "settings"
    if not text.lstrip().startswith("{") and ": " not in text:
        source = text
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # no such file, not text, or not a file name
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UserError(f"settings: cannot read {source}: {reason}") from None
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = re.sub(r"\s+", " ", str(error))
        raise UserError(f"settings: {source} is not YAML: {line}") from None
    if not isinstance(values, dict | None):
        raise UserError(f"settings: {source} must contain a mapping, not {type(values).__name__}")
    return values or {}
