"""How much on-chip memory one tile of a fusion region needs.

A tile is one row of the region's results along one axis. What it needs of every other value follows backwards through
the operators: as many rows (elementwise), a window's rows (convolution, pooling), or the whole value, which is what an
operator without an entry in :data:`ROWS` is taken to need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil

from engine.graph.graph import Graph, Node
from engine.ops.base import Behaviour
from engine.ops.elementwise import Elementwise
from engine.ops.linear import Conv, ConvTranspose, Linear, Mac, MatMul
from engine.ops.reduce import AveragePool, BatchNorm, LayerNorm, LogSoftmax, MaxPool, RMSNorm, Softmax
from engine.plan.types import Resolution

Rows = int | None
"""Rows of a value that a tile needs; None is all of them."""

RowsFunction = Callable[[Graph, Node, int, int, str], Rows]
"""(graph, node, axis, rows of the output, input) -> rows of that input, whose rank is the output's."""

ROWS: Behaviour[RowsFunction] = Behaviour("rows")

_BUFFERS = 2
"""Tiles of a value that crosses the region's border are loaded or stored while the next one is computed."""


def tile_bytes(
    graph: Graph, resolution: Resolution, nodes: Sequence[Node], alignment: int, axes: Sequence[int] | None = None
) -> int:
    """Bytes of one tile of every value of the nodes (topological order), and of the constants that it needs.

    Conservative: all values of a tile count at once, values that cross the border twice, and data movement, reshapes
    and reductions need the whole of what they read. Weights of products stream by ``alignment`` output channels, other
    constants are whole. The axis with the smallest tile is taken, of ``axes`` (None: of all).
    """
    made = {value for node in nodes for value in node.outputs if value}
    constants = _constant_bytes(graph, resolution, nodes, alignment)
    tried = range(max(_rank(graph, made), 1)) if axes is None else axes
    return constants + min(_values_bytes(graph, resolution, nodes, made, axis) for axis in tried)


def _rank(graph: Graph, values: Iterable[str]) -> int:
    return max((len(graph.types[value].shape) for value in values), default=0)


def stripe_axes(graph: Graph, nodes: Sequence[Node]) -> tuple[int, ...]:
    """Axes along which the nodes (topological order) can run stripe by stripe: a stripe of the results needs a limited
    number of rows of each value that they pass on to each other, halo included."""
    made = {value for node in nodes for value in node.outputs if value}
    inner = {value for node in nodes for value in graph.activations(node) if value in made}
    return tuple(axis for axis in range(_rank(graph, made)) if not whole_values(graph, nodes, axis) & inner)


def whole_values(graph: Graph, nodes: Sequence[Node], axis: int) -> frozenset[str]:
    """Values of which a stripe along an axis needs all rows."""
    rows = _tile_rows(graph, nodes, axis)
    return frozenset(value for value, count in rows.items() if count is None)


def _values_bytes(graph: Graph, resolution: Resolution, nodes: Sequence[Node], made: set[str], axis: int) -> int:
    members = {node.id for node in nodes}
    total = 0
    for value, rows in _tile_rows(graph, nodes, axis).items():
        kind = graph.types[value]
        whole = kind.element_count * _width(resolution.dtypes.get(value, kind.dtype))
        if rows is None or axis >= len(kind.shape):
            total += whole
            continue
        tile = ceil(whole / max(kind.shape[axis], 1)) * rows
        readers = graph.consumers.get(value, ())
        is_inside = value in made and value not in graph.outputs and all(node.id in members for node in readers)
        total += min(whole, tile if is_inside else _BUFFERS * tile)
    return total


def _tile_rows(graph: Graph, nodes: Sequence[Node], axis: int) -> dict[str, Rows]:
    """Rows of every activation that the nodes read or make, for one row of each result."""
    needed: dict[str, Rows] = {}
    for node in reversed(nodes):
        outputs = [value for value in node.outputs if value]
        for value in outputs:
            needed.setdefault(value, 1)
        wanted = _most([needed[value] for value in outputs])
        for value in graph.activations(node):
            known = [needed[value]] if value in needed else []
            needed[value] = _most([*known, _rows_of(graph, node, axis, wanted, value)])
    return needed


