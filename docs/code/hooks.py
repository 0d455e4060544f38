"""What MkDocs does not do itself: generated pages, equations, figures, two languages.

- The command line's and the configuration's reference are generated from the code.
- A link to a file of the repository, such as ``../liif/config.py``, becomes a page that shows it.
  If the link's text is a name in code, as ``Decoder.grid``, the page opens at its definition.
- Equations become MathML, so that the site needs no script and no network for them.
- SVG figures become part of the page, so that they take its colours.
- Pages below ``zh/`` have Chinese controls and navigation.
"""

from __future__ import annotations

import ast
import copy
import html
import posixpath
import re
from pathlib import Path
from typing import Any

import command_line
import configuration
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
CHINESE = "zh/"
CJK = "[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
LANGUAGES = {"en": "English", "zh": "中文"}
LANGUAGE_OF_SUFFIX = {".py": "python", ".yaml": "yaml", ".smk": "python", ".md": "markdown"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and one for each file of the repository that pages link to."""
    files.append(File.generated(config, "reference/command-line.md", content=command_line.page()))
    files.append(File.generated(config, "reference/configuration.md", content=configuration.page()))
    targets = {
        target
        for file in files.documentation_pages()
        for target in linked_files(file.content_string, file.src_uri)
    }
    for target in sorted(targets):
        files.append(File.generated(config, page_of(target), content=source_page(target)))
    return files


def links(markdown: str) -> list[tuple[str, str]]:
    """Text and target of each link."""
    return re.findall(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)", markdown)


def repository_path(target: str, src_uri: str) -> str | None:
    """The path in the repository of a link that leaves the folder of the documentation."""
    if "://" in target or target.startswith("#"):
        return None
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(src_uri), target))
    return None if path.startswith("docs/") and not path.endswith(".py") else path


def linked_files(markdown: str, src_uri: str) -> set[str]:
    """Files of the repository, outside the documentation, that a page links to."""
    paths = {repository_path(target, src_uri) for _, target in links(markdown)}
    return {path for path in paths if path and (ROOT / path).is_file()}


def page_of(path: str) -> str:
    """The page that shows a file of the repository."""
    return f"files/{path}.md"


def source_page(path: str) -> str:
    """A page with the text of a file."""
    text = (ROOT / path).read_text(encoding="utf-8").rstrip("\n")
    language = LANGUAGE_OF_SUFFIX.get(Path(path).suffix, "text")
    numbers = ' linenums="1"' if language == "python" else ""
    return (
        f"---\nsearch: {{exclude: true}}\nhide: [toc]\n---\n\n"
        f"# {path}\n\n`````{{.{language}{numbers}}}\n{text}\n`````\n"
    )


def definition(path: str, name: str) -> int | None:
    """The line on which a module defines a name such as ``Decoder.grid``."""
    body: list[ast.stmt] = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    line = None
    for part in name.removesuffix("()").split("."):
        for statement in body:
            targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
            names = {getattr(statement, "name", None), *(getattr(t, "id", None) for t in targets)}
            if part in names:
                line, body = statement.lineno, getattr(statement, "body", [])
                break
        else:
            return None
    return line


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to the repository's files at their pages."""
    here = page.file.src_uri

    def rewritten(match: re.Match[str]) -> str:
        path = repository_path(match[2], here)
        if path is None or files.get_file_from_path(page_of(path)) is None:
            return match[0]
        return f"[{match[1]}]({posixpath.relpath(page_of(path), posixpath.dirname(here) or '.')})"

    # Chinese has no spaces, so the end of a line is none either.
    markdown = re.sub(rf"(?<={CJK})\n(?={CJK})", "", markdown)
    return re.sub(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)", rewritten, markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Equations as MathML, figures as part of the page, and links to definitions."""
    content = re.sub(
        r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>',
        lambda m: mathml(html.unescape(m[2]), display=m[1] == "div"),
        content,
        flags=re.DOTALL,
    )
    content = re.sub(r'<img alt="([^"]*)" src="([^"]*\.svg)"[^>]*>', figure(page), content)
    return re.sub(
        r'<a href="((?:\.\./)*files/([\w/.-]+\.py)\.html)"><code>([\w.]+)</code></a>',
        lambda m: m[0].replace(m[1], f"{m[1]}{anchor(m[2], m[3])}", 1),
        content,
    )


def mathml(latex: str, *, display: bool) -> str:
    """An equation; a wide one scrolls on a phone."""
    made: str = convert(latex.strip(), display="block" if display else "inline")
    return f'<div class="equation">{made}</div>' if display else made


def figure(page: Page) -> Any:
    """The text of a figure in place of the image that shows it."""

    def inlined(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), match[2]))
        # The links of a rendered page are relative to it, and pages lie where their sources do.
        svg = (ROOT / "docs" / path).read_text(encoding="utf-8")
        svg = re.sub(r"<style>.*?</style>", "", svg, flags=re.DOTALL)
        svg = svg.replace("<svg ", f'<svg role="img" aria-label="{match[1]}" ', 1)
        return f'<span class="drawing">{svg}</span>'

    return inlined


def anchor(path: str, name: str) -> str:
    """The anchor of a definition on the page of its module."""
    line = definition(path, name) if path.endswith(".py") else None
    return f"#__codelineno-0-{line}" if line else ""


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Keep the two languages apart where one follows the other."""
    for page in nav.pages:
        if page.next_page and is_chinese(page) != is_chinese(page.next_page):
            page.next_page.previous_page, page.next_page = None, None
    return nav


def on_page_context(
    context: dict[str, Any], page: Page, config: MkDocsConfig, nav: Navigation
) -> dict[str, Any]:
    """Controls and navigation in the language of the page, and a link to its other language."""
    chinese = is_chinese(page)
    config.theme["language"] = "zh" if chinese else "en"
    shown = copy.copy(nav)
    section = next(item for item in nav.items if item.title == LANGUAGES["zh"])
    others = [item for item in nav.items if item is not section]
    shown.items = list(section.children or []) if chinese else others
    shown.homepage = next(p for p in nav.pages if is_chinese(p) == chinese)
    context["nav"] = shown
    pages = {p.file.src_uri: p for p in nav.pages}
    here = page.file.src_uri.removeprefix(CHINESE)
    counterparts = {
        code: pages.get(prefix + here, pages[prefix + "index.md"])
        for code, prefix in (("en", ""), ("zh", CHINESE))
    }
    config.extra["alternate"] = [
        {"name": LANGUAGES[code], "link": other.url, "lang": code}
        for code, other in counterparts.items()
    ]
    return context


def is_chinese(page: Page) -> bool:
    """Whether a page is one of the Chinese ones."""
    return page.file.src_uri.startswith(CHINESE)
