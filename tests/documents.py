"""The code in the documentation and in the README."""

import re

from projects import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
MAKE_TARGETS = set(
    re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)
"""The targets that the Makefile has."""


def text_of(name: str) -> str:
    """The text of a page, or of a README."""
    folder = ROOT if name.startswith("README") else DOCS
    return (folder / name).read_text(encoding="utf-8")


def make_targets(text: str) -> set[str]:
    """Make's targets that code in a text names."""
    return set(re.findall(r"(?:^    |`)make ([a-z][a-z-]*)", text, re.MULTILINE))


def blocks(name: str, language: str) -> list[str]:
    """Fenced blocks of code in that language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text_of(name), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def commands(name: str) -> list[str]:
    """Command lines: of indented code, and of blocks fenced as `sh`.

    Comments and Python's assignments are left out, continued lines are joined.
    """
    text = re.sub(r"^::: .*\n(?: +.*\n)*", "", text_of(name), flags=re.MULTILINE)

    def shell(block: re.Match[str]) -> str:
        """Indent a block of commands; leave out any other."""
        return re.sub("^", "    ", block[2], flags=re.MULTILINE) if block[1] == "sh" else ""

    fence = r"^ *```(.*)\n((?:.*\n)*?) *```$"
    text = re.sub(fence, shell, text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = re.findall(r"^ {4,}(?!\w+ = )(\S.*)$", text, re.MULTILINE)
    plain = [re.sub(r"(^|\s+)#.*", "", line) for line in lines]
    return [" ".join(line.split()) for line in plain if line]