def _most(rows: Sequence[Rows]) -> Rows:
    counted = [count for count in rows if count is not None]
    return max(counted, default=1) if len(counted) == len(rows) else None


def _rows_of(graph: Graph, node: Node, axis: int, rows: Rows, value: str) -> Rows:
    shape, result = graph.types[value].shape, graph.types[node.outputs[0]].shape
    find = ROWS.find(node.op)
    if rows is None or find is None or len(shape) != len(result) or axis >= len(shape):
        return None
    needed = find(graph, node, axis, rows, value)
    return None if needed is None or needed >= shape[axis] else needed


def _constant_bytes(graph: Graph, resolution: Resolution, nodes: Sequence[Node], alignment: int) -> int:
    total = 0
    for node in nodes:
        for value in dict.fromkeys(node.inputs):
            if value in graph.constants:
                total += _slice_bytes(graph, resolution, node, value, alignment)
    return total


def _slice_bytes(graph: Graph, resolution: Resolution, node: Node, value: str, alignment: int) -> int:
    """Int8 weights by ``alignment`` output channels, twice; any other constant whole, at 4 bytes an element at most."""
    kind = graph.types[value]
    if not isinstance(node.op, Conv | ConvTranspose | Linear) or value != node.inputs[1]:
        width = 4 if isinstance(node.op, Mac) else _width(resolution.dtypes[node.outputs[0]])
        return kind.element_count * width
    channels = kind.shape[1] * node.op.groups if isinstance(node.op, ConvTranspose) else kind.shape[0]
    each = ceil(kind.element_count / max(channels, 1))
    return each * min(_BUFFERS * alignment, channels)


def _width(dtype: str) -> int:
    return {"int8": 1, "int16": 2, "bool": 1, "int64": 8, "float64": 8}.get(dtype, 4)


# -- rows by operator ----------------------------------------------------------------------------------------


@ROWS.register(Elementwise, BatchNorm)
def _elementwise(graph: Graph, node: Node, axis: int, rows: int, value: str) -> Rows:
    return rows if graph.types[value].shape[axis] > 1 else None


@ROWS.register(Linear)
def _linear(graph: Graph, node: Node, axis: int, rows: int, value: str) -> Rows:
    return rows if axis < len(graph.types[value].shape) - 1 else None


@ROWS.register(MatMul)
def _matmul(graph: Graph, node: Node, axis: int, rows: int, value: str) -> Rows:
    """Batches of both, or rows of the first with all of the second."""
    shape = graph.types[value].shape
    if axis == len(shape) - 2:
        return rows if value == node.inputs[0] and value != node.inputs[1] else None
    return rows if axis < len(shape) - 2 and shape[axis] > 1 else None


@ROWS.register(Softmax, LogSoftmax)
def _softmax(graph: Graph, node: Node, axis: int, rows: int, value: str) -> Rows:
    assert isinstance(node.op, Softmax | LogSoftmax)
    return rows if axis != node.op.axis else None


@ROWS.register(LayerNorm, RMSNorm)
def _norm(graph: Graph, node: Node, axis: int, rows: int, value: str) -> Rows:
    assert isinstance(node.op, LayerNorm | RMSNorm)
    return rows if axis < len(graph.types[value].shape) - node.op.axes_count else None


@ROWS.register(Conv)
def _conv(graph: Graph, node: Node, axis: int, rows: int, value: str) -> Rows:
    assert isinstance(node.op, Conv)
    kernel = graph.types[node.inputs[1]].shape[2:]
    return _window(axis, rows, kernel, node.op.strides, node.op.dilations)


@ROWS.register(MaxPool, AveragePool)
def _pool(graph: Graph, node: Node, axis: int, rows: int, value: str) -> Rows:
    assert isinstance(node.op, MaxPool | AveragePool)
    dilations = node.op.dilations if isinstance(node.op, MaxPool) else ()
    channels = axis if axis < 2 else None
    return rows if channels is not None else _window(axis, rows, node.op.kernel, node.op.strides, dilations)


def _window(axis: int, rows: int, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Rows:
    """Rows under the windows of ``rows`` neighbouring results; all channels of each sample."""
    if axis < 2:
        return rows if axis == 0 else None
    dilation = dilations[axis - 2] if dilations else 1
    return (rows - 1) * strides[axis - 2] + (kernel[axis - 2] - 1) * dilation + 1
