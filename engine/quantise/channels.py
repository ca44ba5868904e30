"""Which channels of a graph can be scaled without changing what it computes.

Every element of every value carries a *label*. Elements of one label can be multiplied by one positive factor: the
constants that make them (a convolution's weights and bias, the weight of a norm) take the factor, those that read them
(the next convolution's weights) its reciprocal, and everything between lets it through: functions with f(s x) = s f(x)
for s > 0, data movement, sums of values that carry the same labels. Label 0 stands for what must stay as it is.

This is cross-layer equalisation (Nagel et al. 2019, arXiv:1906.04721, section 4.1) without a list of pairs of layers:
residual additions, concatenations, grouped and depthwise convolutions, attention's values and SmoothQuant's norms
(Xiao et al. 2022, arXiv:2211.10438) all are labels that are tied or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from engine.graph.graph import Graph, Node
from engine.ops.base import Behaviour
from engine.ops.elementwise import (
    Add,
    Affine,
    Clip,
    Div,
    LeakyRelu,
    Maximum,
    Minimum,
    Mul,
    PRelu,
    Relu,
    Sub,
)
from engine.ops.float_kernels import run_node, to_torch
from engine.ops.layout import Layout, Pad
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.logic import Cast
from engine.ops.reduce import (
    AveragePool,
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MaxPool,
    Pool,
    ReduceL1,
    ReduceL2,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceSum,
    Reduction,
    Resize,
    RMSNorm,
)

Labels = NDArray[np.int64]
"""Labels of a value's elements, of its rank; an axis along which they do not change has size 1."""

Peaks = Mapping[str, NDArray[np.float64]]
"""The largest value of each channel [1, C, 1, ...] by value name."""

FIXED = 0
"""The label of what must stay as it is."""

_KEPT: Labels = np.zeros((), np.int64)

_PADDING = -1
"""Zeros that were added around a value: right under any factor."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where factors enter a constant: it is multiplied by ``factor[labels]``, or divided where ``is_read``.

    ``labels`` broadcast to the constant; ``node`` is the node whose operand it is.
    """

    constant: str
    node: str
    labels: Labels
    is_read: bool


@dataclass(frozen=True, eq=False)
class Channels:
    """The labels of a graph.

    ``of`` has those of every value with a free one; ``most`` the largest factor of each label [count], infinite unless
    a Clip limits it. Labels are numbered from 1; 0 is :data:`FIXED`.
    """

    count: int
    of: Mapping[str, Labels]
    places: tuple[Place, ...]
    most: NDArray[np.float64]

    @property
    def constants(self) -> Mapping[str, tuple[Place, ...]]:
        """The places of each constant that factors can enter."""
        found: dict[str, list[Place]] = {}
        for place in self.places:
            if place.labels.any():
                found.setdefault(place.constant, []).append(place)
        return {name: tuple(places) for name, places in found.items()}

    def rescaled(self, graph: Graph, factors: NDArray[np.float64]) -> Mapping[str, NDArray[np.generic]]:
        """The constants that change when label i is multiplied by ``factors[i]`` [count]; ``factors[0]`` is 1.

        Computed in float64, returned in each constant's own type: the function is the same to its rounding, and exactly
        the same where all factors are powers of two.
        """
        changed: dict[str, NDArray[np.generic]] = {}
        for name, places in self.constants.items():
            array = graph.constants[name].once()
            values = np.asarray(array, np.float64)
            for place in places:
                factor = factors[place.labels]
                values = values / factor if place.is_read else values * factor
            if any((factors[place.labels] != 1.0).any() for place in places):
                changed[name] = values.astype(array.dtype)
                changed[name].flags.writeable = False
        return MappingProxyType(changed)

    def components(self) -> NDArray[np.int64]:
        """A number for each label [count] such that labels which share a value have the same one; that of 0 is 0."""
        union = _Union(self.count)
        for labels in self.of.values():
            free = np.unique(labels[labels != FIXED])
            union.tie(free[1:], np.broadcast_to(free[:1], free[1:].shape))
        roots = union.root(np.arange(self.count))
        roots[FIXED] = FIXED
        return roots


def find_channels(graph: Graph, peaks: Peaks | None = None, margin: float = 1.5) -> Channels:
    """The labels of a graph.

    ``peaks`` has those of the values in front of Clips. Where they are known, channels that stay ``margin`` times below
    the upper bound can be scaled, up to that; all others of a Clip with bounds are fixed.
    """
    return _Finder(graph, peaks or {}, margin).run()


