"""Sequences and optionals whose elements are known: exporters write splitting and stacking with them.

What depends on data (a position that is computed, a sequence that a loop fills) returns None and runs as a block.
"""

from __future__ import annotations

import numpy as np

from engine.graph.source import Apply, Converted, Elements, Known, SourceNode, converts
from engine.ops.float_kernels import TORCH_DTYPES
from engine.ops.layout import Concat, Identity, Reshape, Split


@converts("SequenceConstruct")
def _construct(node: SourceNode) -> Converted:
    return Elements(node.inputs)


@converts("SequenceEmpty")
def _empty(node: SourceNode) -> Converted:
    return Elements(())


def _known(node: SourceNode) -> tuple[str, ...] | None:
    return node.sequences.get(node.inputs[0])


def _position(node: SourceNode, index: int, length: int, default: int) -> int | None:
    """A constant position, counted from the front; None where it is not constant or out of range."""
    if not node.has(index):
        return default
    given = node.integers(index)
    if given is None or not -length <= given[0] <= length:
        return None
    return given[0] + length if given[0] < 0 else given[0]


@converts("SequenceAt")
def _at(node: SourceNode) -> Converted:
    elements = _known(node)
    position = None if elements is None else _position(node, 1, len(elements), 0)
    if elements is None or position is None or position >= len(elements):
        return None
    return [Apply(Identity(), (elements[position],))]


@converts("SequenceInsert")
def _insert(node: SourceNode) -> Converted:
    elements = _known(node)
    position = None if elements is None else _position(node, 2, len(elements), len(elements))
    if elements is None or position is None:
        return None
    return Elements((*elements[:position], node.inputs[1], *elements[position:]))


@converts("SequenceErase")
def _erase(node: SourceNode) -> Converted:
    elements = _known(node)
    position = None if elements is None else _position(node, 1, len(elements), len(elements) - 1)
    if elements is None or position is None or position >= len(elements):
        return None
    return Elements((*elements[:position], *elements[position + 1 :]))


@converts("SequenceLength")
def _length(node: SourceNode) -> Converted:
    elements = _known(node)
    return None if elements is None else Known.of(np.array(len(elements), np.int64))


@converts("SplitToSequence")
def _split(node: SourceNode) -> Converted:
    shape = node.shape(0)
    axis = node.axis(node.integer("axis"), len(shape))
    sizes = _piece_sizes(node, shape[axis])
    if sizes is None:
        return None
    pieces = tuple(node.inner(f"piece{index}") for index in range(len(sizes)))
    if len(sizes) == 1:
        step = Apply(Identity(), node.inputs[:1], pieces)
    else:
        step = Apply(Split(axis, sizes), node.inputs[:1], pieces)
    if node.has(1) or node.integer("keepdims", 1):
        return Elements(pieces, (step,))
    squeezed = tuple(node.inner(f"element{index}") for index in range(len(sizes)))
    without = (*shape[:axis], *shape[axis + 1 :])
    reshape = Reshape(without, "Squeeze")
    steps = (Apply(reshape, (piece,), (name,)) for piece, name in zip(pieces, squeezed, strict=True))
    return Elements(squeezed, (step, *steps))


def _piece_sizes(node: SourceNode, size: int) -> tuple[int, ...] | None:
    """One each without ``split``; all of one size, the last one smaller, where it is a number."""
    if not node.has(1):
        return (1,) * size
    given = node.integers(1)
    if given is None or node.shape(1):
        return given
    count = -(-size // given[0])
    return (*(given[0],) * (count - 1), size - given[0] * (count - 1))


@converts("ConcatFromSequence")
def _concat(node: SourceNode) -> Converted:
    elements = _known(node)
    if not elements:
        return None
    if not node.integer("new_axis"):
        axis = node.axis(node.integer("axis"), len(node.types[elements[0]].shape))
        return [Apply(Concat(axis) if len(elements) > 1 else Identity(), elements)]
    rank = len(node.types[elements[0]].shape) + 1
    axis = node.axis(node.integer("axis"), rank)
    steps: list[Apply] = []
    for value in elements:
        shape = node.types[value].shape
        name = node.inner("unsqueezed")
        steps.append(Apply(Reshape((*shape[:axis], 1, *shape[axis:]), "Unsqueeze"), (value,), (name,)))
    together = tuple(step.outputs[0] for step in steps if step.outputs)
    return [*steps, Apply(Concat(axis) if len(together) > 1 else Identity(), together)]


@converts("Optional")
def _optional(node: SourceNode) -> Converted:
    """An optional that holds something is a sequence of one element here, an empty one a sequence of none."""
    if node.has(0) and node.inputs[0] in node.sequences:
        return None
    return Elements(node.given(1))


@converts("OptionalHasElement")
def _has_element(node: SourceNode) -> Converted:
    if not node.has(0) or _is_tensor(node):
        return Known.of(np.array(node.has(0)))
    elements = _known(node)
    return None if elements is None else Known.of(np.array(bool(elements)))


@converts("OptionalGetElement")
def _get_element(node: SourceNode) -> Converted:
    if _is_tensor(node):
        return [Apply(Identity(), node.inputs)]
    elements = _known(node)
    return [Apply(Identity(), elements)] if elements is not None and len(elements) == 1 else None


def _is_tensor(node: SourceNode) -> bool:
    """Since opset 18 a tensor may stand where an optional is read."""
    return node.type(0).dtype in TORCH_DTYPES
