"""Slices that take a value apart into all its pieces: a Split."""

from __future__ import annotations

from collections.abc import Iterator

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.naming import common_scopes
from engine.ops.layout import Slice, Split


def merge_partitions(draft: Draft) -> int:
    """Replace slices of one value that are together all of it, each element once, by one Split; returns how many.

    Torch's present exporter slices where the older one splits (queries, keys and values).
    """
    merged = 0
    for node in list(draft.nodes()):
        for value in node.outputs:
            for pieces in _partitions(draft, value):
                _split(draft, value, *pieces)
                merged += 1
    return merged


def _partitions(draft: Draft, value: str) -> Iterator[tuple[int, list[Node]]]:
    """Axes along which slices of ``value`` follow each other from its first element to its last, and the slices."""
    along: dict[int, list[tuple[int, int, Node]]] = {}
    shape = draft.types[value].shape if value in draft.types else ()
    for node in draft.readers(value):
        bounds = _one_cut(node.op, shape) if isinstance(node.op, Slice) else None
        if bounds is not None:
            axis, start, stop = bounds
            along.setdefault(axis, []).append((start, stop, node))
    for axis, found in along.items():
        found.sort(key=lambda piece: piece[:2])
        ends = [0, *(stop for _, stop, _ in found)]
        if len(found) > 1 and [start for start, _, _ in found] == ends[:-1] and ends[-1] == shape[axis]:
            yield axis, [node for _, _, node in found]


def _one_cut(op: Slice, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Axis, start and stop of a slice of neighbours along one axis, not empty."""
    cut = [
        (axis, start, stop)
        for axis, (start, stop, size) in enumerate(zip(op.starts, op.stops, shape, strict=True))
        if (start, stop) != (0, size)
    ]
    if len(cut) != 1 or set(op.steps) != {1} or cut[0][1] >= cut[0][2]:
        return None
    return cut[0]


def _split(draft: Draft, value: str, axis: int, slices: list[Node]) -> None:
    """Put a Split in the place of the first of ``slices``, which are given in the order of their elements."""
    names = {node.id for node in slices}
    first, *others = [node for node in draft.readers(value) if node.id in names]
    namespace = common_scopes(node.namespace for node in slices)
    provenance = tuple(dict.fromkeys(name for node in slices for name in node.provenance))
    outputs = tuple(node.outputs[0] for node in slices)
    sizes = tuple(draft.types[output].shape[axis] for output in outputs)
    node_id = draft.names.scoped(namespace, "Split")
    for node in others:
        draft.remove(node)
    draft.replace(first, Node(node_id, Split(axis, sizes), (value,), outputs, namespace, provenance))
