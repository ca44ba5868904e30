"""Search without Qt: the hits of a query, and which one is shown."""

from __future__ import annotations

from collections.abc import Sequence

from engine.reports import NodeInfo
from gui.panels.matching import parse, searched_text


class Search:
    """Hits in the graph's order. The texts are put together once per graph, so that each key press is
    quick.
    """

    def __init__(self) -> None:
        self._texts: list[tuple[str, str]] = []
        self._query = ""
        self.hits: list[str] = []
        self.problem = ""
        self.current = -1

    def set_nodes(self, nodes: Sequence[NodeInfo]) -> None:
        self._texts = [(info.id, searched_text(info)) for info in nodes]
        self.find(self._query)

    def find(self, text: str) -> None:
        """Look for a query; an empty one has no hits. No hit is shown until ``step``."""
        self._query = text
        query = parse(text)
        self.problem = query.problem
        self.current = -1
        self.hits = [] if query.is_empty else [node for node, words in self._texts if query.matches(words)]

    def step(self, by: int = 1) -> str:
        """Go to the next (or, with −1, previous) hit, around the end; its id, "" without hits."""
        if not self.hits:
            return ""
        start = self.current if self.current >= 0 else (-1 if by > 0 else 0)
        self.current = (start + by) % len(self.hits)
        return self.hits[self.current]

    @property
    def status(self) -> str:
        """What stands beside the search box."""
        if self.problem:
            return self.problem
        if not self._query.strip():
            return ""
        if not self.hits:
            return "no hits"
        where = f"{self.current + 1} of " if self.current >= 0 else ""
        return f"{where}{len(self.hits):,} hit{'s' if len(self.hits) != 1 else ''}"
