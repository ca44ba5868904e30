"""What a target computes: precisions by operator, and limits.

Each limit is a small function whose docstring is the user's text. "Why not?" is a return value:
:func:`check_node` gives the broken rule with what was measured, the limit, and what to do instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from engine.graph.graph import Constant, Graph, Node
from engine.ops.base import Op
from engine.ops.elementwise import Ceil, Floor, ModScalar, Round, Shrink, Sign, ThresholdedRelu, Unary
from engine.ops.layout import Transpose
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.other import OnnxOp
from engine.ops.reduce import (
    AveragePool,
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    RMSNorm,
    Softmax,
)
from engine.precision import Precision
from engine.target.operators import names_of
from engine.target.relations import tile_room_bytes
from engine.target.smallest_tile import TileCase, smallest_tile_bytes
from engine.target.target import Target, exact_limit
from engine.target.values import foreign_value

_INT8_MAX = 127
_PIECE_ELEMENTS = 1 << 20
"""Weights looked at together, which bounds the memory that it takes."""
_INT16_MAX = 32767
_LONGEST_PRODUCT = (2**47 - 1) // _INT16_MAX**2


@dataclass(frozen=True)
class Refusal:
    """Why a target does not compute a node in a precision.

    ``measured`` and ``limit`` are the numbers that the rule compared (None where it compares none),
    ``message`` is one line with both, ``advice`` what to do instead.
    """

    rule: str
    message: str
    measured: float | None
    limit: float | None
    advice: str


@dataclass(frozen=True)
class Case:
    """The question a rule answers: this node, in this (integer) precision, on this target."""

    graph: Graph
    node: Node
    precision: Precision
    target: Target

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of an input."""
        return self.graph.types[self.node.inputs[index]].shape


RuleCheck = Callable[[Case], Refusal | None]


@dataclass(frozen=True)
class Rule:
    """One limit: ``text`` is what a person reads about it, ``classes`` the operators it concerns."""

    name: str
    text: str
    classes: tuple[type[Op], ...]
    check: RuleCheck


RULES: dict[str, Rule] = {}
"""Rules by name, in the order in which they are asked."""


def _rule(*classes: type[Op]) -> Callable[[RuleCheck], RuleCheck]:
    """Register a check under its function's name, with its docstring as text."""

    def add(check: RuleCheck) -> RuleCheck:
        name = check.__name__
        RULES[name] = Rule(name, " ".join((check.__doc__ or "").split()), classes, check)
        return check

    return add


def allowed(op: Op, target: Target, has_integer_form: Callable[[Op], bool] | None = None) -> tuple[Precision, ...]:
    """Precisions in which the target computes an operator, in order of preference: the first is what ``auto``
    means.

    ``float`` (the CPU) is always the last of them. ``has_integer_form`` says whether a program can express
    the operator in integers; without it, only the target's own abilities count.
    """
    if isinstance(op, OnnxOp) or (has_integer_form is not None and not has_integer_form(op)):
        return (Precision.FLOAT,)
    for name in names_of(type(op)):
        capability = target.operators.get(name)
        if capability is not None:
            return (*capability.precisions, Precision.FLOAT)
    return (Precision.FLOAT,)


def check_node(graph: Graph, node: Node, precision: Precision, target: Target) -> Refusal | None:
    """The first rule of the target that forbids the node in this precision, or None. ``float`` is never
    refused.
    """
    if precision is Precision.FLOAT:
        return None
    case = Case(graph, node, precision, target)
    for rule in _rules_of(type(node.op)):
        refusal = rule.check(case)
        if refusal is not None:
            return refusal
    return None


def check_graph(graph: Graph, target: Target) -> Iterator[tuple[Node, Refusal]]:
    """Every node that the target cannot compute in any integer precision, with the rule that its first choice
    breaks.
    """
    for node in graph.nodes:
        offered = [p for p in allowed(node.op, target) if p is not Precision.FLOAT]
        refusals = [check_node(graph, node, p, target) for p in offered or [Precision.INT8]]
        if all(refusals) and refusals[0] is not None:
            yield node, refusals[0]


