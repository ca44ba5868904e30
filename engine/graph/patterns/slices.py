"""Pieces of one value put together again: patch merging, Focus, space to depth, shuffled chunks.

Where the pieces lie on a regular grid, what they make is the value with its axes taken apart, transposed and put
together: one movement, where slices and a concatenation are many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations, product

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, Step, recognises
from engine.ops.layout import Concat, Identity, Reshape, Slice, Split, Transpose

_MOST_AXES = 3
"""Axes that are cut; more make more orders to try than any model needs."""


@dataclass(frozen=True)
class Window:
    """Elements of ``source``: per axis where they start, how far apart they are, and how many; made by ``members``."""

    source: str
    starts: tuple[int, ...]
    steps: tuple[int, ...]
    sizes: tuple[int, ...]
    members: tuple[Node, ...]


@dataclass(frozen=True)
class _Cut:
    """How one axis is cut into ``count`` equal pieces: ``strided`` ones that take turns, or blocks."""

    axis: int
    count: int
    size: int
    strided: bool
    digits: tuple[int, ...]
    """Which piece of the axis each operand of the concatenation has."""


@recognises("pieces of a grid put together in one movement", Concat)
def regrouped(draft: Draft, root: Node) -> Match | None:
    """Concat of slices that are together the whole of one value, in an order that transposing its axes gives."""
    assert isinstance(root.op, Concat)
    pieces = common_source([windows(draft, value) for value in root.inputs])
    if pieces is None:
        return None
    shape = draft.types[pieces[0].source].shape
    inputs, members = (pieces[0].source,), tuple(member for piece in pieces for member in piece.members)
    if _in_place(pieces, shape, root.op.axis):
        return Match(Identity(), inputs, members, keep=root)
    cuts = _cuts(pieces, shape)
    order = None if cuts is None else _order(cuts, len(pieces))
    if order is None:
        return None
    split, perm, whole = _movement(shape, order, root.op.axis)
    if perm == tuple(range(len(perm))):
        return Match(Reshape(whole), inputs, members)
    return Match(Transpose(perm), inputs, members, before=(Reshape(split),), after=(Step(Reshape(whole)),))


def _in_place(pieces: Sequence[Window], shape: tuple[int, ...], axis: int) -> bool:
    """Do the pieces follow each other along ``axis`` from the first element to the last?"""
    place = 0
    for piece in pieces:
        wanted = [(0, 1, size) for size in shape]
        wanted[axis] = place, 1, piece.sizes[axis]
        if list(zip(piece.starts, piece.steps, piece.sizes, strict=True)) != wanted:
            return False
        place += piece.sizes[axis]
    return place == shape[axis]


def windows(draft: Draft, value: str) -> list[Window]:
    """What ``value`` is of each value that it is cut from, slice by slice, the nearest first."""
    found: list[Window] = []
    shape = draft.types[value].shape
    window = Window(value, (0,) * len(shape), (1,) * len(shape), shape, ())
    while True:
        node = draft.producer(window.source)
        inner = None if node is None else _cut_by(draft, node, window.source)
        if inner is None:
            return found
        starts = (a + b * step for a, b, step in zip(inner.starts, window.starts, inner.steps, strict=True))
        steps = (a * b for a, b in zip(inner.steps, window.steps, strict=True))
        window = Window(inner.source, tuple(starts), tuple(steps), window.sizes, (*window.members, *inner.members))
        found.append(window)


def _cut_by(draft: Draft, node: Node, value: str) -> Window | None:
    """``value`` as a window of the input of the slice or split that makes it."""
    sizes, rank = draft.types[value].shape, len(draft.types[value].shape)
    op = node.op
    if isinstance(op, Slice) and min(op.steps, default=0) > 0:
        return Window(node.inputs[0], op.starts, op.steps, sizes, (node,))
    if isinstance(op, Split):
        start = sum(op.sizes[: node.outputs.index(value)])
        starts = tuple(start if axis == op.axis else 0 for axis in range(rank))
        return Window(node.inputs[0], starts, (1,) * rank, sizes, (node,))
    return None


def common_source(chains: Sequence[Sequence[Window]]) -> list[Window] | None:
    """One window of each chain, all of the same source, the nearest that there is; None where there is none."""
    for candidate in chains[0]:
        found = [window for chain in chains for window in chain if window.source == candidate.source]
        if len(found) == len(chains):
            return found
    return None


def _cuts(pieces: Sequence[Window], shape: tuple[int, ...]) -> list[_Cut] | None:
    """The axes that are cut, each into equal pieces; None where they are not."""
    found: list[_Cut] = []
    for axis, whole in enumerate(shape):
        places = {(piece.steps[axis] if piece.sizes[axis] > 1 else 1, piece.sizes[axis]) for piece in pieces}
        if len(places) != 1:
            return None
        ((step, size),) = places
        starts = [piece.starts[axis] for piece in pieces]
        if size == whole:
            continue
        count, unit = (step, 1) if step > 1 else (whole // size if size else 0, size)
        if count * size != whole or any(start % unit or start // unit >= count for start in starts):
            return None
        found.append(_Cut(axis, count, size, step > 1, tuple(start // unit for start in starts)))
    return found


def _order(cuts: list[_Cut], pieces: int) -> tuple[_Cut, ...] | None:
    """The cut axes, outermost first, such that the pieces stand in the order of counting; None where they do not."""
    if not cuts or len(cuts) > _MOST_AXES or math.prod(cut.count for cut in cuts) != pieces:
        return None
    for order in permutations(cuts):
        counting = product(*(range(cut.count) for cut in order))
        if all(digits == seen for digits, seen in zip(counting, _columns(order), strict=True)):
            return order
    return None


def _columns(order: Iterable[_Cut]) -> Iterable[tuple[int, ...]]:
    return zip(*(cut.digits for cut in order), strict=True)


def _movement(
    shape: tuple[int, ...], order: tuple[_Cut, ...], axis: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The shape taken apart, the permutation and the shape put together, the pieces along ``axis``."""
    cut_at = {cut.axis: cut for cut in order}
    split: list[int] = []
    piece_at: dict[int, int] = {}
    rest_at: dict[int, int] = {}
    for at, size in enumerate(shape):
        cut = cut_at.get(at)
        if cut is None:
            rest_at[at] = len(split)
            split.append(size)
            continue
        first = len(split)
        rest_at[at], piece_at[at] = (first, first + 1) if cut.strided else (first + 1, first)
        split += [cut.size, cut.count] if cut.strided else [cut.count, cut.size]
    perm: list[int] = []
    whole: list[int] = []
    for at in range(len(shape)):
        together = [*(piece_at[cut.axis] for cut in order), rest_at[at]] if at == axis else [rest_at[at]]
        perm += together
        whole.append(math.prod(split[index] for index in together))
    return tuple(split), tuple(perm), tuple(whole)
