"""Operands of arithmetic spelled in more steps than they need: broadcast by hand, reshaped to meet a constant."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.graph.draft import Draft
from engine.graph.graph import Constant, Node, TensorType
from engine.graph.lazy import derived
from engine.graph.patterns.matching import Match, is_closed, recognises
from engine.graph.type_rules import broadcast
from engine.ops.base import Op
from engine.ops.elementwise import Add, Div, Mul, Sub, Unary
from engine.ops.layout import Expand, Reshape
from engine.ops.reduce import LayerNorm, LogSoftmax, RMSNorm, Softmax

Array = NDArray[np.generic]

_MOST_ELEMENTS = 1 << 24
"""Larger sums of constants are not made: the two they come from may be small."""


@recognises("broadcast left to the operator behind it", Add, Div, Mul, Sub)
def implicit_broadcast(draft: Draft, root: Node) -> Match | None:
    """x / Expand(y), where the division broadcasts y as far itself."""
    result = draft.types[root.outputs[0]].shape
    for index, value in enumerate(root.inputs):
        expand = draft.producer(value)
        if expand is None or not isinstance(expand.op, Expand):
            continue
        inputs = tuple(expand.inputs[0] if at == index else other for at, other in enumerate(root.inputs))
        if broadcast(*(draft.types[name].shape for name in inputs)) == result:
            return Match(root.op, inputs, (expand,) if is_closed(draft, root, (expand,)) else (), keep=root)
    return None


@recognises("constants added one after the other are one", Add)
def summed_constants(draft: Draft, root: Node) -> Match | None:
    """x + constant + constant: a bias of positions and a mask of windows."""
    for value, other in (root.inputs, root.inputs[::-1]):
        inner, second = draft.producer(value), draft.constants.get(other)
        if inner is None or second is None or not isinstance(inner.op, Add) or not second.type.is_float:
            continue
        for x, name in (inner.inputs, inner.inputs[::-1]):
            first = draft.constants.get(name)
            if first is None or first.type.dtype != second.type.dtype:
                continue
            kind = TensorType(broadcast(first.type.shape, second.type.shape), first.type.dtype)
            if kind.element_count > _MOST_ELEMENTS:
                continue
            total = draft.add_constant(f"{root.outputs[0]}/constant", derived(kind, np.add, first, second))
            return Match(root.op, (x, total), (inner,), keep=inner)
    return None


@recognises("reshape and its way back dropped around an elementwise operator", Reshape)
def reshaped_for_a_function(draft: Draft, root: Node) -> Match | None:
    """reshape(f(reshape(x))) in x's shape, where f works on elements, or on the last axis and the reshapes keep it."""
    node = draft.producer(root.inputs[0])
    if node is None or not node.inputs or not isinstance(node.op, Unary | Softmax | LogSoftmax | LayerNorm | RMSNorm):
        return None
    first = _reshape_before(draft, root, node, node.inputs[0])
    if first is None:
        return None
    before, between = draft.types[first.inputs[0]].shape, draft.types[node.inputs[0]].shape
    op = _along_last_axis(node.op, before, between)
    return None if op is None else Match(op, (*first.inputs, *node.inputs[1:]), (first, node), keep=node)


def _along_last_axis(op: Op, before: tuple[int, ...], between: tuple[int, ...]) -> Op | None:
    """The operator on values of the shape before the reshape, None where it takes more than the same last axis."""
    if isinstance(op, Unary):
        return op
    if not before or before[-1] != between[-1]:
        return None
    if isinstance(op, Softmax | LogSoftmax):
        return replace(op, axis=len(before) - 1) if op.axis == len(between) - 1 else None
    return op if isinstance(op, LayerNorm | RMSNorm) and op.axes_count == 1 else None


@recognises("reshape and its way back dropped around an elementwise operator", Reshape)
def reshaped_for_a_constant(draft: Draft, root: Node) -> Match | None:
    """reshape(reshape(x) + constant) in x's shape: a mask for each window, as Swin adds it."""
    node = draft.producer(root.inputs[0])
    if node is None or not isinstance(node.op, Add | Mul):
        return None
    for value, other in (node.inputs, node.inputs[::-1]):
        first, constant = _reshape_before(draft, root, node, value), draft.constants.get(other)
        if first is None or constant is None:
            continue
        between, before = draft.types[value].shape, draft.types[first.inputs[0]].shape
        turned = _in_shape(constant, between, before, open_batch=draft.symbolic_batch)
        if turned is not None:
            name = draft.add_constant(f"{other}/reshaped", turned)
            return Match(node.op, (first.inputs[0], name), (first, node), keep=node)
    return None


def _reshape_before(draft: Draft, root: Node, node: Node, value: str) -> Node | None:
    """The reshape that makes ``value``, which ``node`` leaves in its shape and ``root`` brings back to what it was."""
    first = draft.producer(value)
    if first is None or not isinstance(first.op, Reshape):
        return None
    before, between = draft.types[first.inputs[0]].shape, draft.types[value].shape
    taken_back = draft.types[root.outputs[0]].shape == before and draft.types[node.outputs[0]].shape == between
    return first if taken_back and 0 not in before else None


def _in_shape(
    constant: Constant, broadcast_to: tuple[int, ...], shape: tuple[int, ...], *, open_batch: bool
) -> Constant | None:
    """The constant, which is broadcast to one shape, as it is broadcast to the other; None where it would be large.

    Axes that are reshaped together stay of size one where the constant varies along none of them. With an open batch
    the first axis must not be among others along which it varies: the constant would grow with the batch.
    """
    given = (1,) * (len(broadcast_to) - len(constant.type.shape)) + constant.type.shape
    full: list[int] = []
    wanted: list[int] = []
    for axes, others in _groups(broadcast_to, shape):
        varies = any(given[axis] != 1 for axis in axes)
        if varies and open_batch and 0 in axes and len(axes) > 1:
            return None
        full += [broadcast_to[axis] if varies else 1 for axis in axes]
        wanted += [shape[axis] if varies else 1 for axis in others]
    if math.prod(full) > _MOST_ELEMENTS:
        return None

    def compute(array: Array) -> Array:
        return np.broadcast_to(array.reshape(given), full).reshape(wanted)

    return derived(TensorType(tuple(wanted), constant.type.dtype), compute, constant)


def _groups(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """The axes of two shapes of one element count, in the smallest groups that have as many elements in both."""
    groups: list[tuple[list[int], list[int]]] = [([], [])]
    mine, theirs = 1, 1
    left, right = list(enumerate(a)), list(enumerate(b))
    while left or right:
        if left and (mine <= theirs or not right):
            axis, size = left.pop(0)
            groups[-1][0].append(axis)
            mine *= size
        else:
            axis, size = right.pop(0)
            groups[-1][1].append(axis)
            theirs *= size
        if mine == theirs and all(groups[-1]):
            groups.append(([], []))
            mine = theirs = 1
    return groups
