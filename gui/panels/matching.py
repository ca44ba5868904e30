"""What a query in a filter or search box matches: words, or a regular expression between slashes. Qt-free."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from engine.reports import NodeInfo
from gui.panels.facts import shape_text


@dataclass(frozen=True)
class Query:
    """A parsed query. ``problem`` says why a regular expression cannot be used; it then matches nothing."""

    matches: Callable[[str], bool]
    is_empty: bool = False
    problem: str = ""


def parse(text: str) -> Query:
    """Words must all occur, in any order and case; ``/…/`` is a regular expression, its last slash
    optional.
    """
    text = text.strip()
    if not text:
        return Query(lambda _: True, is_empty=True)
    if text.startswith("/") and len(text) > 1 and not _looks_like_a_path(text):
        return _regular_expression(text[1:].removesuffix("/"))
    words = text.lower().split()
    if len(words) == 1:
        word = words[0]
        return Query(lambda haystack: word in haystack.lower())
    return Query(lambda haystack: all(word in haystack.lower() for word in words))


def _looks_like_a_path(text: str) -> bool:
    """Whether a text with a leading slash is a node's id, such as /layers.0/attn/MatMul."""
    return not text.endswith("/") and not re.search(r"[\\*+?^$|()\[\]{}]", text)


def _regular_expression(pattern: str) -> Query:
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        return Query(lambda _: False, problem=f"not a regular expression: {error}")
    return Query(lambda haystack: compiled.search(haystack) is not None)


def searched_text(info: NodeInfo) -> str:
    """What a search looks at: id, name, operator, shapes and types of a node."""
    shapes = " ".join(shape_text(shape) for shape in info.shapes)
    return f"{info.id} {info.name} {info.op_type} {shapes} {' '.join(info.dtypes)}"
