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


Patterns: TypeAlias = dict[type[Op], list[_Entry]]
"""Patterns by the class of their root, tried in order of registration. Constant once the package is imported."""

PATTERNS: Patterns = {}
LATE_PATTERNS: Patterns = {}
"""Those that may take apart what a pattern of the others looks for: tried where none of these fires any more."""


def recognises(title: str, *roots: type[Op], late: bool = False) -> Callable[[Pattern], Pattern]:
    """Decorator that registers a pattern; ``title`` says in the import notes what it did."""
    registry = LATE_PATTERNS if late else PATTERNS

    def add(pattern: Pattern) -> Pattern:
        for root in roots:
            registry.setdefault(root, []).append(_Entry(title, pattern))
        return pattern

    return add


def rewrite(draft: Draft) -> Counter[str]:
    """Walk over the graph once and apply patterns, inner ones first; the late ones where no other fires.

    Returns:
        How often each fired; when none did, nothing is left to do.
    """
    return _walk(draft, PATTERNS) or _walk(draft, LATE_PATTERNS)


def _walk(draft: Draft, patterns: Patterns) -> Counter[str]:
    fired: Counter[str] = Counter()
    for node in draft.nodes():
        current: Node | None = node
        while current is not None:
            current = _rewritten(draft, current, patterns, fired)
    return fired


def _rewritten(draft: Draft, root: Node, patterns: Patterns, fired: Counter[str]) -> Node | None:
    """The node that replaced ``root``, or None if no pattern fired."""
    for entry in patterns.get(type(root.op), ()):
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