@lru_cache(maxsize=512)
def _rules_of(cls: type[Op]) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES.values() if issubclass(cls, rule.classes))


def _above(name: str, what: str, measured: float, limit: float, target: Target, advice: str) -> Refusal | None:
    """The refusal if ``measured`` exceeds ``limit``; ``what`` is the subject of the message with its verb."""
    if measured <= limit:
        return None
    return Refusal(name, f"{what} {measured:,.0f}; {target.name} allows at most {limit:,.0f}", measured, limit, advice)


@_rule(Op)
def float_values(case: Case) -> Refusal | None:
    """Floating-point values are quantised. Truth values, int32 and indices keep their type, and are computed only by
    operators that decide, select or move.
    """
    message = foreign_value(case.graph, case.node)
    return Refusal("float_values", message, None, None, "leave it on the CPU") if message else None


@_rule(Op)
def supported_precision(case: Case) -> Refusal | None:
    """An operator is computed only in the precisions that the target lists for it."""
    offered = [p for p in allowed(case.node.op, case.target) if p is not Precision.FLOAT]
    if case.precision in offered:
        return None
    name = case.node.op.type_name
    if not offered:
        message, advice = f"{case.target.name} has no unit for {name}", "leave it on the CPU (float)"
    elif case.precision is Precision.LUT and not isinstance(case.node.op, Unary):
        message = f"{name} is not an elementwise function of one tensor, so no table computes it"
        advice = f"choose {' or '.join(offered)}"
    else:
        message = f"{case.target.name} computes {name} in {' or '.join(offered)} only, not in {case.precision}"
        advice = f"choose {' or '.join(offered)}"
    return Refusal("supported_precision", message, None, None, advice)


@_rule(Conv, ConvTranspose, Linear, LayerNorm, RMSNorm, InstanceNorm, GroupNorm, BatchNorm)
def constant_weights(case: Case) -> Refusal | None:
    """The weights of a layer and of a normalisation are constants."""
    names = case.node.inputs[1:]
    computed = [name for name in names if name and name not in case.graph.constants]
    if not computed:
        return None
    message = f"the weights of {case.node.op.type_name} are computed ('{computed[0]}'), which only the CPU takes"
    return Refusal("constant_weights", message, None, None, "fold them into constants, or leave it on the CPU (float)")


@_rule(Conv, ConvTranspose)
def conv_channels(case: Case) -> Refusal | None:
    """A convolution has a limited number of input and of output channels."""
    channels = max(case.shape(0)[1], case.graph.types[case.node.outputs[0]].shape[1])
    limit = exact_limit(case.target.limits.conv_channels)
    advice = "split the convolution by channels, or leave it on the CPU (float)"
    return _above("conv_channels", "the convolution's channels are", channels, limit, case.target, advice)


@_rule(Conv, ConvTranspose)
def conv_kernel(case: Case) -> Refusal | None:
    """A convolution's kernel has a limited size along each axis."""
    size = max(case.shape(1)[2:], default=1)
    limit = exact_limit(case.target.limits.conv_kernel)
    advice = "replace it by several smaller kernels, or leave it on the CPU (float)"
    return _above("conv_kernel", "the convolution's kernel size is", size, limit, case.target, advice)


@_rule(Conv, ConvTranspose)
def conv_spatial_axes(case: Case) -> Refusal | None:
    """A convolution has a limited number of spatial axes."""
    axes = len(case.shape(0)) - 2
    limit = exact_limit(case.target.limits.conv_spatial_axes)
    advice = "write it as two-dimensional convolutions, or leave it on the CPU (float)"
    return _above("conv_spatial_axes", "the convolution's spatial axes are", axes, limit, case.target, advice)


@_rule(Linear)
def linear_features(case: Case) -> Refusal | None:
    """A fully connected layer has a limited number of input and of output features."""
    limit = exact_limit(case.target.limits.linear_features)
    features = max(case.shape(1))
    advice = "split the layer by features, or leave it on the CPU (float)"
    return _above("linear_features", "the layer's features are", features, limit, case.target, advice)


