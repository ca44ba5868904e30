"""A fusion region that is not there yet, as the canvas shows it. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class DraftChoice:
    """A button of the card: what is emitted when it is pressed, its text and its tool tip."""

    id: str
    text: str
    tip: str = ""


@dataclass(frozen=True)
class DraftCard:
    """What the card at the pointer says of a draft: a title, a few lines, and what can be done."""

    title: str
    lines: tuple[str, ...] = ()
    choices: tuple[DraftChoice, ...] = ()


@dataclass(frozen=True)
class RegionDraft:
    """Nodes that might run as one kernel, by id, and what is known of it.

    For nodes that cannot, `offending` are those that break the rule, and `nearest` those that could instead.
    """

    nodes: tuple[str, ...]
    is_legal: bool
    card: DraftCard
    offending: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()

    def on(self, boxes: Callable[[tuple[str, ...]], Iterable[str]]) -> RegionDraft:
        """The same of the boxes that the nodes are in."""
        nodes, offending, nearest = (tuple(boxes(ids)) for ids in (self.nodes, self.offending, self.nearest))
        return replace(self, nodes=nodes, offending=offending, nearest=nearest)
