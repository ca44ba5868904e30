"""How much work each operator is: multiplications, vector elements, look-ups, and the bytes it moves.

Work does not depend on the target: :mod:`engine.clock.estimate` turns it into time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from math import prod

import numpy as np

from engine.graph.graph import Graph, Node
from engine.ops.base import Behaviour, Op
from engine.ops.elementwise import Affine, Binary, Clip, Pow, PRelu, Relu, Unary, Where
from engine.ops.layout import (
    Concat,
    DepthToSpace,
    Expand,
    Gather,
    Identity,
    Layout,
    LookUp,
    Pad,
    Reshape,
    Roll,
    Slice,
    SpaceToDepth,
    Split,
    Tile,
    Transpose,
)
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.logic import Cast, Comparison, Logic, NumberTest
from engine.ops.other import Input, OnnxOp
from engine.ops.reduce import (
    ArgExtreme,
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    Pool,
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceProd,
    ReduceSumSquare,
    Reduction,
    Resize,
    RMSNorm,
    Softmax,
)
from engine.simulate import movement

FUNCTION_FLOPS = 10
"""Floating-point operations that one exp, erf, division, ... counts for on the CPU (a polynomial of degree
4-5).
"""


class Direction(StrEnum):
    """Of a move, seen from the engine that computes."""

    LOAD = "load"
    STORE = "store"


@dataclass(frozen=True)
class Move:
    """Bytes of one value that an operator reads or writes, in contiguous runs of a mean length."""

    value: str
    size_bytes: int
    run_bytes: int
    direction: Direction


@dataclass(frozen=True)
class Product:
    """Multiply-accumulates as the array sees them: ``groups`` independent products of
    [positions, input_channels · taps] with [input_channels · taps, output_channels].
    """

    positions: int
    input_channels: int
    output_channels: int
    taps: int = 1
    groups: int = 1

    @property
    def macs(self) -> int:
        return self.positions * self.input_channels * self.output_channels * self.taps * self.groups


@dataclass(frozen=True)
class Work:
    """The work of one operator application.

    ``is_rearranging`` marks data movement that takes the DMA engine's time wherever the data lies. Work
    without any entry is free: a reshape only renames the data it finds.
    """

    products: tuple[Product, ...] = ()
    vector_elements: int = 0
    table_lookups: int = 0
    reduction_elements: int = 0
    moves: tuple[Move, ...] = ()
    opaque_flops: int = 0
    is_rearranging: bool = False

    @property
    def macs(self) -> int:
        return sum(product.macs for product in self.products)

    @property
    def cpu_flops(self) -> int:
        """Floating-point operations of the same work on the CPU."""
        arithmetic = 2 * self.macs + self.vector_elements + self.reduction_elements
        return arithmetic + FUNCTION_FLOPS * self.table_lookups + self.opaque_flops

    @property
    def moved_bytes(self) -> int:
        return sum(move.size_bytes for move in self.moves)

    @property
    def is_free(self) -> bool:
        return not self.moves and self.cpu_flops == 0


FREE = Work()
"""The work of an operator that computes and moves nothing."""

WorkFunction = Callable[[Graph, Node, Mapping[str, str]], Work]

WORK: Behaviour[WorkFunction] = Behaviour("work")
"""Operator class to its work, given the dtypes of values (constants may be missing there)."""


def work_of(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """The work of a node with these value dtypes."""
    found = WORK.find(node.op)
    return (found or _opaque)(graph, node, dtypes)


@lru_cache(maxsize=64)
def dtype_bytes(dtype: str) -> int:
    """Bytes of one element; 4 for names that numpy does not know."""
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return 2 if dtype == "bfloat16" else 4


def value_bytes(graph: Graph, node: Node, value: str, dtypes: Mapping[str, str]) -> int:
    """Bytes of a value where ``node`` reads or writes it.

    A constant of an integer node takes the width of what it becomes there: int8 weights of products, int32
    biases, the width of the output elsewhere.
    """
    return graph.types[value].element_count * _element_bytes(graph, node, value, dtypes)


def _element_bytes(graph: Graph, node: Node, value: str, dtypes: Mapping[str, str]) -> int:
    known = dtypes.get(value)
    if known is not None:
        return dtype_bytes(known)
    declared = graph.types[value]
    output = dtypes.get(node.outputs[0], "float32")
    if not declared.is_float or output not in ("int8", "int16"):
        return dtype_bytes(declared.dtype)
    if isinstance(node.op, Conv | ConvTranspose | Linear):
        return 1 if value == node.inputs[1] else 4
    return dtype_bytes(output)


def _whole(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> tuple[Move, ...]:
    """Every input read once and every output written once, in one run each."""
    moves: list[Move] = []
    for direction, values in ((Direction.LOAD, node.inputs), (Direction.STORE, node.outputs)):
        for value in dict.fromkeys(value for value in values if value):
            size = value_bytes(graph, node, value, dtypes)
            if size:
                moves.append(Move(value, size, size, direction))
    return tuple(moves)


def _input_count(graph: Graph, node: Node) -> int:
    return graph.types[node.inputs[0]].element_count


def _output_count(graph: Graph, node: Node) -> int:
    return graph.types[node.outputs[0]].element_count


# -- products ------------------------------------------------------------------------------------------------


@WORK.register(Conv)
def _conv(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    assert isinstance(node.op, Conv)
    weight, out = graph.types[node.inputs[1]].shape, graph.types[node.outputs[0]].shape
    groups = node.op.groups
    positions = out[0] * prod(out[2:])
    product = Product(positions, weight[1], weight[0] // groups, prod(weight[2:]), groups)
    return Work(products=(product,), moves=_whole(graph, node, dtypes))


@WORK.register(ConvTranspose)
def _conv_transpose(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    assert isinstance(node.op, ConvTranspose)
    shape, weight = graph.types[node.inputs[0]].shape, graph.types[node.inputs[1]].shape
    groups = node.op.groups
    positions = shape[0] * prod(shape[2:])
    product = Product(positions, weight[0] // groups, weight[1], prod(weight[2:]), groups)
    return Work(products=(product,), moves=_whole(graph, node, dtypes))


@WORK.register(Linear)
def _linear(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    features_out, features_in = graph.types[node.inputs[1]].shape
    positions = prod(graph.types[node.inputs[0]].shape[:-1])
    return Work(products=(Product(positions, features_in, features_out),), moves=_whole(graph, node, dtypes))


@WORK.register(MatMul)
def _matmul(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    a, b = (graph.types[value].shape for value in node.inputs[:2])
    out = graph.types[node.outputs[0]].element_count
    depth = a[-1]
    rows = a[-2] if len(a) > 1 else 1
    columns = b[-1] if len(b) > 1 else 1
    batch = out // max(rows * columns, 1)
    return Work(products=(Product(rows, depth, columns, 1, batch),), moves=_whole(graph, node, dtypes))


# -- elementwise ---------------------------------------------------------------------------------------------


@WORK.register(Unary)
def _unary(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    return Work(table_lookups=_output_count(graph, node), moves=_whole(graph, node, dtypes))


@WORK.register(Relu, Clip)
def _clamp(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    return Work(vector_elements=_output_count(graph, node), moves=_whole(graph, node, dtypes))


@WORK.register(Affine)
def _affine(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """A positive factor alone changes only the scale of integers, not the integers: free."""
    assert isinstance(node.op, Affine)
    source, result = dtypes.get(node.inputs[0]), dtypes.get(node.outputs[0])
    is_scaling = node.op.offset == 0.0 and node.op.multiplier > 0.0
    if is_scaling and source == result and result in ("int8", "int16"):
        return FREE
    return _unary(graph, node, dtypes)


@WORK.register(Binary, Where, Comparison, Logic, NumberTest, Cast)
def _binary(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    return Work(vector_elements=_output_count(graph, node), moves=_whole(graph, node, dtypes))


@WORK.register(Pow)
def _pow(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Logarithm and exponential by table, and a product between them."""
    elements = _output_count(graph, node)
    return Work(vector_elements=elements, table_lookups=2 * elements, moves=_whole(graph, node, dtypes))


