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
from engine.graph.graph import Node
from engine.graph.inference import TypeInference
from engine.graph.naming import common_scopes
from engine.ops.base import Op
from engine.ops.other import Input


@dataclass(frozen=True)
class Step:
    """An operator of a match's chain, named after ``keep`` if given: a member that moves there."""

    op: Op
    keep: Node | None = None


@dataclass(frozen=True)
class Match:
    """``op`` on ``inputs`` computes what the root and its ``members`` compute together.

    ``members`` are the nodes that vanish with the root. The result is named after ``keep`` if given (a node that
    merely absorbs others), else after the scopes its members share. The operator's first input goes through the
    operators ``before`` it, its result through those ``after``; each of these has one input and one output.
    """

    op: Op
    inputs: tuple[str, ...]
    members: tuple[Node, ...]
    keep: Node | None = None
    before: tuple[Op, ...] = ()
    after: tuple[Step, ...] = ()


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
    """Put the match's operators in the root's place; returns the last one."""
    infer = TypeInference()
    *earlier, last = _chain(draft, root, match)
    value, *others = match.inputs
    for index, node in enumerate(earlier):
        inputs = (value, *others) if index == len(match.before) else (value,)
        value = draft.fresh_name(root.outputs[0])
        (draft.types[value],) = infer(node.op, inputs, draft.types)
        draft.insert_before(root, replace(node, inputs=inputs, outputs=(value,)))
    inputs = (value,) if match.after else (value, *others)
    result = replace(last, inputs=inputs, outputs=root.outputs)
    draft.replace(root, result)
    for member in dict.fromkeys(match.members):
        draft.remove(member)
    return result


def _chain(draft: Draft, root: Node, match: Match) -> list[Node]:
    """The nodes that take the root's place, named, not connected yet."""
    nodes = [*dict.fromkeys(match.members), root]
    provenance = tuple(dict.fromkeys(name for node in nodes for name in node.provenance))
    shared = common_scopes(node.namespace for node in nodes)
    steps = [*map(Step, match.before), Step(match.op, match.keep), *match.after]
    return [
        Node(keep.id, op, (), (), keep.namespace, provenance)
        if keep is not None
        else Node(draft.names.scoped(shared, op.type_name), op, (), (), shared, provenance)
        for op, keep in ((step.op, step.keep) for step in steps)
    ]