@_rule(LayerNorm, RMSNorm)
def norm_positions(case: Case) -> Refusal | None:
    """A normalisation runs over a limited number of positions (H·W) in each sample.

    Positions are the product of the axes between the first and the normalised ones.
    """
    op = case.node.op
    assert isinstance(op, LayerNorm | RMSNorm)
    shape = case.shape(0)
    positions = prod(shape[1 : max(1, len(shape) - op.axes_count)])
    limit = exact_limit(case.target.limits.norm_positions)
    advice = "normalise the tensor in parts, or leave it on the CPU (float)"
    return _above("norm_positions", "the normalised positions (H·W) are", positions, limit, case.target, advice)


@_rule(Conv, ConvTranspose, Linear, MatMul, Softmax, LogSoftmax, LayerNorm, RMSNorm)
def smallest_tile(case: Case) -> Refusal | None:
    """At least one tile of an operator fits the on-chip memory that is kept for tiles: of a product, one position with
    the channels that the array takes at once; of a softmax or a normalisation, one whole row.
    """
    shapes = [case.graph.types[value].shape for value in case.node.inputs if value]
    width = 2 if case.precision is Precision.INT16 else 1
    measured = smallest_tile_bytes(TileCase(case.node.op, shapes, width, case.target.mac))
    limit = tile_room_bytes(case.target)
    if measured <= limit:
        return None
    message = f"its smallest tile takes {measured:,} B; {case.target.name} keeps {limit:,} B on the chip for tiles"
    advice = "compute it in parts, or leave it on the CPU (float)"
    return Refusal("smallest_tile", message, measured, limit, advice)


@_rule(Ceil, Floor, ModScalar, Round, Shrink, Sign, ThresholdedRelu)
def continuous_tables(case: Case) -> Refusal | None:
    """A table of int16 values holds a function without jumps.

    It has an entry for every 128th value and interpolates between them, which makes a ramp of a jump; a table of int8
    values has an entry for each.
    """
    if case.precision is not Precision.INT16:
        return None
    message = f"{case.node.op.type_name} jumps, and an int16 table would interpolate across its jumps"
    return Refusal("continuous_tables", message, None, None, "ask for lut (int8), or leave it on the CPU (float)")


@_rule(Transpose)
def batch_transposes(case: Case) -> Refusal | None:
    """A transpose leaves the batch axis N in its place.

    N is the first axis where it has the batch's size; with a batch of 1 nothing moves. Windows or heads
    folded into the first axis make it another axis.
    """
    op = case.node.op
    assert isinstance(op, Transpose)
    limits = case.target.limits
    batch = _batch_size(case.graph)
    moves = batch > 1 and case.shape(0)[:1] == (batch,) and op.perm[0] != 0
    if limits.batch_transposes is None or not moves:
        return None
    message = f"the transpose moves the batch axis N of {batch} samples (perm {list(op.perm)}); "
    message += f"{case.target.name} transposes only within a sample"
    advice = "open the model with a batch of 1, or keep axis 0 first"
    return Refusal("batch_transposes", message, 1, limits.batch_transposes.value, advice)


@_rule(Conv, ConvTranspose, Linear)
def accumulator_bits(case: Case) -> Refusal | None:
    """The sum of an int16 layer, for the worst input, fits the accumulator.

    Its bound is 32767 · sum |w_q| of the output channel with the largest sum, with w_q the int8 weights.
    """
    bits = case.target.limits.accumulator_bits
    if bits is None or case.precision is not Precision.INT16:
        return None
    weight = case.graph.constants.get(case.node.inputs[1])
    if weight is None:
        return None
    worst, limit = _worst_weight_sum(case.node.op, weight) * _INT16_MAX, 2.0 ** (bits.value - 1) - 1
    advice = "choose int8, or split the layer by input channels"
    what = f"the worst int16 sum needs {np.log2(max(worst, 1.0)) + 1:.1f} bits:"
    return _above("accumulator_bits", what, worst, limit, case.target, advice)


