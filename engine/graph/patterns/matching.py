"""The pattern registry and the driver that applies matches.

A pattern looks at one node, the *root*, which makes the result, and at what feeds it. It returns a :class:`Match` or
None. The driver alone decides whether a match may fire: no value inside it may be read elsewhere or be an output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.naming import common_scopes
from engine.ops.base import Op
from engine.ops.other import Input


@dataclass(frozen=True)
class Match:
    """``op`` on ``inputs`` computes what the root and its ``members`` compute together.

    ``members`` are the nodes that vanish with the root. The result is named after ``keep`` if given (a node that
    merely absorbs others), else after the scopes its members share.
    """

    op: Op
    inputs: tuple[str, ...]
    members: tuple[Node, ...]
    keep: Node | None = None


Pattern: TypeAlias = Callable[[Draft, Node], Match | None]


@dataclass(frozen=True)
class _Entry:
    title: str
    pattern: Pattern


PATTERNS: dict[type[Op], list[_Entry]] = {}
"""Patterns by the class of their root, tried in order of registration. Constant once the package is imported."""


def recognises(title: str, *roots: type[Op]) -> Callable[[Pattern], Pattern]:
    """Decorator that registers a pattern; ``title`` says in the import notes what it did."""

    def add(pattern: Pattern) -> Pattern:
        for root in roots:
            PATTERNS.setdefault(root, []).append(_Entry(title, pattern))
        return pattern

    return add


def rewrite(draft: Draft) -> Counter[str]:
    """Apply all patterns, inner ones first, until none fires; returns how often each did."""
    fired: Counter[str] = Counter()
    for node in draft.nodes():
        current: Node | None = node
        while current is not None:
            current = _rewritten(draft, current, fired)
    return fired


def _rewritten(draft: Draft, root: Node, fired: Counter[str]) -> Node | None:
    """The node that replaced ``root``, or None if no pattern fired."""
    for entry in PATTERNS.get(type(root.op), ()):
        match = entry.pattern(draft, root)
        if match is not None and is_closed(draft, root, match.members):
            fired[entry.title] += 1
            return _replaced(draft, root, match)
    return None


def is_closed(draft: Draft, root: Node, members: tuple[Node, ...]) -> bool:
    """Are the members' outputs read by members and root only, and none of them a graph output?"""
    inside = {node.id for node in (*members, root)}
    for member in members:
        if isinstance(member.op, Input):
            return False
        for value in member.outputs:
            if value in draft.outputs or any(reader.id not in inside for reader in draft.readers(value)):
                return False
    return True


def _replaced(draft: Draft, root: Node, match: Match) -> Node:
    nodes = [*dict.fromkeys(match.members), root]
    provenance = tuple(dict.fromkeys(name for node in nodes for name in node.provenance))
    if match.keep is not None:
        node_id, namespace = match.keep.id, match.keep.namespace
    else:
        namespace = common_scopes(node.namespace for node in nodes)
        node_id = draft.names.scoped(namespace, match.op.type_name)
    result = Node(node_id, match.op, match.inputs, root.outputs, namespace, provenance)
    draft.replace(root, result)
    for member in dict.fromkeys(match.members):
        draft.remove(member)
    return result