class _Union:
    """Sets of labels; the smallest of a set stands for it, so what is tied to 0 is 0."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._parent)

    def grow(self, count: int) -> Labels:
        """New labels [count]."""
        fresh = np.arange(len(self._parent), len(self._parent) + count, dtype=np.int64)
        self._parent = np.concatenate([self._parent, fresh])
        return fresh

    def root(self, labels: Labels) -> Labels:
        """What stands for each label; padding stays padding."""
        found = np.where(labels == _PADDING, 0, labels)
        while True:
            above = self._parent[found]
            if (above == found).all():
                return np.where(labels == _PADDING, _PADDING, found)
            found = self._parent[above]

    def tie(self, a: Labels, b: Labels) -> None:
        """Make labels equal, elementwise with broadcasting."""
        a, b = np.broadcast_arrays(a, b)
        pairs = np.stack([a.reshape(-1), b.reshape(-1)], axis=1)
        pairs = pairs[(pairs != _PADDING).all(axis=1)]
        for one, other in np.unique(pairs, axis=0).tolist():
            low, high = sorted((self._find(one), self._find(other)))
            self._parent[high] = low

    def _find(self, label: int) -> int:
        while (above := int(self._parent[label])) != label:
            self._parent[label] = label = int(self._parent[above])
        return label


class _Finder:
    """Walks the graph once in order, tying labels; what they end up as is known behind the last node."""

    def __init__(self, graph: Graph, peaks: Peaks, margin: float) -> None:
        self.graph = graph
        self.peaks = peaks
        self.margin = margin
        self.union = _Union(1)
        self.labels: dict[str, Labels] = {}
        self.places: list[Place] = []
        self.limits: list[tuple[Labels, NDArray[np.float64]]] = []

    def run(self) -> Channels:
        for node in self.graph.nodes:
            rule = CHANNELS.find(node.op)
            outputs = None if rule is None else rule(Scope(self, node))
            if outputs is None:
                self.fix(node)
            else:
                for value, labels in zip(node.outputs, outputs, strict=False):
                    if value:
                        self.labels[value] = labels
        for value in self.graph.outputs:
            self.union.tie(self.of(value), _KEPT)
        self._fix_shared_constants()
        return self._numbered()

    def of(self, value: str) -> Labels:
        """The labels of a value; all 0 where nothing is known of it."""
        found = self.labels.get(value)
        return np.zeros((1,) * len(self.graph.types[value].shape), np.int64) if found is None else found

    def fix(self, node: Node) -> None:
        """Leave everything around a node as it is."""
        for value in node.inputs:
            if value and value not in self.graph.constants:
                self.union.tie(self.of(value), _KEPT)

    def _fix_shared_constants(self) -> None:
        """A constant that several operands are takes no factor: each would want its own."""
        uses: dict[str, int] = {}
        for node in self.graph.nodes:
            for value in node.inputs:
                if value in self.graph.constants:
                    uses[value] = uses.get(value, 0) + 1
        for place in self.places:
            if uses[place.constant] > 1 or place.constant in self.graph.outputs:
                self.union.tie(place.labels, _KEPT)

    def _numbered(self) -> Channels:
        """Labels numbered without gaps, of those that some constant makes and none but constants read."""
        roots = self.union.root(np.arange(len(self.union)))
        kept, numbers = np.unique(roots, return_inverse=True)
        most = np.full(len(kept), np.inf)
        for labels, limit in self.limits:
            np.minimum.at(most, numbers[np.broadcast_to(labels, limit.shape)], limit)

        def renumbered(labels: Labels) -> Labels:
            return numbers[np.where(labels == _PADDING, FIXED, labels)]

        places = tuple(replace(place, labels=renumbered(place.labels)) for place in self.places)
        named = {value: _shrunk(renumbered(labels)) for value, labels in self.labels.items()}
        free = {value: labels for value, labels in named.items() if labels.any()}
        return Channels(len(kept), MappingProxyType(free), places, most)


@dataclass(frozen=True, eq=False)
class Scope:
    """What a rule sees: one node, the labels in front of it, and what it can say about them."""

    finder: _Finder
    node: Node

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of an operand."""
        return self.finder.graph.types[self.node.inputs[index]].shape

    def result_shape(self) -> tuple[int, ...]:
        return self.finder.graph.types[self.node.outputs[0]].shape

    def has(self, index: int) -> bool:
        """Whether the operand is there."""
        return len(self.node.inputs) > index and bool(self.node.inputs[index])

    def is_constant(self, index: int) -> bool:
        return self.has(index) and self.node.inputs[index] in self.finder.graph.constants

    def labels(self, index: int) -> Labels:
        """Labels of an operand that is no constant."""
        return self.finder.union.root(self.finder.of(self.node.inputs[index]))

    def is_fixed(self, index: int) -> bool:
        return not self.labels(index).any()

    def fix(self, labels: Labels) -> None:
        self.tie(labels, _KEPT)

    def tie(self, a: Labels, b: Labels) -> None:
        self.finder.union.tie(a, b)

    def fresh(self, count: int) -> Labels:
        """New labels [count]."""
        return self.finder.union.grow(count)

    def along(self, labels: Labels, axes: Iterable[int]) -> Labels:
        """The labels, made equal along all axes but ``axes``."""
        kept = set(axes)
        return self.equal(labels, [axis for axis in range(labels.ndim) if axis not in kept])

    def equal(self, labels: Labels, axes: Iterable[int]) -> Labels:
        """The labels, made equal along ``axes``."""
        for axis in axes:
            if labels.shape[axis] > 1:
                first = np.take(labels, [0], axis)
                self.tie(labels, first)
                labels = first
        return self.finder.union.root(labels)

    def made(self, index: int, labels: Labels) -> None:
        """A constant operand is multiplied by the factors; ``labels`` are made to broadcast to it."""
        self._place(index, labels, is_read=False)

    def read(self, index: int, labels: Labels) -> None:
        """A constant operand is divided by the factors."""
        self._place(index, labels, is_read=True)

    def _place(self, index: int, labels: Labels, *, is_read: bool) -> None:
        shape = self.shape(index)
        labels = labels.reshape((1,) * (len(shape) - labels.ndim) + labels.shape)
        extra = labels.ndim - len(shape)
        labels = self.equal(labels, range(extra)).reshape(labels.shape[extra:])
        labels = self.equal(labels, [axis for axis, size in enumerate(shape) if size == 1])
        kind = self.finder.graph.types[self.node.inputs[index]].dtype
        if kind not in ("float32", "float64"):
            self.fix(labels)
        self.finder.places.append(Place(self.node.inputs[index], self.node.id, labels, is_read))


