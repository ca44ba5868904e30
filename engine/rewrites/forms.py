"""Rewrites by the target rule that they answer: the same values from operators that the rule allows.

Each is a function from the question to the nodes that take the node's place, or None where it does not apply; its
docstring is the user's text. In float the values are the same up to rounding; in integers each part is quantised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod

from engine.graph.graph import Graph, Node
from engine.ops.layout import Reshape, Slice, Transpose
from engine.ops.linear import Conv, Linear, MatMul
from engine.ops.reduce import AveragePool, LayerNorm, RMSNorm
from engine.rewrites.patch import Array, Patch, parts_for, pieces, with_size
from engine.target.rules import Refusal

_MOST_PARTS = 16


@dataclass(frozen=True)
class Question:
    """A node that the target refuses, and the broken rule with its numbers."""

    graph: Graph
    node: Node
    refusal: Refusal

    def patch(self) -> Patch:
        return Patch(self.graph, self.node)

    @property
    def limit(self) -> float:
        assert self.refusal.limit is not None
        return self.refusal.limit


Form = Callable[[Question], Iterator[Patch]]
"""A question to patches that answer it, the one with the fewest parts first."""


@dataclass(frozen=True)
class Rewrite:
    """One way to write an operator anew; ``text`` is what a person reads about it."""

    text: str
    form: Form


REWRITES: dict[str, list[Rewrite]] = {}
"""Name of the broken rule to what may answer it, in the order of trying."""


def _rewrites(*rules: str) -> Callable[[Form], Form]:
    """Register a form for rules of :mod:`engine.target.rules`, with its docstring as text."""

    def add(form: Form) -> Form:
        rewrite = Rewrite(" ".join((form.__doc__ or "").split()).rstrip("."), form)
        for rule in rules:
            REWRITES.setdefault(rule, []).append(rewrite)
        return form

    return add


# -- convolutions ----------------------------------------------------------------------------------------------


@_rewrites("conv_channels")
def split_conv_channels(question: Question) -> Iterator[Patch]:
    """split it by channels: several convolutions, whose results are added up or concatenated"""
    op = question.node.op
    if not isinstance(op, Conv):
        return
    patch = question.patch()
    outputs, inputs = patch.result.shape[1], patch.shape(0)[1]
    if op.groups > 1:
        yield from _grouped(question, op, parts_for(max(inputs, outputs), question.limit))
        return
    parts = [
        _conv_inputs(patch, op, (first, last), parts_for(inputs, question.limit))
        for first, last in pieces(outputs, parts_for(outputs, question.limit))
    ]
    patch.concat(parts, 1, patch.result.shape)
    yield patch


def _grouped(question: Question, op: Conv, parts: int) -> Iterator[Patch]:
    """Whole groups at a time."""
    if parts > op.groups:
        return
    patch = question.patch()
    source, outputs = patch.shape(0), patch.result.shape[1]
    weight, each, made = patch.shape(1), source[1] // op.groups, outputs // op.groups
    found: list[str] = []
    for first, last in pieces(op.groups, parts):
        rows = slice(first * made, last * made)
        kernel = patch.part_of(patch.input(1), _rows(rows), with_size(weight, 0, (last - first) * made))
        bias = patch.part_of(patch.input(2), _rows(rows), ((last - first) * made,))
        read = patch.slice(patch.input(0), source, 1, first * each, last * each)
        shape = with_size(patch.result.shape, 1, (last - first) * made)
        found.append(patch.add(replace(op, groups=last - first), _given(read, kernel, bias), shape))
    patch.concat(found, 1, patch.result.shape)
    yield patch


def _conv_inputs(patch: Patch, op: Conv, outputs: tuple[int, int], parts: int) -> str:
    """The convolution to some of the output channels, as a sum over parts of the input channels."""
    source, weight = patch.shape(0), patch.shape(1)
    count = outputs[1] - outputs[0]
    shape = with_size(patch.result.shape, 1, count)
    found: list[str] = []
    for first, last in pieces(source[1], parts):
        cut = _block(slice(*outputs), slice(first, last))
        kernel = patch.part_of(patch.input(1), cut, (count, last - first, *weight[2:]))
        bias = patch.part_of(patch.input(2), _rows(slice(*outputs)), (count,)) if not found else ""
        read = patch.slice(patch.input(0), source, 1, first, last)
        found.append(patch.add(op, _given(read, kernel, bias), shape))
    return patch.sum(found, shape)


def _rows(rows: slice) -> Callable[[Array], Array]:
    return lambda array: array[rows]


def _block(rows: slice, columns: slice) -> Callable[[Array], Array]:
    return lambda array: array[rows, columns]


def _given(*inputs: str) -> tuple[str, ...]:
    """Inputs without absent ones at the end."""
    return inputs if inputs[-1] else inputs[:-1]


@_rewrites("conv_kernel")
def split_conv_kernel(question: Question) -> Iterator[Patch]:
    """split its kernel: several smaller convolutions of shifted inputs, whose results are added up"""
    op = question.node.op
    if not isinstance(op, Conv):
        return
    patch = question.patch()
    blocks: list[tuple[tuple[int, int], ...]] = [()]
    for size in patch.shape(1)[2:]:
        blocks = [(*block, piece) for block in blocks for piece in pieces(size, parts_for(size, question.limit))]
    found = [_kernel_part(patch, op, block, patch.input(2) if not index else "") for index, block in enumerate(blocks)]
    if all(found):
        patch.sum(found, patch.result.shape)
        yield patch


def _kernel_part(patch: Patch, op: Conv, block: tuple[tuple[int, int], ...], bias: str) -> str:
    """The convolution with a part of the kernel: its padding is less by what lies in front of and behind the part. ""
    for a part that only ever reads padding."""
    source, weight = patch.shape(0), patch.shape(1)
    axes = len(block)
    begins, ends = list(op.pads[:axes]), list(op.pads[axes:])
    starts, stops = [0] * (2 + axes), list(source)
    for axis, (first, last) in enumerate(block):
        begin = begins[axis] - first * op.dilations[axis]
        end = ends[axis] - (weight[2 + axis] - last) * op.dilations[axis]
        starts[2 + axis], stops[2 + axis] = max(0, -begin), source[2 + axis] - max(0, -end)
        begins[axis], ends[axis] = max(0, begin), max(0, end)
    read = patch.input(0)
    if any(starts) or tuple(stops) != source:
        shape = tuple(stop - start for start, stop in zip(starts, stops, strict=True))
        if min(shape) < 1:
            return ""
        read = patch.add(Slice(tuple(starts), tuple(stops), (1,) * len(source)), (read,), shape)
    place = (slice(None), slice(None), *(slice(*piece) for piece in block))
    sizes = tuple(last - first for first, last in block)
    kernel = patch.part_of(patch.input(1), lambda array: array[place], (*weight[:2], *sizes))
    return patch.add(replace(op, pads=(*begins, *ends)), _given(read, kernel, bias), patch.result.shape)


@_rewrites("accumulator_bits", "proved_sums")
def split_conv_sums(question: Question) -> Iterator[Patch]:
    """split it by input channels: sums of fewer products, which are added up"""
    op = question.node.op
    if not isinstance(op, Conv) or op.groups > 1:
        return
    channels = question.patch().shape(0)[1]
    for parts in range(2, min(channels, _MOST_PARTS) + 1):
        patch = question.patch()
        _conv_inputs(patch, op, (0, patch.result.shape[1]), parts)
        yield patch


# -- linear layers and matrix products -------------------------------------------------------------------------


@_rewrites("linear_features")
def split_linear_features(question: Question) -> Iterator[Patch]:
    """split it by features: several layers, whose results are added up or concatenated"""
    if not isinstance(question.node.op, Linear):
        return
    patch = question.patch()
    outputs, inputs = patch.shape(1)
    parts = [
        _linear_inputs(patch, (first, last), parts_for(inputs, question.limit))
        for first, last in pieces(outputs, parts_for(outputs, question.limit))
    ]
    patch.concat(parts, len(patch.result.shape) - 1, patch.result.shape)
    yield patch


@_rewrites("accumulator_bits", "proved_sums")
def split_linear_sums(question: Question) -> Iterator[Patch]:
    """split it by input features: sums of fewer products, which are added up"""
    if not isinstance(question.node.op, Linear):
        return
    features = question.patch().shape(1)[1]
    for parts in range(2, min(features, _MOST_PARTS) + 1):
        patch = question.patch()
        _linear_inputs(patch, (0, patch.shape(1)[0]), parts)
        yield patch


def _linear_inputs(patch: Patch, outputs: tuple[int, int], parts: int) -> str:
    """The layer to some of the output features, as a sum over parts of the input features."""
    source, count = patch.shape(0), outputs[1] - outputs[0]
    axis = len(source) - 1
    shape = with_size(patch.result.shape, axis, count)
    found: list[str] = []
    for first, last in pieces(source[-1], parts):
        weight = patch.part_of(patch.input(1), _block(slice(*outputs), slice(first, last)), (count, last - first))
        bias = patch.part_of(patch.input(2), _rows(slice(*outputs)), (count,)) if not found else ""
        read = patch.slice(patch.input(0), source, axis, first, last)
        found.append(patch.add(patch.node.op, _given(read, weight, bias), shape))
    return patch.sum(found, shape)


@_rewrites("supported_precision")
def linear_as_convolution(question: Question) -> Iterator[Patch]:
    """write it as a 1x1 convolution over its rows"""
    if not isinstance(question.node.op, Linear):
        return
    patch = question.patch()
    source, (outputs, inputs) = patch.shape(0), patch.shape(1)
    rows = prod(source[:-1])
    flat = patch.add(Reshape((1, rows, 1, inputs)), (patch.input(0),), (1, rows, 1, inputs))
    image = patch.add(Transpose((0, 3, 1, 2)), (flat,), (1, inputs, rows, 1))
    kernel = patch.part_of(patch.input(1), lambda array: array.reshape(outputs, inputs, 1, 1), (outputs, inputs, 1, 1))
    op = Conv((1, 1), (0, 0, 0, 0), (1, 1))
    made = patch.add(op, _given(image, kernel, patch.input(2)), (1, outputs, rows, 1))
    back = patch.add(Transpose((0, 2, 3, 1)), (made,), (1, rows, 1, outputs))
    patch.add(Reshape(patch.result.shape), (back,), patch.result.shape)
    yield patch


@_rewrites("proved_products")
def split_products(question: Question) -> Iterator[Patch]:
    """split it by the inner axis: products of parts, which are added up"""
    if not isinstance(question.node.op, MatMul):
        return
    patch = question.patch()
    left, right = patch.shape(0), patch.shape(1)
    inner = max(len(right) - 2, 0)
    found: list[str] = []
    for first, last in pieces(left[-1], parts_for(left[-1], question.limit)):
        one = patch.slice(patch.input(0), left, len(left) - 1, first, last)
        other = patch.slice(patch.input(1), right, inner, first, last)
        found.append(patch.add(question.node.op, (one, other), patch.result.shape))
    patch.sum(found, patch.result.shape)
    yield patch


# -- normalisation and pooling ---------------------------------------------------------------------------------


@_rewrites("norm_positions")
def split_norm_positions(question: Question) -> Iterator[Patch]:
    """normalise its positions in parts, which are concatenated"""
    op = question.node.op
    assert isinstance(op, LayerNorm | RMSNorm)
    patch = question.patch()
    shape = patch.shape(0)
    axis = max(range(1, len(shape) - op.axes_count), key=shape.__getitem__)
    others = prod(shape[1 : len(shape) - op.axes_count]) // shape[axis]
    parts = parts_for(shape[axis], question.limit / others) if others <= question.limit else shape[axis] + 1
    if parts > shape[axis]:
        return
    found: list[str] = []
    for first, last in pieces(shape[axis], parts):
        read = patch.slice(patch.input(0), shape, axis, first, last)
        found.append(patch.add(op, (read, *question.node.inputs[1:]), with_size(shape, axis, last - first)))
    patch.concat(found, axis, shape)
    yield patch


@_rewrites("proved_windows")
def pool_by_axes(question: Question) -> Iterator[Patch]:
    """pool one axis after the other"""
    op = question.node.op
    assert isinstance(op, AveragePool)
    if any(op.pads) or len(op.kernel) < 2:
        return  # the mean of means is the mean only where all windows are whole
    patch = question.patch()
    shape, read = patch.shape(0), patch.input(0)
    for axis in range(len(op.kernel)):
        alone = tuple(size if place == axis else 1 for place, size in enumerate(op.kernel))
        strides = tuple(stride if place == axis else 1 for place, stride in enumerate(op.strides))
        shape = with_size(shape, 2 + axis, patch.result.shape[2 + axis])
        read = patch.add(replace(op, kernel=alone, strides=strides), (read,), shape)
    yield patch
