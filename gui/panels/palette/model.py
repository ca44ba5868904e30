"""Which commands a few letters mean, best first. Qt-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A command as the palette lists it."""

    id: str
    text: str
    help: str = ""
    keys: str = ""
    why_not: str = ""


def ranked(entries: Sequence[Entry], query: str) -> list[Entry]:
    """Entries whose text has the query's letters in order; available ones and better matches first."""
    scored = [(_score(entry, query.lower().strip()), index) for index, entry in enumerate(entries)]
    kept = sorted((score, index) for score, index in scored if score is not None)
    return [entries[index] for _, index in kept]


def _score(entry: Entry, query: str) -> tuple[bool, int, int] | None:
    """Smaller is better: available, then whole words before scattered letters, then how far in it begins."""
    text = entry.text.lower()
    is_unavailable = bool(entry.why_not)
    if query in text:
        return is_unavailable, 0, text.index(query)
    if query in entry.help.lower():
        return is_unavailable, 1, 0
    position, first = -1, -1
    for letter in query.replace(" ", ""):
        position = text.find(letter, position + 1)
        if position < 0:
            return None
        first = position if first < 0 else first
    return is_unavailable, 2, position - first
