"""In which order an operator stores its output, and how it goes through its operands: one entry an operator class.

One layout a region: spatial operators keep channels last (or planes, where they are given planes), elementwise ones the
order of what they read, fully connected ones the order of their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from engine.compile.views import DIRECT, Factor, Ring, Shape, View, ordered, packed, row_major
from engine.graph.graph import Graph, Node
from engine.ops.base import Behaviour, Op
from engine.ops.elementwise import Elementwise
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.reduce import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    Pool,
    Resize,
    RMSNorm,
    Softmax,
)

Store = Callable[[Sequence[View], Shape], View]
"""Views of the operands and the output's shape to the view of the output in a buffer of its own."""


class Order(NamedTuple):
    """How an operator reads and stores.

    Attributes:
        store: The order of its output.
        inner: Axes of an operand of which one has to be innermost in memory for it to arrive in runs; negative ones
            count from the end. None: any.
        slides: Whether a window slides over the axes from 2 on: each must have one stride.
        apart: Whether a run ends with the ``inner`` axes: what lies behind is another product.
        in_step: Whether operands are read in the order of the output.
    """

    store: Store
    inner: tuple[int, ...] | None = None
    slides: bool = False
    apart: bool = False
    in_step: bool = False


def in_own_order(views: Sequence[View], shape: Shape) -> View:
    """Row by row, as the model has it."""
    return row_major(shape)


def as_read(views: Sequence[View], shape: Shape) -> View:
    """As the first operand of the same shape lies in memory."""
    for view in views:
        if view.shape == shape:
            found = packed(view)
            if found is not None:
                return found
    return row_major(shape)


def by_channels(views: Sequence[View], shape: Shape) -> View:
    """Channels last; planes where the first operand has planes."""
    return row_major(shape) if views and _is_planar(views[0]) else channels_last(shape)


def channels_last(shape: Shape) -> View:
    """[N, C, *S] with the channels innermost."""
    return ordered(shape, (0, *range(2, len(shape)), 1))


def _is_planar(view: View) -> bool:
    inner = innermost(view)
    return len(view.axes) > 1 and bool(view.axes[1]) and inner is not None and inner > 1


def by_rows(views: Sequence[View], shape: Shape) -> View:
    """Rows as they lie in memory, the features of each together."""
    rows = tuple(
        tuple(Factor(factor.size, factor.stride + 1 if factor.stride > 0 else 0, factor.ring) for factor in axis)
        for axis in views[0].axes[:-1]
    )
    features = (Factor(shape[-1], 1),) if shape[-1] != 1 else ()
    found = packed(View((*rows, features), 0, views[0].rings))
    return row_major(shape) if found is None else found


IN_OWN_ORDER = Order(in_own_order)

ORDER: Behaviour[Callable[[Graph, Node], Order]] = Behaviour("order")
"""Operator class to how it reads and stores; without an entry, in any order and row by row."""


def order_of(graph: Graph, node: Node) -> Order:
    """How a node reads and stores."""
    found = ORDER.find(node.op)
    return IN_OWN_ORDER if found is None else found(graph, node)


@ORDER.register(Elementwise)
def _elementwise(graph: Graph, node: Node) -> Order:
    return Order(as_read, in_step=True)


@ORDER.register(BatchNorm, InstanceNorm, GroupNorm, Softmax, LogSoftmax)
def _as_it_lies(graph: Graph, node: Node) -> Order:
    """Lanes of the vector unit take what lies together, whichever axis is summed over."""
    return Order(as_read)


@ORDER.register(LayerNorm, RMSNorm)
def _normalised_inside(graph: Graph, node: Node) -> Order:
    assert isinstance(node.op, LayerNorm | RMSNorm)
    return Order(as_read, inner=tuple(range(-node.op.axes_count, 0)))


@ORDER.register(Conv)
def _convolution(graph: Graph, node: Node) -> Order:
    """A convolution of one position is a product of rows and slides over nothing."""
    assert isinstance(node.op, Conv)
    kernel = prod(graph.types[node.inputs[1]].shape[2:])
    slides = kernel > 1 or any(node.op.pads) or any(stride > 1 for stride in node.op.strides)
    return Order(by_channels, inner=_channels_or_space(graph, node), slides=slides)


@ORDER.register(ConvTranspose, Pool, Resize)
def _window(graph: Graph, node: Node) -> Order:
    return Order(by_channels, inner=_channels_or_space(graph, node), slides=True)


def _channels_or_space(graph: Graph, node: Node) -> tuple[int, ...]:
    return tuple(range(1, len(graph.types[node.inputs[0]].shape)))


@ORDER.register(Linear)
def _fully_connected(graph: Graph, node: Node) -> Order:
    return Order(by_rows, inner=(-1,))


@ORDER.register(MatMul)
def _product(graph: Graph, node: Node) -> Order:
    """Either operand may come transposed."""
    return Order(in_own_order, inner=(-1, -2), apart=True)


