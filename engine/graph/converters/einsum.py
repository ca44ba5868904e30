"""Einsum, taken apart into matrix products, products, sums, diagonals and transpositions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from engine.errors import GraphError
from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.base import Op
from engine.ops.elementwise import Mul
from engine.ops.layout import Gather, Identity, Reshape, Transpose
from engine.ops.linear import Linear, MatMul
from engine.ops.reduce import ReduceSum

Labels = tuple[str, ...]


@dataclass(frozen=True)
class _Term:
    """A value and the label of each of its axes."""

    value: str
    labels: Labels
    shape: tuple[int, ...]

    def size(self, labels: Sequence[str]) -> int:
        """Elements along these axes."""
        return math.prod(self.shape[self.labels.index(label)] for label in labels)


@dataclass
class _Steps:
    """What has been applied so far."""

    node: SourceNode
    applied: list[Apply] = field(default_factory=list[Apply])

    def apply(self, op: Op, inputs: tuple[str, ...], labels: Labels, shape: tuple[int, ...]) -> _Term:
        result = self.node.inner(op.type_name.lower())
        self.applied.append(Apply(op, inputs, (result,)))
        return _Term(result, labels, shape)

    def reshaped(self, term: _Term, labels: Labels, shape: tuple[int, ...]) -> _Term:
        if term.shape == shape:
            return _Term(term.value, labels, shape)
        return self.apply(Reshape(shape), (term.value,), labels, shape)

    def ordered(self, term: _Term, labels: Sequence[str]) -> _Term:
        """The term with its axes in the order of ``labels``."""
        perm = tuple(term.labels.index(label) for label in labels)
        if perm == tuple(range(len(perm))):
            return term
        shape = tuple(term.shape[axis] for axis in perm)
        return self.apply(Transpose(perm), (term.value,), tuple(labels), shape)


@converts("Einsum")
def _einsum(node: SourceNode) -> Converted:
    """Operands two by two from the left; whatever the rest and the result do not need is summed at once."""
    if not node.inputs or not all(node.type(index).is_float for index in range(len(node.inputs))):
        return None
    terms, wanted = _parsed(node)
    steps = _Steps(node)
    so_far, *rest = terms
    if not rest:
        so_far = _reduced(steps, so_far, wanted)
    while rest:
        other = rest.pop(0)
        needed = {label for term in rest for label in term.labels}.union(wanted)
        kept = tuple(label for label in dict.fromkeys((*so_far.labels, *other.labels)) if label in needed)
        so_far = _product(steps, so_far, other, kept if rest else wanted)
    result = steps.ordered(so_far, wanted)
    if not steps.applied:
        return [Apply(Identity(), (result.value,))]
    last = steps.applied[-1]
    return [*steps.applied[:-1], Apply(last.op, last.inputs)]


def _parsed(node: SourceNode) -> tuple[list[_Term], Labels]:
    """The operands with their labels, an ellipsis as labels "0", "1", ... from its last axis, and the result's labels.

    Without an arrow the result has the labels that occur once, in alphabetical order, behind those of an ellipsis.
    """
    equation = node.text("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    spelled = left.split(",")
    if len(spelled) != len(node.inputs):
        raise GraphError(f"equation '{equation}' has {len(spelled)} operands, the node {len(node.inputs)}")
    terms: list[_Term] = []
    dots = 0
    for index, text in enumerate(spelled):
        shape = node.shape(index)
        hidden = len(shape) - len(text.replace("...", ""))
        if hidden < 0 or (hidden > 0 and "..." not in text):
            raise GraphError(f"'{text}' of equation '{equation}' does not label {len(shape)} axes")
        dots = max(dots, hidden)
        terms.append(_Term(node.inputs[index], _labels(text, hidden), shape))
    if arrow:
        return terms, _labels(right, dots)
    letters = left.replace("...", "").replace(",", "")
    once = sorted(label for label in set(letters) if letters.count(label) == 1)
    return terms, (*_labels("..." if "..." in left else "", dots), *once)


def _labels(text: str, hidden: int) -> Labels:
    before, dots, after = text.partition("...")
    return (*before, *(str(place) for place in reversed(range(hidden if dots else 0))), *after)


def _reduced(steps: _Steps, term: _Term, needed: Sequence[str]) -> _Term:
    """The term with each label once, and summed over those that nobody needs."""
    while len(set(term.labels)) < len(term.labels):
        term = _diagonal(steps, term)
    axes = tuple(axis for axis, label in enumerate(term.labels) if label not in needed)
    if not axes:
        return term
    labels, shape = (
        tuple(item for axis, item in enumerate(items) if axis not in axes) for items in (term.labels, term.shape)
    )
    return steps.apply(ReduceSum(axes, False), (term.value,), labels, shape)  # type: ignore[arg-type]


def _diagonal(steps: _Steps, term: _Term) -> _Term:
    """The first label that occurs twice, once: every (size + 1)th element of its two axes."""
    label = next(label for label in term.labels if term.labels.count(label) > 1)
    first = term.labels.index(label)
    second = term.labels.index(label, first + 1)
    names = count()
    unique = tuple(f"{next(names)}{item}" for item in term.labels)
    order = (*(item for axis, item in enumerate(unique) if axis not in (first, second)), unique[first], unique[second])
    turned = steps.ordered(_Term(term.value, unique, term.shape), order)
    *outer, size, _ = turned.shape
    flat = steps.reshaped(turned, (), (*outer, size * size))
    places = tuple(index * (size + 1) for index in range(size))
    left = tuple(item for axis, item in enumerate(term.labels) if axis not in (first, second))
    return steps.apply(Gather(len(outer), places, (size,)), (flat.value,), (*left, label), (*outer, size))


def _product(steps: _Steps, a: _Term, b: _Term, wanted: Labels) -> _Term:
    """Two terms multiplied and summed over what is not wanted."""
    a, b = _reduced(steps, a, (*b.labels, *wanted)), _reduced(steps, b, (*a.labels, *wanted))
    a, b = _without_ones(steps, a, b), _without_ones(steps, b, a)
    a, b = _reduced(steps, a, (*b.labels, *wanted)), _reduced(steps, b, (*a.labels, *wanted))
    if a.value in steps.node.constants:
        a, b = b, a
    shared = [label for label in a.labels if label in b.labels]
    summed = [label for label in shared if label not in wanted]
    if not summed:
        return _elementwise(steps, a, b, wanted)
    batch = [label for label in shared if label in wanted]
    rows = [label for label in a.labels if label not in shared]
    columns = [label for label in b.labels if label not in shared]
    left = steps.ordered(a, (*batch, *rows, *summed))
    outer = tuple(a.shape[a.labels.index(label)] for label in batch)
    row_shape, column_shape = _shape_of(a, rows), _shape_of(b, columns)
    if not batch and b.value in steps.node.constants:
        weight = steps.reshaped(steps.ordered(b, (*columns, *summed)), (), (b.size(columns), b.size(summed)))
        x = steps.reshaped(left, (), (*row_shape, a.size(summed)))
        shape = (*row_shape, b.size(columns))
        product = steps.apply(Linear("MatMul"), (x.value, weight.value), (), shape)
    else:
        right = steps.ordered(b, (*batch, *summed, *columns))
        x = steps.reshaped(left, (), (*outer, a.size(rows), a.size(summed)))
        y = steps.reshaped(right, (), (*outer, b.size(summed), b.size(columns)))
        product = steps.apply(MatMul(), (x.value, y.value), (), (*outer, a.size(rows), b.size(columns)))
    return steps.reshaped(product, (*batch, *rows, *columns), (*outer, *row_shape, *column_shape))


def _shape_of(term: _Term, labels: Sequence[str]) -> tuple[int, ...]:
    return tuple(term.shape[term.labels.index(label)] for label in labels)


def _without_ones(steps: _Steps, term: _Term, other: _Term) -> _Term:
    """The term without axes of size 1 that broadcast against the other's."""
    kept = [
        axis
        for axis, label in enumerate(term.labels)
        if not (term.shape[axis] == 1 and label in other.labels and other.size([label]) > 1)
    ]
    labels, shape = tuple(term.labels[axis] for axis in kept), tuple(term.shape[axis] for axis in kept)
    return steps.reshaped(term, labels, shape)


def _elementwise(steps: _Steps, a: _Term, b: _Term, wanted: Labels) -> _Term:
    """A product without a sum, both operands in the result's order."""
    spread = [_spread(steps, term, wanted) for term in (a, b)]
    shape = tuple(max(sizes) for sizes in zip(*(term.shape for term in spread), strict=True))
    return steps.apply(Mul(), (spread[0].value, spread[1].value), wanted, shape)


def _spread(steps: _Steps, term: _Term, wanted: Labels) -> _Term:
    ordered = steps.ordered(term, [label for label in wanted if label in term.labels])
    shape = tuple(term.size([label]) if label in term.labels else 1 for label in wanted)
    return steps.reshaped(ordered, wanted, shape)
