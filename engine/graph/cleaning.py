"""Cleaning a freshly converted graph: what is not computation vanishes, decomposed spellings become one node."""

from __future__ import annotations

from collections import Counter

from engine.graph.draft import Draft
from engine.graph.patterns import rewrite
from engine.graph.patterns.duplicates import merge_duplicates
from engine.graph.patterns.partitions import merge_partitions


def clean(draft: Draft) -> tuple[str, ...]:
    """Remove identities and dead nodes and recognise patterns, in place.

    Returns:
        One line for people about each thing that was done.
    """
    identities = draft.drop_identities()
    draft.drop_dead()
    recognised: Counter[str] = Counter()
    while fired := rewrite(draft):
        recognised += fired
        identities += draft.drop_identities()
        draft.drop_dead()
    recognised["slices that take a value apart are a split"] = merge_partitions(draft)
    recognised["nodes dropped that compute what another does"] = merge_duplicates(draft)
    draft.drop_dead()
    lines = [f"{identities} nodes that do nothing were removed"] if identities else []
    return (*lines, *(f"{count} x {what}" for what, count in sorted(recognised.items()) if count))