def is_spatial(op: Op) -> bool:
    """Whether the operator works on [N, C, *S] with the channels last."""
    return isinstance(op, Conv | ConvTranspose | Pool | Resize)


class Reach(NamedTuple):
    """What the engines of a chip can follow when they read through a view.

    Assumed where nobody says otherwise: four strides inside each other, as address generators of embedded chips have
    them, and no cyclic shifts, which fall into several pieces an axis.

    Attributes:
        strides: Most strides inside each other; None for any number.
        wraps: Whether they read cyclic shifts, each in its pieces.
    """

    strides: int | None = 4
    wraps: bool = False


ANYWHERE = Reach(strides=None, wraps=True)
"""Engines that read through every view."""


def accepts(order: Order, view: View, output: View, reach: Reach) -> bool:
    """Whether an operator can read through a view, to store as ``output`` has it."""
    if order.slides and any(len(axis) > 1 or any(f.ring != DIRECT for f in axis) for axis in view.axes[2:]):
        return False
    if view.rings and not reach.wraps:
        return False
    return reach.strides is None or strides_of(order, view, output) <= reach.strides


def strides_of(order: Order, view: View, output: View) -> int:
    """Strides inside each other, where an operator reads a view; 1 for a buffer from end to end."""
    if order.in_step and view.shape == output.shape:
        pieces = [(own, _step(view, factor), factor.size) for own, factor, _ in _steps(view, output)]
    else:
        first = len(view.axes) + min(order.inner) if order.apart and order.inner else 0
        steps = [(_step(view, factor), factor.size) for axis in view.axes[first:] for factor in axis]
        pieces = [(step, step, size) for step, size in steps if step]
    count, expected = 0, 0
    for _, step, size in sorted(pieces):
        count += step != expected
        expected = step * size
    return max(count, 1)


# -- lengths of runs -----------------------------------------------------------------------------------------


def read_run(order: Order, view: View, output: View) -> int:
    """Mean elements that an operator reads from consecutive addresses, at least 1."""
    if order.in_step and view.shape == output.shape:
        return run_in_step(view, output)
    if order.inner is not None:
        axis = innermost(view)
        if axis is not None and axis not in order.inner and axis - len(view.axes) not in order.inner:
            return 1
        if order.apart:
            return longest_run(view, len(view.axes) + min(order.inner))
    return longest_run(view)


def innermost(view: View) -> int | None:
    """The axis whose elements are neighbours in memory; None where none are."""
    for place, axis in enumerate(view.axes):
        if any(abs(_step(view, factor)) == 1 for factor in axis):
            return place
    return None


def longest_run(view: View, first: int = 0) -> int:
    """Mean elements in consecutive addresses, where the reader goes through the view (its axes from ``first`` on) as it
    lies in memory."""
    pieces = [(_step(view, factor), factor) for axis in view.axes[first:] for factor in axis]
    run = 1
    for step, factor in sorted(pieces, key=lambda piece: piece[0]):
        if step == 0:
            continue
        if step != run:
            break
        run *= _whole_part(view, factor)
        if factor.ring != DIRECT:
            break
    return run


def run_in_step(view: View, output: View) -> int:
    """Mean elements in consecutive addresses, where a view is read in the order of another of the same shape."""
    if view.axes == output.axes:
        return longest_run(view)
    steps = sorted(_steps(view, output), key=lambda piece: piece[0])
    run = 1
    for own, factor, whole in steps:
        if own <= 0 or _step(view, factor) != run:
            break
        run *= _whole_part(view, factor)
        if factor.ring != DIRECT or not whole:
            break
    return run


def _steps(view: View, output: View) -> list[tuple[int, Factor, bool]]:
    """Common factors of two views of one shape: the output's stride, the view's factor, and whether it is whole."""
    found: list[tuple[int, Factor, bool]] = []
    for axis, other in zip(view.axes, output.axes, strict=True):
        left, right = list(axis), list(other)
        while left and right:
            mine, target = left.pop(), right.pop()
            size = min(mine.size, target.size)
            stride = _step(output, target)
            if mine.size % size or target.size % size:
                found.append((stride, mine._replace(size=size), False))
                break
            found.append((stride, mine._replace(size=size), True))
            if mine.size > size:
                left.append(mine._replace(size=mine.size // size, stride=mine.stride * size))
            if target.size > size:
                right.append(target._replace(size=target.size // size, stride=target.stride * size))
    return found


def _step(view: View, factor: Factor) -> int:
    """Elements from one step of a factor to the next, cuts aside."""
    if factor.ring == DIRECT:
        return factor.stride
    return factor.stride * view.rings[factor.ring].digits[-1][1]


def _whole_part(view: View, factor: Factor) -> int:
    """Mean steps of a factor in one piece: a ring cuts it where a digit ends, and once more where it wraps around."""
    if factor.ring == DIRECT:
        return factor.size
    ring: Ring = view.rings[factor.ring]
    piece = min(factor.size, ring.digits[-1][0])
    pieces = -(-ring.size // piece) + 1
    return max(1, min(piece, ring.size // pieces))