@WORK.register(PRelu)
def _prelu(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Product with the slope, then a selection."""
    return Work(vector_elements=2 * _output_count(graph, node), moves=_whole(graph, node, dtypes))


# -- reductions, pooling, normalisation ----------------------------------------------------------------------


@WORK.register(Reduction, ArgExtreme)
def _reduction(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    return Work(reduction_elements=_input_count(graph, node), moves=_whole(graph, node, dtypes))


@WORK.register(ReduceProd)
def _reduce_prod(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """A logarithm of each element and their sum, signs counted beside it; an exponential for each output."""
    elements, outputs = _input_count(graph, node), _output_count(graph, node)
    return Work(
        vector_elements=elements,
        reduction_elements=2 * elements,
        table_lookups=elements + outputs,
        moves=_whole(graph, node, dtypes),
    )


@WORK.register(ReduceL1, ReduceSumSquare)
def _terms_summed(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """A magnitude or square of each element, and their sum."""
    elements = _input_count(graph, node)
    return Work(vector_elements=elements, reduction_elements=elements, moves=_whole(graph, node, dtypes))


@WORK.register(ReduceLogSum)
def _reduce_log_sum(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """The sum, and a logarithm by table for each output."""
    return Work(
        reduction_elements=_input_count(graph, node),
        table_lookups=_output_count(graph, node),
        moves=_whole(graph, node, dtypes),
    )


@WORK.register(ReduceLogSumExp)
def _reduce_log_sum_exp(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Maximum and sum; a subtraction and an exponential of each element, a logarithm and a sum of each output."""
    elements, outputs = _input_count(graph, node), _output_count(graph, node)
    return Work(
        vector_elements=elements + outputs,
        reduction_elements=2 * elements,
        table_lookups=elements + outputs,
        moves=_whole(graph, node, dtypes),
    )


@WORK.register(ReduceL2)
def _reduce_l2(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Squares, their sum, and a square root by table for each output."""
    return Work(
        vector_elements=_input_count(graph, node),
        reduction_elements=_input_count(graph, node),
        table_lookups=_output_count(graph, node),
        moves=_whole(graph, node, dtypes),
    )


@WORK.register(Pool)
def _pool(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """One vector operation for each element of each window."""
    assert isinstance(node.op, Pool)
    elements = _output_count(graph, node) * prod(node.op.kernel)
    return Work(vector_elements=elements, moves=_whole(graph, node, dtypes))


@WORK.register(Softmax)
def _softmax(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Maximum and sum over the axis; subtraction and scaling; exp of each element and 1/x of each row by
    table.
    """
    assert isinstance(node.op, Softmax)
    elements = _input_count(graph, node)
    rows = elements // max(graph.types[node.inputs[0]].shape[node.op.axis], 1)
    return Work(
        vector_elements=2 * elements,
        reduction_elements=2 * elements,
        table_lookups=elements + rows,
        moves=_whole(graph, node, dtypes),
    )


@WORK.register(LogSoftmax)
def _log_softmax(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Maximum and sum; two subtractions; exp of each element and log of each row."""
    assert isinstance(node.op, LogSoftmax)
    elements = _input_count(graph, node)
    rows = elements // max(graph.types[node.inputs[0]].shape[node.op.axis], 1)
    return Work(
        vector_elements=2 * elements,
        reduction_elements=2 * elements,
        table_lookups=elements + rows,
        moves=_whole(graph, node, dtypes),
    )


def _normalise(elements: int, rows: int, moves: tuple[Move, ...], passes: int) -> Work:
    """``passes`` sums over the elements, 1/sqrt of each row by table, and squaring, scaling and the weight; with two
    sums centring and the bias too.
    """
    return Work(
        vector_elements=(2 * passes + 1) * elements,
        reduction_elements=passes * elements,
        table_lookups=rows,
        moves=moves,
    )


@WORK.register(LayerNorm)
def _layer_norm(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    assert isinstance(node.op, LayerNorm)
    shape = graph.types[node.inputs[0]].shape
    rows = prod(shape[: len(shape) - node.op.axes_count])
    return _normalise(prod(shape), rows, _whole(graph, node, dtypes), passes=2)


@WORK.register(RMSNorm)
def _rms_norm(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    assert isinstance(node.op, RMSNorm)
    shape = graph.types[node.inputs[0]].shape
    rows = prod(shape[: len(shape) - node.op.axes_count])
    return _normalise(prod(shape), rows, _whole(graph, node, dtypes), passes=1)


@WORK.register(InstanceNorm)
def _instance_norm(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    shape = graph.types[node.inputs[0]].shape
    return _normalise(prod(shape), prod(shape[:2]), _whole(graph, node, dtypes), passes=2)


@WORK.register(GroupNorm)
def _group_norm(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    assert isinstance(node.op, GroupNorm)
    shape = graph.types[node.inputs[0]].shape
    return _normalise(prod(shape), shape[0] * node.op.groups, _whole(graph, node, dtypes), passes=2)


@WORK.register(BatchNorm)
def _batch_norm(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """A product and a sum for each element."""
    return Work(vector_elements=2 * _output_count(graph, node), moves=_whole(graph, node, dtypes))


@WORK.register(Resize)
def _resize(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """As many vector operations an output element as it has source elements: 1, 2, or 4 along each resized
    axis.
    """
    assert isinstance(node.op, Resize)
    taps = {"linear": 2, "cubic": 4}.get(node.op.mode, 1)
    source, out = graph.types[node.inputs[0]].shape, graph.types[node.outputs[0]].shape
    resized = sum(1 for before, after in zip(source, out, strict=True) if before != after)
    elements = _output_count(graph, node) * taps**resized
    return Work(vector_elements=elements, moves=_whole(graph, node, dtypes))


# -- layout --------------------------------------------------------------------------------------------------


def _copy(graph: Graph, node: Node, dtypes: Mapping[str, str], chunk: int | None, load: int | None = None) -> Work:
    """A copy of input 0 to all outputs in chunks of ``chunk`` elements; ``load`` elements are read (default:
    all).

    None for ``chunk`` means that nothing has to move, unless the type changes on the way.
    """
    value = node.inputs[0]
    width = _element_bytes(graph, node, value, dtypes)
    outputs = [output for output in node.outputs if output]
    if chunk is None:
        if len(outputs) == 1 and width == _element_bytes(graph, node, outputs[0], dtypes):
            return FREE
        chunk = _input_count(graph, node)
    elements = _input_count(graph, node) if load is None else load
    moves = [_run(value, elements, chunk, width, Direction.LOAD)]
    for output in outputs:
        size = graph.types[output].element_count
        moves.append(_run(output, size, chunk, _element_bytes(graph, node, output, dtypes), Direction.STORE))
    return Work(moves=tuple(move for move in moves if move.size_bytes), is_rearranging=True)


def _run(value: str, elements: int, chunk: int, width: int, direction: Direction) -> Move:
    return Move(value, elements * width, max(1, min(elements, chunk)) * width, direction)


@WORK.register(Reshape, Identity)
def _renamed(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """A pure reshape is free: the elements stay where they are."""
    return _copy(graph, node, dtypes, None)


@WORK.register(Transpose)
def _transpose(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    assert isinstance(node.op, Transpose)
    chunk = movement.transpose_chunk(graph.types[node.inputs[0]].shape, node.op.perm)
    return _copy(graph, node, dtypes, chunk)


@WORK.register(DepthToSpace)
def _depth_to_space(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """The transposition [N, b, b, C', H, W] -> [N, C', H, b, W, b] (DCR; CRD has C' first)."""
    assert isinstance(node.op, DepthToSpace)
    n, c, h, w = graph.types[node.inputs[0]].shape
    b = node.op.block
    depth = c // (b * b)
    if node.op.mode == "CRD":
        chunk = movement.transpose_chunk((n, depth, b, b, h, w), (0, 1, 4, 2, 5, 3))
    else:
        chunk = movement.transpose_chunk((n, b, b, depth, h, w), (0, 3, 4, 1, 5, 2))
    return _copy(graph, node, dtypes, chunk)


@WORK.register(SpaceToDepth)
def _space_to_depth(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """The transposition [N, C, H', b, W', b] -> [N, b, b, C, H', W'] (DCR; CRD has C first)."""
    assert isinstance(node.op, SpaceToDepth)
    n, c, h, w = graph.types[node.inputs[0]].shape
    b = node.op.block
    perm = (0, 1, 3, 5, 2, 4) if node.op.mode == "CRD" else (0, 3, 5, 1, 2, 4)
    chunk = movement.transpose_chunk((n, c, h // b, b, w // b, b), perm)
    return _copy(graph, node, dtypes, chunk)


@WORK.register(Roll)
def _roll(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    assert isinstance(node.op, Roll)
    shape = graph.types[node.inputs[0]].shape
    return _copy(graph, node, dtypes, movement.roll_chunk(shape, node.op.shifts, node.op.axes))


@WORK.register(Slice)
def _slice(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Reads only what is taken."""
    assert isinstance(node.op, Slice)
    shape = graph.types[node.inputs[0]].shape
    chunk = movement.slice_chunk(shape, node.op.starts, node.op.stops, node.op.steps)
    return _copy(graph, node, dtypes, chunk, load=_output_count(graph, node))


@WORK.register(Split)
def _split(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """One copy a piece, each in chunks of its own rows."""
    assert isinstance(node.op, Split)
    source = node.inputs[0]
    return _pieces(graph, node, dtypes, node.op.axis, [(value, source, value) for value in node.outputs if value])


@WORK.register(Concat)
def _concat(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """One copy an input, each in chunks of its own rows."""
    assert isinstance(node.op, Concat)
    out = node.outputs[0]
    return _pieces(graph, node, dtypes, node.op.axis, [(value, value, out) for value in node.inputs if value])


def _pieces(
    graph: Graph, node: Node, dtypes: Mapping[str, str], axis: int, pieces: Sequence[tuple[str, str, str]]
) -> Work:
    """Copies of pieces along an axis: (the piece, the value it is read from, the value it is written to)."""
    moves: list[Move] = []
    for piece, source, target in pieces:
        shape = graph.types[piece].shape
        elements, chunk = prod(shape), movement.axis_chunk(shape, axis)
        moves.append(_run(source, elements, chunk, _element_bytes(graph, node, source, dtypes), Direction.LOAD))
        moves.append(_run(target, elements, chunk, _element_bytes(graph, node, target, dtypes), Direction.STORE))
    return Work(moves=tuple(move for move in moves if move.size_bytes), is_rearranging=True)


@WORK.register(Pad)
def _pad(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    assert isinstance(node.op, Pad)
    chunk = movement.pad_chunk(graph.types[node.inputs[0]].shape, node.op.pads)
    return _copy(graph, node, dtypes, chunk)


@WORK.register(Gather)
def _gather(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Reads one row an index."""
    assert isinstance(node.op, Gather)
    shape = graph.types[node.inputs[0]].shape
    chunk = movement.gather_chunk(shape, node.op.axis, node.op.indices)
    return _copy(graph, node, dtypes, chunk, load=_output_count(graph, node))


@WORK.register(LookUp)
def _look_up(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Reads one row an index, and the indices."""
    assert isinstance(node.op, LookUp)
    data, indices = node.inputs
    chunk = prod(graph.types[data].shape[node.op.axis + 1 :])
    found = _copy(graph, node, dtypes, chunk, load=_output_count(graph, node))
    count, width = graph.types[indices].element_count, _element_bytes(graph, node, indices, dtypes)
    return replace(found, moves=(*found.moves, _run(indices, count, count, width, Direction.LOAD)))


@WORK.register(Expand, Tile)
def _repeat(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Reads the input once and writes the whole output."""
    source, out = graph.types[node.inputs[0]].shape, graph.types[node.outputs[0]].shape
    return _copy(graph, node, dtypes, movement.expand_chunk(source, out))


@WORK.register(Layout)
def _layout(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """A layout operator without a geometry of its own: element by element."""
    return _copy(graph, node, dtypes, 1)


# -- inputs and opaque operators -----------------------------------------------------------------------------


@WORK.register(Input)
def _input(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Free: the input is in DDR when the inference begins, and its first reader pays for loading it."""
    return FREE


@WORK.register(OnnxOp, Op)
def _opaque(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> Work:
    """Unknown arithmetic, which runs on the CPU: one function evaluation an element of inputs and outputs."""
    values = [value for value in (*node.inputs, *node.outputs) if value]
    elements = sum(graph.types[value].element_count for value in values)
    return Work(opaque_flops=FUNCTION_FLOPS * elements, moves=_whole(graph, node, dtypes))
