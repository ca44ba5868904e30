"""What operators become in TOSA: the steps that the exporter's emitters add, by class of operator.

The integer forms are those of :mod:`engine.program.lowering` and :mod:`engine.export.tosa.emit`; a test holds the two
together. A class without a form here is one function of its elements in 32 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from engine.graph.graph import Graph, Node
from engine.ops.base import Behaviour
from engine.ops.elementwise import (
    Add,
    Binary,
    Div,
    Maximum,
    Minimum,
    Mul,
    Sub,
    Unary,
    Where,
)
from engine.ops.layout import (
    Concat,
    DepthToSpace,
    Identity,
    Layout,
    Reshape,
    Roll,
    Slice,
    SpaceToDepth,
    Split,
    Transpose,
)
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.reduce import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    Pool,
    ReduceMax,
    ReduceMin,
    Reduction,
    RMSNorm,
    Softmax,
)
from engine.simulate.ethos.images import Images, channels_last
from engine.simulate.ethos.steps import WIDE, Kind, Shape, Step, Steps, Value

_FIRST_OF_IMAGE = (0, 3, 1, 2)
_LAST_OF_IMAGE = (0, 2, 3, 1)
_CHANNELS_LAST = (0, 2, 1)
_INT16 = 2
_BATCHED = 3


@dataclass
class Writer:
    """Adds the steps of one unit; ``values`` are tensors that exist already, by the graph's names.

    ``width`` tells the bytes of an element of a value, ``chains`` that sums run with the convolution before them.
    """

    graph: Graph
    images: Images
    width: Callable[[str], int]
    chains: bool
    steps: Steps = field(default_factory=Steps)
    values: dict[str, Value] = field(default_factory=dict[str, Value])

    def shape(self, name: str) -> Shape:
        return self.graph.types[name].shape

    def value(self, name: str) -> Value:
        """A value as the graph has it."""
        found = self.values.get(name)
        if found is not None and not found.is_image:
            return found
        fixed = name in self.graph.constants
        return Value(self.shape(name), WIDE if fixed else self.width(name), name, fixed)

    def image(self, name: str) -> Value:
        """A value with channels last; one that the export does not keep so is transposed."""
        found = self.values.get(name)
        if found is not None and found.is_image:
            return found
        if name in self.images.last:
            return Value(channels_last(self.shape(name)), self.width(name), name, is_image=True)
        source = self.value(name)
        shape = channels_last(source.shape)
        if 1 in (shape[3], shape[1] * shape[2]):
            return replace(source, shape=shape, is_image=True)
        rank4 = source if len(source.shape) == 4 else replace(source, shape=(*source.shape[:2], 1, source.shape[2]))
        return replace(self.steps.transpose(rank4, _LAST_OF_IMAGE), is_image=True)

    def operand(self, node: Node, name: str) -> Value:
        """An operand of a function of elements: an image where all are images."""
        if self.is_imaged(node):
            return self._constant_image(name) if name in self.graph.constants else self.image(name)
        return self.value(name)

    def is_imaged(self, node: Node) -> bool:
        return node.outputs[0] in self.images.last

    def _constant_image(self, name: str) -> Value:
        value = self.value(name)
        rank4 = (1,) * (4 - len(value.shape)) + value.shape
        return replace(value, shape=channels_last(rank4))

    def give(self, node: Node, value: Value, index: int = 0) -> None:
        """``value`` is an output of the node; an image that something reads channels first is transposed as well."""
        name = node.outputs[index]
        self.values[name] = value
        if value.is_image and name in self.images.also_first:
            shape = value.shape
            if 1 not in (shape[3], shape[1] * shape[2]):
                self.steps.transpose(value, _FIRST_OF_IMAGE, name)


Form = Callable[[Writer, Node], None]

FORMS: Behaviour[Form] = Behaviour("Ethos-U steps")
"""Operator class to the function that adds its steps."""


def add_steps(writer: Writer, node: Node) -> None:
    """Add the steps of a node."""
    (FORMS.find(node.op) or _unknown)(writer, node)


def _unknown(w: Writer, node: Node) -> None:
    """One function of the elements in 32 bits, whatever it is."""
    x = w.steps.wide(w.value(node.outputs[0]))
    w.give(node, w.steps.binary(Kind.OTHER, x, width=w.width(node.outputs[0])))


# -- products ------------------------------------------------------------------------------------------------


@FORMS.register(Conv)
def _conv(w: Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Conv)
    kernel = _plane(w.shape(node.inputs[1])[2:])
    x, out = w.image(node.inputs[0]), channels_last(w.shape(node.outputs[0]))
    depthwise = op.groups > 1 and op.groups == x.shape[3]
    groups = 1 if depthwise else op.groups
    part = replace(x, shape=(*x.shape[:3], x.shape[3] // groups))
    output = Value((*out[:3], out[3] // groups), w.width(node.outputs[0]), node.outputs[0], is_image=True)
    kind = Kind.DEPTHWISE if depthwise else Kind.CONVOLUTION
    strides, dilations = _plane(op.strides), _plane(op.dilations)
    weight = w.value(node.inputs[1])
    added = () if depthwise else _added(w, node)
    w.steps.add(
        Step(
            kind,
            (part, weight),
            output,
            kernel,
            strides,
            dilations,
            repeats=groups,
            added=added,
            is_first=not w.images.follows_product(node),
        )
    )
    w.give(node, replace(output, shape=out))


def _added(w: Writer, node: Node) -> tuple[Value, ...]:
    """The other operand of the sum that runs with a convolution."""
    found = _sum_behind(w, node)
    if found is None:
        return ()
    return tuple(w.image(name) for name in found.inputs[:2] if name != node.outputs[0])


def _sum_behind(w: Writer, node: Node) -> Node | None:
    """The sum of images that alone reads what a convolution makes last, if the engine computes both as one."""
    readers = w.graph.consumers.get(node.outputs[0], ())
    if not w.chains or len(readers) != 1 or not isinstance(readers[0].op, Add | Sub):
        return None
    found = readers[0]
    both = all(name in w.images.last and w.shape(name) == w.shape(node.outputs[0]) for name in found.inputs[:2])
    if not both or found.outputs[0] not in w.images.last:
        return None
    places = [w.images.places.get(name, -1) for name in found.inputs[:2]]
    return found if max(places) == w.images.places[node.outputs[0]] else None


@FORMS.register(ConvTranspose)
def _conv_transpose(w: Writer, node: Node) -> None:
    """A convolution over the input spread with zeros, as the engine computes it."""
    assert isinstance(node.op, ConvTranspose)
    kernel = _plane(w.shape(node.inputs[1])[2:])
    x, out = w.image(node.inputs[0]), channels_last(w.shape(node.outputs[0]))
    groups = node.op.groups
    part = replace(x, shape=(out[0], out[1], out[2], x.shape[3] // groups))
    output = Value((*out[:3], out[3] // groups), w.width(node.outputs[0]), node.outputs[0], is_image=True)
    w.steps.add(Step(Kind.CONVOLUTION, (part, w.value(node.inputs[1])), output, kernel, repeats=groups))
    w.give(node, replace(output, shape=out))


def _plane(sizes: Sequence[int]) -> tuple[int, int]:
    """Sizes of a window over height and width; a volume's depth counts as height."""
    if len(sizes) == 1:
        return 1, sizes[0]
    return math.prod(sizes[:-1]), sizes[-1]


