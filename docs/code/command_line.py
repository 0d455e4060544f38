"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args

import typer

from liif.cli import app

INTRODUCTION = """# Command line

`liif COMMAND --help` shows the same in the terminal. `liif --install-completion` installs shell
completion of commands, options and names. An error is one line, and the exit code is then 1, or
128 + the number of the signal that stopped the command; `liif --debug COMMAND …` shows the
traceback.
"""
OPTIONS = "Options"


def commands() -> dict[str, Any]:
    """Every command by its words, such as `weights fetch`."""
    found: dict[str, Any] = {}

    def add(group: Any, words: tuple[str, ...]) -> None:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                add(command, (*words, name))
            else:
                found[" ".join((*words, name))] = command

    add(typer.main.get_command(app), ())
    return found


def page() -> str:
    """The page in Markdown, in the sections that `liif --help` has."""
    top: Any = typer.main.get_command(app)
    sections: dict[str, list[str]] = {}
    for name, command in commands().items():
        panel = top.commands[name.split()[0]].rich_help_panel
        sections.setdefault(panel, []).append(described(name, command))
    parts = [f"## {panel}\n\n" + "\n".join(texts) for panel, texts in sections.items()]
    return INTRODUCTION + "\n" + "\n".join(parts)


def described(name: str, command: Any) -> str:
    """A command with its examples, arguments and options."""
    purpose, *examples = (part.strip() for part in command.help.split("\n\n"))
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    words = [p.name.upper() + ("…" if p.nargs != 1 else "") for p in arguments]
    usage = " ".join(["liif", name, *words, *(["[OPTIONS]"] if options else [])])
    text = f"### liif {name}\n\n{plain(purpose)}\n\n```text\n{usage}\n```\n\n"
    code = [plain(e, comment=True) for e in examples if e.startswith(("liif ", "curl "))]
    prose = [plain(e) for e in examples if not e.startswith(("liif ", "curl "))]
    text += "".join(f"{p}\n\n" for p in prose)
    text += "```sh\n" + "\n".join(code) + "\n```\n\n" if code else ""
    for panel, rows in tables(arguments, options):
        text += f"| {panel} | | default |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
    return text


def tables(arguments: list[Any], options: list[Any]) -> Iterator[tuple[str, list[str]]]:
    """The title and the rows of each table of parameters."""
    panels: dict[str, list[str]] = {"Arguments": [row(p) for p in arguments]}
    for option in options:
        panels.setdefault(option.rich_help_panel or OPTIONS, []).append(row(option))
    yield from ((panel, rows) for panel, rows in panels.items() if rows)


def row(parameter: Any) -> str:
    """What a parameter is called, what it does, and its default."""
    if parameter.param_type_name == "argument":
        shown = f"`{parameter.name.upper()}`"
    else:
        what = "" if is_flag(parameter) else f" {parameter.metavar or value_name(parameter)}"
        shown = ", ".join(f"`{o}{what}`" for o in (*parameter.opts, *parameter.secondary_opts))
    value = parameter.default
    if isinstance(parameter.show_default, str):
        value = parameter.show_default.strip("()")
    default = "" if value in (None, False, "") or is_flag(parameter) else f"`{value}`"
    required = "required" if parameter.required else default
    text = plain(parameter.help or "").replace("|", "\\|")
    more = f" Environment: `{parameter.envvar}`." if parameter.envvar else ""
    return f"| {shown} | {text}{more} | {required} |"


def is_flag(parameter: Any) -> bool:
    """Whether an option has no value."""
    return bool(getattr(parameter, "is_flag", False))


def value_name(option: Any) -> str:
    """What an option's value is, in capitals."""
    annotation = option.type_descriptor.annotation
    kinds = [k for k in get_args(annotation) if k is not NoneType] or [annotation]
    names = {"str": "TEXT", "int": "N", "float": "NUMBER", "Path": "PATH"}
    return names.get(getattr(kinds[0], "__name__", ""), "TEXT")


def plain(text: str, *, comment: bool = False) -> str:
    """Help without the markup of the terminal, on one line."""
    text = re.sub(r"\[dim\]\((.*?)\)\[/dim\]", r"# \1" if comment else r"(\1)", text)
    return " ".join(re.sub(r"\[/?(?:dim|bold)\]", "", text).split(" " if comment else None))