@_rule(Conv, ConvTranspose, Linear)
def proved_sums(case: Case) -> Refusal | None:
    """The sum of an int8 layer fits its accumulator of 32 bits for every input, and leaves half of it to the bias.

    Its bound is 127 · sum |w_q| of the output channel with the largest sum, with w_q the int8 weights. A layer of int16
    outputs may have an int8 input, so that it is asked too.
    """
    weight, limit = case.graph.constants.get(case.node.inputs[1]), 2.0**30 - 1
    if weight is None or _taps(case.node.op, case.shape(1)) * _INT8_MAX**2 <= limit:
        return None  # whatever the weights are, which are then not read
    worst = _worst_weight_sum(case.node.op, weight) * _INT8_MAX
    what = "the worst sum of int8 products, for which the bias leaves half of 32 bits, is"
    return _unproved("proved_sums", what, worst, limit, "split the layer by input channels")


def _taps(op: Op, shape: tuple[int, ...]) -> int:
    """How many products one output of a layer adds up, by its weight's shape."""
    if isinstance(op, ConvTranspose):
        return prod(shape) // (op.groups * shape[1])
    return prod(shape[1:])


@_rule(MatMul)
def proved_products(case: Case) -> Refusal | None:
    """The sum of a matrix product fits its accumulator for every input, by its length alone.

    48 bits hold 131,080 products of two int16 values, 32 bits a few more of two int8 values.
    """
    what, advice = "the products that one output adds up are", "split the product by its inner axis"
    return _unproved("proved_products", what, case.shape(0)[-1], _LONGEST_PRODUCT, advice)


@_rule(AveragePool)
def proved_windows(case: Case) -> Refusal | None:
    """The sum of a pooling window fits 32 bits for every input."""
    assert isinstance(case.node.op, AveragePool)
    limit = (2**31 - 1) // (_INT16_MAX if case.precision is Precision.INT16 else _INT8_MAX)
    elements = prod(case.node.op.kernel)
    return _unproved("proved_windows", "the window's elements are", elements, limit, "pool in two steps")


def _unproved(name: str, what: str, measured: float, limit: float, advice: str) -> Refusal | None:
    """The refusal of what no accumulator is proved to hold, whatever the target."""
    if measured <= limit:
        return None
    message = f"{what} {measured:,.0f}; without overflow it is at most {limit:,.0f}"
    return Refusal(name, message, measured, limit, f"{advice}, or leave it on the CPU (float)")


_WORST_SUMS: WeakKeyDictionary[Constant, float] = WeakKeyDictionary()
"""Memo of :func:`_worst_weight_sum`, which reads all of a weight; it keeps no weight alive."""


def _worst_weight_sum(op: Op, weight: Constant) -> float:
    """Largest sum of |w_q| over output channels, int8 per channel, rounded to nearest."""
    known = _WORST_SUMS.get(weight)
    if known is None:
        known = _WORST_SUMS[weight] = _weight_sum(_rows(op, weight))
    return known


def _rows(op: Op, weight: Constant) -> NDArray[np.float32]:
    """The weights that one output adds up, a row an output channel: [O, ...] or, transposed, [C, O/groups, ...]."""
    array = np.asarray(weight.once(), dtype=np.float32)
    if not isinstance(op, ConvTranspose):
        return array.reshape(len(array), -1)
    channels, outputs = array.shape[:2]
    grouped = array.reshape(op.groups, channels // op.groups, outputs, -1)
    return grouped.transpose(0, 2, 1, 3).reshape(op.groups * outputs, -1)


def _weight_sum(weights: NDArray[np.float32]) -> float:
    step = max(1, _PIECE_ELEMENTS // max(1, weights.shape[1]))
    return max((_worst_of(weights[start : start + step]) for start in range(0, len(weights), step)), default=0.0)


def _worst_of(weights: NDArray[np.float32]) -> float:
    rows = np.abs(weights)
    peaks = rows.max(axis=1, keepdims=True, initial=0.0)
    steps = np.where(peaks > 0.0, peaks / _INT8_MAX, 1.0)
    return float(np.rint(rows / steps).sum(axis=1).max(initial=0.0))


def _batch_size(graph: Graph) -> int:
    """Size of the first axis of the first input, 1 for a model without."""
    shape = graph.types[graph.inputs[0]].shape if graph.inputs else ()
    return shape[0] if shape else 1
