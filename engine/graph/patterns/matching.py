"""The pattern registry and the driver that applies matches.

A pattern looks at one node, the *root*, which makes the result, and at what feeds it. It returns a :class:`Match` or
None. The driver alone decides whether a match may fire: no value inside it may be read elsewhere or be an output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from engine.graph.draft import Draft
from engine.graph.graph import Node, TensorType
from engine.graph.naming import common_scopes
from engine.ops.base import Op
from engine.ops.layout import Transpose
from engine.ops.other import Input


@dataclass(frozen=True)
class Match:
    """``op`` on ``inputs`` computes what the root and its ``members`` compute together.

    ``members`` are the nodes that vanish with the root. The result is named after ``keep`` if given (a node that
    merely absorbs others), else after the scopes its members share. ``permutation``: the operator works on its first
    input transposed so, and its result is transposed back; that takes two members at least, all made from that input.
    """

    op: Op
    inputs: tuple[str, ...]
    members: tuple[Node, ...]
    keep: Node | None = None
    permutation: tuple[int, ...] | None = None


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
    if match.permutation is not None and match.permutation != tuple(range(len(match.permutation))):
        return _replaced_transposed(draft, root, match, result)
    draft.replace(root, result)
    for member in dict.fromkeys(match.members):
        draft.remove(member)
    return result


def _replaced_transposed(draft: Draft, root: Node, match: Match, result: Node) -> Node:
    """Put a transposition, the result and the transposition back in the places of three of the match's nodes."""
    assert match.permutation is not None
    forward = match.permutation
    back = tuple(forward.index(axis) for axis in range(len(forward)))
    source, output = match.inputs[0], root.outputs[0]
    kind = draft.types[source]
    turned = [draft.fresh_name(output) for _ in range(2)]
    for value in turned:
        draft.types[value] = TensorType(tuple(kind.shape[axis] for axis in forward), kind.dtype)
    ids = [draft.names.scoped(result.namespace, "Transpose") for _ in range(2)]
    first = Node(ids[0], Transpose(forward), (source,), (turned[0],), result.namespace, result.provenance)
    middle = replace(result, inputs=(turned[0], *result.inputs[1:]), outputs=(turned[1],))
    last = Node(ids[1], Transpose(back), (turned[1],), root.outputs, result.namespace, result.provenance)
    inside = set(match.members)
    places = [node for node in draft.nodes() if node in inside]
    for old, new in zip((places[0], places[1], root), (first, middle, last), strict=True):
        draft.replace(old, new)
    for node in places[2:]:
        draft.remove(node)
    return last