@FORMS.register(Linear)
def _linear(w: Writer, node: Node) -> None:
    """A convolution of one element over an image with a row for each vector."""
    x = w.value(node.inputs[0])
    shape = w.shape(node.outputs[0])
    rows = math.prod(shape[:-1])
    line = replace(_reshaped(w, node, x), shape=(1, rows, 1, x.shape[-1]))
    output = Value((1, rows, 1, shape[-1]), w.width(node.outputs[0]), node.outputs[0])
    first = not w.images.follows_product(node)
    w.steps.add(Step(Kind.CONVOLUTION, (line, w.value(node.inputs[1])), output, is_first=first))
    w.give(node, replace(output, shape=shape))


def _reshaped(w: Writer, node: Node, x: Value) -> Value:
    """The value for a reader that reshapes it: the first such reader copies it where others read it as well."""
    readers = w.graph.consumers.get(x.name, ())
    first = next((each for each in readers if isinstance(each.op, _RESHAPING)), None)
    if len(x.shape) < _BATCHED or len(readers) == 1 or first is not node:
        return x
    return w.steps.of(Kind.COPY, (x,), x.shape, x.width_bytes)


@FORMS.register(MatMul)
def _matmul(w: Writer, node: Node) -> None:
    """A product for each batch. The engine wants the second operand by columns."""
    a, b = (w.value(name) for name in node.inputs[:2])
    shape = w.shape(node.outputs[0])
    depth = a.shape[-1]
    rows = a.shape[-2] if len(a.shape) > 1 else 1
    columns = b.shape[-1] if len(b.shape) > 1 else 1
    batch = max(math.prod(shape) // (rows * columns), 1)
    producer = w.images.producers.get(node.inputs[1])
    second = replace(b, shape=(b.elements // (depth * columns), depth, columns))
    if producer is None or not _is_undone(w, producer):
        second = w.steps.transpose(second, (0, 2, 1))
    output = Value((batch, rows, columns), w.width(node.outputs[0]))
    first = replace(a, shape=(batch, rows, depth))
    product = w.steps.add(Step(Kind.PRODUCT, (first, second), output))
    w.give(node, replace(w.steps.of(Kind.CLAMP, (product,), output.shape, output.width_bytes), shape=shape))


def _is_undone(w: Writer, node: Node) -> bool:
    """Whether a node transposes the last two axes for a product alone, which wants them as they were."""
    if not isinstance(node.op, Transpose):
        return False
    perm, shape = node.op.perm, w.shape(node.inputs[0])
    readers = w.graph.consumers.get(node.outputs[0], ())
    alone = len(readers) == 1 and isinstance(readers[0].op, MatMul) and readers[0].inputs[1] == node.outputs[0]
    swapped = perm == (*range(len(perm) - 2), len(perm) - 1, len(perm) - 2)
    return alone and swapped and math.prod(shape[:-3]) == 1


# -- functions of elements -----------------------------------------------------------------------------------


@FORMS.register(Unary)
def _unary(w: Writer, node: Node) -> None:
    """A table; of int16 with a change of scale behind it."""
    x, width = w.operand(node, node.inputs[0]), w.width(node.outputs[0])
    if x.width_bytes == 1:
        w.give(node, w.steps.of(Kind.TABLE8, (x,), x.shape, width))
    else:
        w.give(node, w.steps.rescale(w.steps.table16(x), width))


@FORMS.register(BatchNorm)
def _batch_norm(w: Writer, node: Node) -> None:
    """A depthwise convolution of one tap."""
    name = node.outputs[0]
    x = w.image(node.inputs[0]) if w.is_imaged(node) else _line(w.value(node.inputs[0]))
    output = Value(x.shape, w.width(name), name, is_image=w.is_imaged(node))
    w.steps.add(Step(Kind.DEPTHWISE, (x, w.value(node.inputs[1])), output))
    w.give(node, output if output.is_image else replace(output, shape=w.shape(name)))


def _line(x: Value) -> Value:
    """[N, C, ...] as an image of one row."""
    batch, channels = x.shape[0], x.shape[1] if len(x.shape) > 1 else 1
    return replace(x, shape=(batch, 1, x.elements // (batch * channels), channels))


@FORMS.register(Add, Sub)
def _sum(w: Writer, node: Node) -> None:
    if any(_runs_with(w, name, node) for name in node.inputs[:2]):
        out = node.outputs[0]
        w.give(node, Value(channels_last(w.shape(out)), w.width(out), out, is_image=True))
        return
    a, b = (w.operand(node, name) for name in node.inputs[:2])
    shape = _broadcast_shape(a, b)
    w.give(node, w.steps.of(Kind.ADD_SCALED, (a, b), shape, w.width(node.outputs[0])))


def _runs_with(w: Writer, name: str, node: Node) -> bool:
    """Whether a sum runs with the convolution that makes one of its operands."""
    producer = w.images.producers.get(name)
    if producer is None or not isinstance(producer.op, Conv) or producer.op.groups != 1:
        return False
    return _sum_behind(w, producer) is node


@FORMS.register(Mul)
def _product(w: Writer, node: Node) -> None:
    a, b = (w.operand(node, name) for name in node.inputs[:2])
    a, b = (replace(x, width_bytes=1) if x.is_constant else x for x in (a, b))
    shape = _broadcast_shape(a, b)
    w.give(node, w.steps.of(Kind.MULTIPLY, (a, b), shape, w.width(node.outputs[0])))


@FORMS.register(Maximum, Minimum)
def _extreme(w: Writer, node: Node) -> None:
    """Both in 32 bits of one scale, the extreme, and the bounds."""
    a, b = (_scaled(w, w.operand(node, name)) for name in node.inputs[:2])
    found = w.steps.binary(Kind.OTHER, a, b)
    low = w.steps.binary(Kind.OTHER, found)
    w.give(node, w.steps.binary(Kind.OTHER, low, width=w.width(node.outputs[0])))


@FORMS.register(Binary, Where)
def _binary(w: Writer, node: Node) -> None:
    """Both in 32 bits, one function of them, and a change of scale."""
    first, *others = (_scaled(w, w.operand(node, name)) for name in node.inputs if name)
    result = w.steps.binary(Kind.OTHER, first, others[-1] if others else None)
    w.give(node, w.steps.rescale(result, w.width(node.outputs[0])))


@FORMS.register(Div)
def _division(w: Writer, node: Node) -> None:
    """A product with the reciprocal by table: the steps of :mod:`engine.program.division`."""
    s = w.steps
    a, b = (s.wide(w.operand(node, name)) for name in node.inputs[:2])
    zeros = s.unary(magnitude := s.binary(Kind.OTHER, s.unary(b)))
    shifted = s.binary(Kind.OTHER, magnitude, s.binary(Kind.ADD, zeros))
    reciprocal = s.looked_up(shifted)
    below = s.binary(Kind.OTHER, b)
    sign = s.binary(Kind.ADD, s.binary(Kind.ADD, below, below))
    product = s.binary(Kind.MULTIPLY, s.binary(Kind.MULTIPLY, a, reciprocal), sign)
    up = s.binary(Kind.OTHER, s.binary(Kind.ADD, zeros))
    down = s.binary(Kind.OTHER, s.binary(Kind.ADD, zeros))
    limit = s.binary(Kind.OTHER, up)
    capped = s.binary(Kind.OTHER, product, limit)
    kept = s.binary(Kind.OTHER, capped, s.binary(Kind.ADD, limit))
    quotient = s.binary(Kind.OTHER, s.binary(Kind.OTHER, kept, up), down)
    w.give(node, s.rescale(quotient, w.width(node.outputs[0])))


def _scaled(w: Writer, x: Value) -> Value:
    return x if x.is_constant else w.steps.rescale(w.steps.wide(x), WIDE)


def _broadcast_shape(a: Value, b: Value) -> Shape:
    rank = max(len(a.shape), len(b.shape))
    padded = [(1,) * (rank - len(x.shape)) + x.shape for x in (a, b)]
    return tuple(map(max, *padded))


# -- reductions ----------------------------------------------------------------------------------------------


@FORMS.register(Reduction)
def _reduction(w: Writer, node: Node) -> None:
    """Sums in 32 bits, axis by axis, the last one with the change of scale."""
    assert isinstance(node.op, Reduction)
    x = w.steps.wide(w.value(node.inputs[0]))
    last = node.op.axes[-1] if node.op.axes else 0
    for axis in node.op.axes:
        x = w.steps.reduced(Kind.SUM, x, axis, w.width(node.outputs[0]) if axis == last else WIDE)
    w.give(node, replace(x, shape=w.shape(node.outputs[0])))


@FORMS.register(ReduceMax, ReduceMin)
def _extreme_reduction(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Reduction)
    x = w.value(node.inputs[0])
    kind = Kind.LARGEST if isinstance(node.op, ReduceMax) else Kind.SMALLEST
    for axis in node.op.axes:
        x = w.steps.reduced(kind, x, axis, x.width_bytes)
    w.give(node, replace(x, shape=w.shape(node.outputs[0])))


@FORMS.register(Pool)
def _pool(w: Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Pool)
    x = w.image(node.inputs[0])
    output = Value(channels_last(w.shape(node.outputs[0])), w.width(node.outputs[0]), node.outputs[0], is_image=True)
    w.give(node, w.steps.add(Step(Kind.POOL, (x,), output, _plane(op.kernel), _plane(op.strides))))


@FORMS.register(Softmax, LogSoftmax)
def _softmax(w: Writer, node: Node) -> None:
    """The steps of :mod:`engine.program.softmax`."""
    assert isinstance(node.op, Softmax | LogSoftmax)
    s, axis = w.steps, node.op.axis
    x = w.value(node.inputs[0])
    largest = s.wide(s.reduced(Kind.LARGEST, x, axis, x.width_bytes))
    difference = s.binary(Kind.ADD, s.wide(x), largest)
    exponential = s.table16(s.rescale(difference, _INT16))
    total = s.reduced(Kind.SUM, s.binary(Kind.OTHER, exponential), axis, WIDE)
    zeros = s.unary(total)
    count = s.binary(Kind.ADD, zeros)
    normalised = s.binary(Kind.OTHER, total, s.binary(Kind.ADD, zeros))
    product = s.binary(Kind.MULTIPLY, exponential, s.looked_up(normalised))
    result = s.rescale(s.binary(Kind.OTHER, product, count), w.width(node.outputs[0]))
    w.give(node, s.of(Kind.CLAMP, (result,), result.shape, result.width_bytes))


@FORMS.register(LayerNorm)
def _layer_norm(w: Writer, node: Node) -> None:
    assert isinstance(node.op, LayerNorm)
    shape = w.shape(node.inputs[0])
    _normalise(w, node, math.prod(shape[: len(shape) - node.op.axes_count]), by_row=True)


@FORMS.register(RMSNorm)
def _rms_norm(w: Writer, node: Node) -> None:
    assert isinstance(node.op, RMSNorm)
    shape = w.shape(node.inputs[0])
    _normalise(w, node, math.prod(shape[: len(shape) - node.op.axes_count]), centred=False, by_row=True)


@FORMS.register(InstanceNorm)
def _instance_norm(w: Writer, node: Node) -> None:
    _normalise(w, node, math.prod(w.shape(node.inputs[0])[:2]))


@FORMS.register(GroupNorm)
def _group_norm(w: Writer, node: Node) -> None:
    assert isinstance(node.op, GroupNorm)
    _normalise(w, node, w.shape(node.inputs[0])[0] * node.op.groups)


def _normalise(w: Writer, node: Node, outer: int, *, centred: bool = True, by_row: bool = False) -> None:
    """The steps of :mod:`engine.program.norm`; ``by_row`` says that the channels are the normalised axis itself."""
    s = w.steps
    x = w.value(node.inputs[0])
    size = x.elements // outer
    wide = s.wide(replace(_reshaped(w, node, x), shape=(outer, size)))
    if centred:
        total = s.reduced(Kind.SUM, wide, -1, WIDE)
        wide = s.binary(Kind.ADD, s.binary(Kind.MULTIPLY, wide), total)
    counts = s.rescale(s.unary(s.unary(wide)), 1)
    zeros = s.binary(Kind.OTHER, s.wide(s.reduced(Kind.SMALLEST, counts, -1, 1)))
    doubled = s.binary(Kind.ADD, zeros, zeros)
    bounded = s.binary(Kind.OTHER, s.binary(Kind.OTHER, s.binary(Kind.ADD, doubled)))
    epsilon = s.binary(Kind.OTHER, bounded)
    raised = s.binary(Kind.OTHER, wide, s.binary(Kind.ADD, zeros))
    short = s.binary(Kind.OTHER, raised)
    squares = s.binary(Kind.OTHER, s.binary(Kind.MULTIPLY, short, short))
    variance = s.binary(Kind.OTHER, s.binary(Kind.ADD, s.reduced(Kind.SUM, squares, -1, WIDE), epsilon))
    half = s.binary(Kind.OTHER, s.binary(Kind.ADD, s.unary(variance)))
    count = s.binary(Kind.OTHER, s.binary(Kind.ADD, half))
    root = s.looked_up(s.binary(Kind.OTHER, variance, s.binary(Kind.ADD, half, half)))
    product = s.binary(Kind.OTHER, s.binary(Kind.MULTIPLY, short, root), count)
    if not by_row:
        channels = w.shape(node.inputs[0])[1]
        samples = w.shape(node.inputs[0])[0]
        product = replace(product, shape=(samples, channels, product.elements // (samples * channels)))
        product = s.transpose(product, _CHANNELS_LAST)
    bias = Value((product.shape[-1],), WIDE, is_constant=True)
    total = s.binary(Kind.ADD, s.rescale(product, WIDE, per_channel=True), bias)
    low = s.binary(Kind.OTHER, s.binary(Kind.OTHER, total))
    result = s.binary(Kind.OTHER, low, width=w.width(node.outputs[0]))
    w.give(node, replace(result if by_row else s.transpose(result, _CHANNELS_LAST), shape=x.shape))


# -- layout --------------------------------------------------------------------------------------------------


@FORMS.register(Reshape, Identity)
def _renamed(w: Writer, node: Node) -> None:
    x = w.value(node.inputs[0])
    w.give(node, replace(x, shape=w.shape(node.outputs[0])))


@FORMS.register(Transpose)
def _transpose(w: Writer, node: Node) -> None:
    """An image is transposed as it lies, channels last."""
    assert isinstance(node.op, Transpose)
    name, perm = node.inputs[0], node.op.perm
    if _is_undone(w, node):
        x = w.value(name)
        w.give(node, replace(x, shape=w.shape(node.outputs[0])))
    elif name in w.images.last and len(perm) == len(_FIRST_OF_IMAGE):
        image = w.image(name)
        order = tuple(_FIRST_OF_IMAGE[axis] for axis in perm)
        w.give(node, w.steps.transpose(replace(image, is_image=False), order))
    else:
        w.give(node, w.steps.transpose(w.value(name), perm))


@FORMS.register(DepthToSpace, SpaceToDepth)
def _by_blocks(w: Writer, node: Node) -> None:
    """A transposition of the blocks' rows and columns."""
    assert isinstance(node.op, DepthToSpace | SpaceToDepth)
    n, c, h, width = w.shape(node.inputs[0])
    b = node.op.block
    if isinstance(node.op, DepthToSpace):
        crd = node.op.mode == "CRD"
        shape = (n, c // b**2, b, b, h, width) if crd else (n, b, b, c // b**2, h, width)
        perm = (0, 1, 4, 2, 5, 3) if crd else (0, 3, 4, 1, 5, 2)
    else:
        shape = (n, c, h // b, b, width // b, b)
        perm = (0, 1, 3, 5, 2, 4) if node.op.mode == "CRD" else (0, 3, 5, 1, 2, 4)
    moved = w.steps.transpose(replace(w.value(node.inputs[0]), shape=shape), perm)
    w.give(node, replace(moved, shape=w.shape(node.outputs[0])))


@FORMS.register(Roll)
def _roll(w: Writer, node: Node) -> None:
    """The end of each axis before its beginning: two copies an axis."""
    assert isinstance(node.op, Roll)
    x = w.value(node.inputs[0])
    for shift, axis in zip(node.op.shifts, node.op.axes, strict=True):
        moved = shift % x.shape[axis]
        if moved:
            pieces = [_cut(x, axis, size) for size in (moved, x.shape[axis] - moved)]
            copies = [w.steps.of(Kind.COPY, (piece,), piece.shape, x.width_bytes) for piece in pieces]
            x = replace(copies[-1], shape=x.shape)
    w.give(node, x)


def _cut(x: Value, axis: int, size: int) -> Value:
    return replace(x, shape=tuple(size if place == axis else each for place, each in enumerate(x.shape)))


@FORMS.register(Slice, Split)
def _taken(w: Writer, node: Node) -> None:
    """A copy of each output."""
    x = w.value(node.inputs[0])
    for index, name in enumerate(node.outputs):
        if name:
            piece = replace(x, shape=w.shape(name))
            w.give(node, w.steps.of(Kind.COPY, (piece,), piece.shape, w.width(name)), index)


@FORMS.register(Concat)
def _concat(w: Writer, node: Node) -> None:
    """A copy of each input."""
    width = w.width(node.outputs[0])
    for name in node.inputs:
        piece = w.value(name)
        w.steps.of(Kind.COPY, (piece,), piece.shape, width)
    w.give(node, Value(w.shape(node.outputs[0]), width, node.outputs[0]))


@FORMS.register(Layout)
def _copied(w: Writer, node: Node) -> None:
    """A copy of all that is written."""
    x = replace(w.value(node.inputs[0]), shape=w.shape(node.outputs[0]))
    w.give(node, w.steps.of(Kind.COPY, (x,), x.shape, w.width(node.outputs[0])))


_RESHAPING = (LayerNorm, Linear)
