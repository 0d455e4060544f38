"""The reference of the configuration, from the classes that check it."""

from __future__ import annotations

import json
from typing import Any

from liif.config import Experiment

INTRODUCTION = """# Configuration

[`config/config.yaml`](../../config/config.yaml) is the full experiment written out, with a
comment above every key; every value in it is the default. A configuration of your own sets only
what differs:

    snakemake --cores all results/sr_800 --configfile mine.yaml

Unknown keys and impossible values are refused in one line that names the key. Editors with a YAML
language server complete and check a file that starts with the first line of `config/config.yaml`.
`liif train --settings` takes the keys of [a trained model](#trainedmodel).
"""
ORDER = ["Data", "TestPictures", "TrainedModel", "EDSREncoder", "RDNEncoder", "Weights", "Teacher"]
ORDER += ["GivenModel", "Training", "StepSchedule", "CosineSchedule", "Degrade", "Blur", "Noise"]
ORDER += ["Jpeg", "Evaluation", "Case"]
TITLES = {
    "": "The whole file",
    "Data": "`data`",
    "TestPictures": "`data.test`",
    "TrainedModel": "`models.NAME`, trained",
    "EDSREncoder": "`encoder: {name: edsr}`",
    "RDNEncoder": "`encoder: {name: rdn}`",
    "Weights": "`weights`, `start`",
    "Teacher": "`teacher`",
    "GivenModel": "`models.NAME`, existing",
    "Training": "`train`",
    "StepSchedule": "`schedule: {name: step}`",
    "CosineSchedule": "`schedule: {name: cosine}`",
    "Degrade": "`train.degrade`",
    "Blur": "`train.degrade.blur`",
    "Noise": "`train.degrade.noise`",
    "Jpeg": "`train.degrade.jpeg`",
    "Evaluation": "`evaluate`",
    "Case": "`evaluate.degradations.NAME`",
}


def page() -> str:
    """The page in Markdown."""
    schema = Experiment.model_json_schema()
    definitions = schema.pop("$defs")
    parts = [section("", schema), *(section(name, definitions[name]) for name in ORDER)]
    return INTRODUCTION + "\n" + "\n".join(parts)


def section(name: str, schema: dict[str, Any]) -> str:
    """The keys of one mapping."""
    short = schema.get("anyOf", [])  # a single text instead of a mapping
    schema = short[-1] if short else schema
    required = schema.get("required", [])
    rows = [
        f"| `{key}` | {kind(value)} | {default(value, key in required)} | {described(value)} |"
        for key, value in schema["properties"].items()
    ]
    about = "" if name == "" else one_line(schema.get("description", "")) + "\n\n"
    about += "Short form: the value of `weights` alone.\n\n" if short else ""
    anchor = f" {{#{name.lower()}}}" if name else ""
    head = "| key | value | default | |\n|---|---|---|---|\n"
    return f"## {TITLES[name]}{anchor}\n\n{about}{head}" + "\n".join(rows) + "\n"


def described(value: dict[str, Any]) -> str:
    """What a key is for."""
    return one_line(value.get("description", "")).replace("|", "\\|")


def kind(value: dict[str, Any]) -> str:
    """What a key may be set to."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[mapping](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{choice}`" for choice in value["enum"])
    for key in ("anyOf", "oneOf"):
        if key in value:
            return " or ".join(dict.fromkeys(kind(choice) for choice in value[key]))
    if value.get("type") == "array":
        items = value.get("prefixItems", [])
        count = f"{len(items)} " if items else ""
        return f"list of {count}{plural(kind(items[0] if items else value['items']))}"
    if "patternProperties" in value or "additionalProperties" in value:
        inner = value.get("additionalProperties") or next(iter(value["patternProperties"].values()))
        return f"{kind(inner)} for each name"
    named = {"null": "null", "string": "text", "boolean": "true or false", "integer": "integer"}
    name = str(value.get("type", "any"))
    return named.get(name, name) + bounds(value)


def plural(kind: str) -> str:
    """A kind of number, for several of them."""
    return kind.replace("number", "numbers").replace("integer", "integers")


def bounds(value: dict[str, Any]) -> str:
    """The limits of a number."""
    low, above = value.get("minimum"), value.get("exclusiveMinimum")
    high, below = value.get("maximum"), value.get("exclusiveMaximum")
    shown = [f"≥ {low:g}" if low is not None else "", f"> {above:g}" if above is not None else ""]
    shown += [
        f"≤ {high:g}" if high is not None else "",
        f"< {below:.10g}" if below is not None else "",
    ]
    limits = " and ".join(limit for limit in shown if limit)
    return f" {limits}" if limits else ""


def default(value: dict[str, Any], required: bool) -> str:
    """The value of a key that is not set; that of a mapping is in its own section."""
    if required or "default" not in value:
        return "required" if required else ""
    if "$ref" in value or isinstance(value["default"], dict):
        return ""
    return f"`{json.dumps(value['default'], ensure_ascii=False)}`"


def one_line(text: str) -> str:
    """A docstring as one line."""
    return " ".join(text.split())