Rule = Callable[[Scope], Sequence[Labels] | None]
"""The labels of a node's outputs; None where everything around the node must stay as it is."""

CHANNELS: Behaviour[Rule] = Behaviour("channels")


def _shrunk(labels: Labels) -> Labels:
    """The labels with size 1 along every axis along which they do not change; padding takes what stands beside it."""
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1:
            largest = labels.max(axis=axis, keepdims=True)
            if ((labels == largest) | (labels == _PADDING)).all():
                labels = largest
    return labels


@CHANNELS.register(Relu, LeakyRelu)
def _homogeneous(scope: Scope) -> Sequence[Labels] | None:
    return (scope.labels(0),)


@CHANNELS.register(Affine)
def _affine(scope: Scope) -> Sequence[Labels] | None:
    op = scope.node.op
    assert isinstance(op, Affine)
    return (scope.labels(0),) if op.offset == 0.0 else None


@CHANNELS.register(Cast)
def _cast(scope: Scope) -> Sequence[Labels] | None:
    op = scope.node.op
    assert isinstance(op, Cast)
    return (scope.labels(0),) if op.between_floats else None


@CHANNELS.register(Clip)
def _clip(scope: Scope) -> Sequence[Labels] | None:
    """A clip at 0 alone is a Relu. One with an upper bound lets a factor through as long as nothing reaches it."""
    op = scope.node.op
    assert isinstance(op, Clip)
    if op.low not in (0.0, -np.inf):
        return None
    if np.isinf(op.high):
        return (scope.labels(0),)
    peaks = scope.finder.peaks.get(scope.node.inputs[0])
    if peaks is None or op.high <= 0.0:
        return None
    labels = np.broadcast_to(scope.labels(0), np.broadcast_shapes(scope.labels(0).shape, peaks.shape))
    room = op.high / (scope.finder.margin * np.maximum(peaks, np.finfo(np.float32).tiny))
    tight = np.broadcast_to(room < 1.0, labels.shape)
    scope.fix(labels[tight])
    scope.finder.limits.append((labels, np.maximum(np.broadcast_to(room, labels.shape), 1.0)))
    return (scope.labels(0),)


@CHANNELS.register(PRelu)
def _prelu(scope: Scope) -> Sequence[Labels] | None:
    return (scope.labels(0),) if scope.is_constant(1) else None


