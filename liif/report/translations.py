"""The pages' texts, in English and Chinese."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import yaml
from markupsafe import Markup, escape

from liif.system.progress import duration

LANGUAGES = ("en", "zh-CN")
PAGE = Path(__file__).parent / "page"
"""Templates, style, scripts and texts."""


@cache
def dictionary() -> dict[str, tuple[str, str]]:
    """Key → the text in each language."""
    texts = yaml.safe_load((PAGE / "words.yaml").read_text(encoding="utf-8"))
    return {key: (english, chinese) for key, (english, chinese) in texts.items()}


def both(key: str, **values: object) -> tuple[str, str]:
    """A text in each language, values filled in; a value may be a pair, one per language."""
    english, chinese = (
        text.format(**{k: v[i] if isinstance(v, tuple) else v for k, v in values.items()})
        for i, text in enumerate(dictionary()[key])
    )
    return english, chinese


_UNITS = {" d": "天", " h": "小时", " min": "分", " s": "秒"}


def durations(seconds: float) -> tuple[str, str]:
    """A length of time in each language: `3 min 20 s`, `3分20秒`."""
    english = chinese = duration(seconds)
    for unit, word in _UNITS.items():
        chinese = re.sub(rf"{unit}\b ?", word, chinese)
    return english, chinese


def html(key: str, **values: object) -> Markup:
    """A text for the page, which shows one language at a time."""
    return spans(both(key, **values))


def spans(texts: tuple[str, str], tag: str = "span") -> Markup:
    """Both texts, each marked with its language."""
    if texts[0] == texts[1]:
        return _code(texts[0])
    parts = [
        Markup('<{0} lang="{1}">{2}</{0}>').format(tag, language, _code(text))
        for language, text in zip(LANGUAGES, texts, strict=True)
    ]
    return Markup("").join(parts)


def _code(text: str) -> Markup:
    """A text whose parts in `backticks` are code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))