@CHANNELS.register(Add, Sub, Minimum, Maximum)
def _sum(scope: Scope) -> Sequence[Labels] | None:
    """Operands carry the same labels; a constant takes the factors itself."""
    rank = len(scope.result_shape())
    known = [index for index in range(2) if not scope.is_constant(index)]
    if not known:
        return None
    operands = [scope.labels(index) for index in known]
    operands = [labels.reshape((1,) * (rank - labels.ndim) + labels.shape) for labels in operands]
    if len(operands) > 1:
        scope.tie(operands[0], operands[1])
    result = np.broadcast_to(operands[0], np.broadcast_shapes(*(labels.shape for labels in operands)))
    for index in {0, 1} - set(known):
        scope.made(index, result)
    return (scope.finder.union.root(result),)


@CHANNELS.register(Mul)
def _product(scope: Scope) -> Sequence[Labels] | None:
    """One operand lets factors through, the other (the smaller one, a gate) stays as it is."""
    rank = len(scope.result_shape())
    known = [index for index in range(2) if not scope.is_constant(index)]
    if not known:
        return None
    sizes = [int(np.prod(scope.shape(index))) for index in known]
    carrier = max(range(len(known)), key=lambda at: (not scope.is_fixed(known[at]), sizes[at], -at))
    for at, index in enumerate(known):
        if at != carrier:
            scope.fix(scope.labels(index))
    labels = scope.labels(known[carrier])
    return (labels.reshape((1,) * (rank - labels.ndim) + labels.shape),)


@CHANNELS.register(Div)
def _quotient(scope: Scope) -> Sequence[Labels] | None:
    if scope.is_constant(0):
        return None
    if not scope.is_constant(1):
        scope.fix(scope.labels(1))
    labels = scope.labels(0)
    return (labels.reshape((1,) * (len(scope.result_shape()) - labels.ndim) + labels.shape),)


@CHANNELS.register(Conv)
def _conv(scope: Scope) -> Sequence[Labels] | None:
    op = scope.node.op
    assert isinstance(op, Conv)
    if not scope.is_constant(1):
        return None
    outputs, per_group, *kernel = scope.shape(1)
    channels = _channels(scope, 1, per_group * op.groups)
    group = np.arange(outputs)[:, None] * op.groups // outputs
    ones = (1,) * len(kernel)
    read = channels[group * per_group + np.arange(per_group)].reshape(outputs, per_group, *ones)
    return _multiplied(scope, read, outputs, axis=1, output_shape=(outputs, 1, *ones))


@CHANNELS.register(ConvTranspose)
def _conv_transpose(scope: Scope) -> Sequence[Labels] | None:
    op = scope.node.op
    assert isinstance(op, ConvTranspose)
    if not scope.is_constant(1):
        return None
    inputs, per_group, *kernel = scope.shape(1)
    outputs, ones = per_group * op.groups, (1,) * len(kernel)
    channels = _channels(scope, 1, inputs)
    scope.read(1, channels.reshape(inputs, 1, *ones))
    made = scope.fresh(outputs)
    group = np.arange(inputs)[:, None] * op.groups // inputs
    scope.made(1, made[group * per_group + np.arange(per_group)].reshape(inputs, per_group, *ones))
    return _biased(scope, made, axis=1)


@CHANNELS.register(Linear)
def _linear(scope: Scope) -> Sequence[Labels] | None:
    outputs, inputs = scope.shape(1)
    last = len(scope.shape(0)) - 1
    return _multiplied(scope, _channels(scope, last, inputs)[None, :], outputs, axis=last, output_shape=(outputs, 1))


def _channels(scope: Scope, axis: int, count: int) -> Labels:
    """The labels of the first operand along an axis [count], made equal along all others."""
    labels = scope.along(scope.labels(0), [axis])
    return np.broadcast_to(labels.reshape(-1), (count,))


def _multiplied(
    scope: Scope, read: Labels, outputs: int, *, axis: int, output_shape: tuple[int, ...]
) -> Sequence[Labels]:
    scope.read(1, read)
    made = scope.fresh(outputs)
    scope.made(1, made.reshape(output_shape))
    return _biased(scope, made, axis=axis)


def _biased(scope: Scope, made: Labels, *, axis: int) -> Sequence[Labels]:
    """The output's labels, which the bias takes too."""
    if scope.has(2):
        if scope.is_constant(2):
            scope.made(2, made)
        else:
            scope.fix(made)
    rank = len(scope.result_shape())
    return (made.reshape(*(1,) * axis, -1, *(1,) * (rank - axis - 1)),)


@CHANNELS.register(BatchNorm)
def _batch_norm(scope: Scope) -> Sequence[Labels] | None:
    count = scope.shape(1)[0]
    scope.read(1, _channels(scope, 1, count))
    made = scope.fresh(count)
    scope.made(1, made)
    return _biased(scope, made, axis=1)


@CHANNELS.register(LayerNorm, RMSNorm)
def _norm(scope: Scope) -> Sequence[Labels] | None:
    """What comes in has its scale taken away and must stay; what goes out is the weight's."""
    scope.fix(scope.labels(0))
    if not scope.is_constant(1):
        return _left(scope)
    shape = scope.shape(1)
    made = scope.fresh(int(np.prod(shape))).reshape(shape)
    scope.made(1, made)
    if scope.has(2):
        if not scope.is_constant(2):
            return _left(scope)
        scope.made(2, made)
    rank = len(scope.result_shape())
    return (made.reshape((1,) * (rank - made.ndim) + made.shape),)


@CHANNELS.register(InstanceNorm, GroupNorm)
def _group_norm(scope: Scope) -> Sequence[Labels] | None:
    scope.fix(scope.labels(0))
    if not scope.is_constant(1) or not scope.is_constant(2):
        return _left(scope)
    made = scope.fresh(scope.shape(1)[0])
    scope.made(1, made)
    return _biased(scope, made, axis=1)


def _left(scope: Scope) -> Sequence[Labels]:
    return (np.zeros((1,) * len(scope.result_shape()), np.int64),)


@CHANNELS.register(MatMul)
def _matrix_product(scope: Scope) -> Sequence[Labels] | None:
    """Attention's values pass through: columns of b where a stays as it is, rows of a where b does."""
    if scope.is_constant(0) or scope.is_constant(1) or min(len(scope.shape(0)), len(scope.shape(1))) < 2:
        return None
    carrier = 1 if scope.is_fixed(0) or not scope.is_fixed(1) else 0
    scope.fix(scope.labels(1 - carrier))
    labels = scope.labels(carrier)
    summed = labels.ndim - (2 if carrier == 1 else 1)
    labels = scope.equal(labels, [summed])
    return (labels.reshape((1,) * (len(scope.result_shape()) - labels.ndim) + labels.shape),)


@CHANNELS.register(MaxPool, AveragePool)
def _pool(scope: Scope) -> Sequence[Labels] | None:
    op = scope.node.op
    assert isinstance(op, Pool)
    return (scope.along(scope.labels(0), [0, 1]),)


@CHANNELS.register(Resize)
def _resize(scope: Scope) -> Sequence[Labels] | None:
    return (scope.along(scope.labels(0), [0, 1]),)


@CHANNELS.register(ReduceMean, ReduceSum, ReduceMax, ReduceMin, ReduceL1, ReduceL2)
def _reduction(scope: Scope) -> Sequence[Labels] | None:
    op = scope.node.op
    assert isinstance(op, Reduction)
    labels = scope.equal(scope.labels(0), op.axes)
    return (labels if op.keepdims else labels.squeeze(axis=tuple(op.axes)),)


@CHANNELS.register(Layout)
def _layout(scope: Scope) -> Sequence[Labels] | None:
    """Labels move as the elements do. Zeros around a value are right under any factor, other padding fixes it."""
    op = scope.node.op
    if isinstance(op, Pad) and op.mode == "constant" and op.value != 0.0:
        return None
    operands = [_operand(scope, index) for index in range(len(scope.node.inputs))]
    if not any(labels.any() for labels in operands):
        shapes = [scope.finder.graph.types[value].shape for value in scope.node.outputs]
        return [np.zeros((1,) * len(shape), np.int64) for shape in shapes]
    full = [np.ascontiguousarray(np.broadcast_to(labels, scope.shape(i))) + 1 for i, labels in enumerate(operands)]
    moved = run_node(op, [to_torch(labels) for labels in full])
    return [_shrunk(_as_labels(labels) - 1) for labels in moved]


def _operand(scope: Scope, index: int) -> Labels:
    """The labels of an operand of data movement: a constant's are new, for whatever it is moved beside."""
    if not scope.is_constant(index):
        return scope.labels(index)
    shape = scope.shape(index)
    labels = scope.fresh(int(np.prod(shape))).reshape(shape)
    scope.made(index, labels)
    return labels


def _as_labels(moved: torch.Tensor) -> Labels:
    return np.asarray(moved.numpy(), np.int64)
