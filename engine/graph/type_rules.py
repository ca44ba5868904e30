"""Output types of the typed operators, by rule.

Running the float kernels on tensors without data gives the same answers (the tests hold the two together), but torch
answers through its compiler, which takes more than a second to import and much longer per node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from engine.errors import GraphError
from engine.graph.graph import TensorType
from engine.ops import elementwise, layout, linear, logic, reduce
from engine.ops.base import Behaviour, Op

Shape = tuple[int, ...]

TYPE_RULES: Behaviour[Callable[..., tuple[TensorType, ...]]] = Behaviour("type rule")
"""Rules ``(op, *input types) -> output types``; an absent optional input is None. Raise GraphError for misfits."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise GraphError(message)


def broadcast(*shapes: Shape) -> Shape:
    """The shape that several shapes broadcast to.

    Raises:
        GraphError: They do not.
    """
    rank = max(map(len, shapes))
    aligned = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    result: list[int] = []
    for sizes in zip(*aligned, strict=True):
        wider = {size for size in sizes if size != 1}
        _require(len(wider) <= 1, f"shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast")
        result.append(wider.pop() if wider else 1)
    return tuple(result)


# --- elementwise, and everything else that keeps its input's type


@TYPE_RULES.register(
    elementwise.Unary,
    layout.Identity,
    layout.Roll,
    reduce.Softmax,
    reduce.LogSoftmax,
    reduce.InstanceNorm,
    reduce.GroupNorm,
    reduce.BatchNorm,
)
def _unchanged(op: Op, x: TensorType, *weights: TensorType | None) -> tuple[TensorType, ...]:
    return (x,)


@TYPE_RULES.register(reduce.LayerNorm, reduce.RMSNorm)
def _normalised(
    op: reduce.LayerNorm | reduce.RMSNorm, x: TensorType, *weights: TensorType | None
) -> tuple[TensorType, ...]:
    normalised = x.shape[-op.axes_count :]
    for weight in weights:
        _require(
            weight is None or weight.shape == normalised,
            f"the weight's shape is not that of the normalised axes, {list(normalised)}",
        )
    return (x,)


@TYPE_RULES.register(elementwise.Binary)
def _binary(op: elementwise.Binary, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
    same = a.dtype == b.dtype or isinstance(op, elementwise.Pow)
    _require(same, f"{op.type_name} of {a.dtype} and {b.dtype}")
    return (TensorType(broadcast(a.shape, b.shape), a.dtype),)


@TYPE_RULES.register(elementwise.Where)
def _where(op: elementwise.Where, condition: TensorType, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
    _require(condition.dtype == "bool" and a.dtype == b.dtype, f"Where of {condition.dtype}, {a.dtype} and {b.dtype}")
    return (TensorType(broadcast(condition.shape, a.shape, b.shape), a.dtype),)


# --- truth values


@TYPE_RULES.register(logic.Comparison)
def _comparison(op: logic.Comparison, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
    _require(a.dtype == b.dtype, f"{op.type_name} of {a.dtype} and {b.dtype}")
    return (TensorType(broadcast(a.shape, b.shape), "bool"),)


@TYPE_RULES.register(logic.Logic)
def _logic(op: logic.Logic, *inputs: TensorType) -> tuple[TensorType, ...]:
    dtypes = {x.dtype for x in inputs}
    _require(dtypes == {"bool"}, f"{op.type_name} of {' and '.join(sorted(dtypes))}")
    return (TensorType(broadcast(*(x.shape for x in inputs)), "bool"),)


@TYPE_RULES.register(logic.NumberTest)
def _number_test(op: logic.NumberTest, x: TensorType) -> tuple[TensorType, ...]:
    return (TensorType(x.shape, "bool"),)


@TYPE_RULES.register(logic.Cast)
def _cast(op: logic.Cast, x: TensorType) -> tuple[TensorType, ...]:
    return (TensorType(x.shape, op.to),)


# --- layout


@TYPE_RULES.register(layout.Reshape)
def _reshape(op: layout.Reshape, x: TensorType) -> tuple[TensorType, ...]:
    fits = math.prod(op.shape) == x.element_count
    _require(fits, f"shape {list(x.shape)} cannot become {list(op.shape)}")
    return (TensorType(op.shape, x.dtype),)


@TYPE_RULES.register(layout.Transpose)
def _transpose(op: layout.Transpose, x: TensorType) -> tuple[TensorType, ...]:
    fits = sorted(op.perm) == list(range(len(x.shape)))
    _require(fits, f"{list(op.perm)} is no permutation of {len(x.shape)} axes")
    return (TensorType(tuple(x.shape[axis] for axis in op.perm), x.dtype),)


@TYPE_RULES.register(layout.Concat)
def _concat(op: layout.Concat, *inputs: TensorType) -> tuple[TensorType, ...]:
    axis = op.axis
    others = {(len(x.shape), x.dtype, x.shape[:axis], x.shape[axis + 1 :]) for x in inputs}
    _require(len(others) == 1, f"Concat of shapes {', '.join(str(list(x.shape)) for x in inputs)} along axis {axis}")
    first = inputs[0].shape
    total = sum(x.shape[axis] for x in inputs)
    return (TensorType((*first[:axis], total, *first[axis + 1 :]), inputs[0].dtype),)


@TYPE_RULES.register(layout.Split)
def _split(op: layout.Split, x: TensorType) -> tuple[TensorType, ...]:
    axis = op.axis
    _require(sum(op.sizes) == x.shape[axis], f"pieces {list(op.sizes)} do not make {x.shape[axis]}")
    return tuple(TensorType((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype) for size in op.sizes)


@TYPE_RULES.register(layout.Slice)
def _slice(op: layout.Slice, x: TensorType) -> tuple[TensorType, ...]:
    bounds = zip(op.starts, op.stops, op.steps, strict=True)
    return (TensorType(tuple(len(range(*bound)) for bound in bounds), x.dtype),)


@TYPE_RULES.register(layout.Pad)
def _pad(op: layout.Pad, x: TensorType) -> tuple[TensorType, ...]:
    rank = len(x.shape)
    sizes = (size + op.pads[axis] + op.pads[axis + rank] for axis, size in enumerate(x.shape))
    return (TensorType(tuple(sizes), x.dtype),)


@TYPE_RULES.register(layout.Gather)
def _gather(op: layout.Gather, x: TensorType) -> tuple[TensorType, ...]:
    return (TensorType((*x.shape[: op.axis], *op.indices_shape, *x.shape[op.axis + 1 :]), x.dtype),)


@TYPE_RULES.register(layout.LookUp)
def _look_up(op: layout.LookUp, data: TensorType, indices: TensorType) -> tuple[TensorType, ...]:
    _require(indices.dtype in ("int32", "int64"), f"indices of {indices.dtype}")
    _require(op.axis < len(data.shape), f"axis {op.axis} of {len(data.shape)} axes")
    return (TensorType((*data.shape[: op.axis], *indices.shape, *data.shape[op.axis + 1 :]), data.dtype),)


@TYPE_RULES.register(layout.Expand)
def _expand(op: layout.Expand, x: TensorType) -> tuple[TensorType, ...]:
    _require(broadcast(x.shape, op.shape) == op.shape, f"shape {list(x.shape)} does not expand to {list(op.shape)}")
    return (TensorType(op.shape, x.dtype),)


@TYPE_RULES.register(layout.Tile)
def _tile(op: layout.Tile, x: TensorType) -> tuple[TensorType, ...]:
    _require(len(op.repeats) == len(x.shape), f"{len(op.repeats)} repeats for {len(x.shape)} axes")
    return (TensorType(tuple(a * b for a, b in zip(x.shape, op.repeats, strict=True)), x.dtype),)


@TYPE_RULES.register(layout.DepthToSpace)
def _depth_to_space(op: layout.DepthToSpace, x: TensorType) -> tuple[TensorType, ...]:
    n, c, h, w = _image(x)
    _require(c % (op.block * op.block) == 0, f"{c} channels do not divide into blocks of {op.block} x {op.block}")
    return (TensorType((n, c // (op.block * op.block), h * op.block, w * op.block), x.dtype),)


@TYPE_RULES.register(layout.SpaceToDepth)
def _space_to_depth(op: layout.SpaceToDepth, x: TensorType) -> tuple[TensorType, ...]:
    n, c, h, w = _image(x)
    _require(h % op.block == 0 and w % op.block == 0, f"{h} x {w} does not divide into blocks of {op.block}")
    return (TensorType((n, c * op.block * op.block, h // op.block, w // op.block), x.dtype),)


def _image(x: TensorType) -> tuple[int, int, int, int]:
    _require(len(x.shape) == 4, f"needs [N, C, H, W], got {list(x.shape)}")
    n, c, h, w = x.shape
    return n, c, h, w


# --- products


def _same_dtypes(op: Op, *inputs: TensorType | None) -> None:
    dtypes = {kind.dtype for kind in inputs if kind is not None}
    _require(len(dtypes) == 1, f"{op.type_name} of {' and '.join(sorted(dtypes))}")


def _windows(spatial: Shape, pads: Shape, reach: Sequence[int], strides: Shape) -> Shape:
    """How many windows fit along each axis."""
    rank = len(spatial)
    _require(len(reach) == rank and len(pads) == 2 * rank, f"a window of {len(reach)} axes on {rank} axes")
    padded = [size + pads[axis] + pads[axis + rank] for axis, size in enumerate(spatial)]
    _require(all(a >= b for a, b in zip(padded, reach, strict=True)), "the window is larger than the padded input")
    return tuple((a - b) // c + 1 for a, b, c in zip(padded, reach, strides, strict=True))


def _reach(kernel: Shape, dilations: Shape) -> list[int]:
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]


@TYPE_RULES.register(linear.Conv)
def _conv(op: linear.Conv, x: TensorType, weight: TensorType, bias: TensorType | None = None) -> tuple[TensorType, ...]:
    _same_dtypes(op, x, weight, bias)
    channels = weight.shape[1] * op.groups
    fits = len(x.shape) == len(weight.shape) and x.shape[1] == channels and weight.shape[0] % op.groups == 0
    _require(fits, f"weight {list(weight.shape)} in {op.groups} groups does not fit input {list(x.shape)}")
    _require(bias is None or bias.shape == (weight.shape[0],), "the bias does not have one entry a channel")
    spatial = _windows(x.shape[2:], op.pads, _reach(weight.shape[2:], op.dilations), op.strides)
    return (TensorType((x.shape[0], weight.shape[0], *spatial), x.dtype),)


@TYPE_RULES.register(linear.ConvTranspose)
def _conv_transpose(
    op: linear.ConvTranspose, x: TensorType, weight: TensorType, bias: TensorType | None = None
) -> tuple[TensorType, ...]:
    _same_dtypes(op, x, weight, bias)
    fits = len(x.shape) == len(weight.shape) and x.shape[1] == weight.shape[0]
    _require(fits, f"weight {list(weight.shape)} does not fit input {list(x.shape)}")
    rank = len(op.strides)
    reach = _reach(weight.shape[2:], op.dilations)
    spatial = [
        (size - 1) * op.strides[axis] + reach[axis] + op.output_padding[axis] - op.pads[axis] - op.pads[axis + rank]
        for axis, size in enumerate(x.shape[2:])
    ]
    return (TensorType((x.shape[0], weight.shape[1] * op.groups, *spatial), x.dtype),)


@TYPE_RULES.register(linear.Linear)
def _linear(
    op: linear.Linear, x: TensorType, weight: TensorType, bias: TensorType | None = None
) -> tuple[TensorType, ...]:
    _same_dtypes(op, x, weight, bias)
    fits = bool(x.shape) and len(weight.shape) == 2 and x.shape[-1] == weight.shape[1]
    _require(fits, f"weight {list(weight.shape)} does not fit input {list(x.shape)}")
    return (TensorType((*x.shape[:-1], weight.shape[0]), x.dtype),)


@TYPE_RULES.register(linear.MatMul)
def _matmul(op: linear.MatMul, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
    _same_dtypes(op, a, b)
    fits = min(len(a.shape), len(b.shape)) >= 2 and a.shape[-1] == b.shape[-2]
    _require(fits, f"shapes {list(a.shape)} and {list(b.shape)} do not multiply")
    return (TensorType((*broadcast(a.shape[:-2], b.shape[:-2], ()), a.shape[-2], b.shape[-1]), a.dtype),)


# --- reductions and pooling


@TYPE_RULES.register(reduce.Reduction)
def _reduced(op: reduce.Reduction, x: TensorType) -> tuple[TensorType, ...]:
    sizes = (1 if axis in op.axes else size for axis, size in enumerate(x.shape) if op.keepdims or axis not in op.axes)
    return (TensorType(tuple(sizes), x.dtype),)


@TYPE_RULES.register(reduce.Pool)
def _pool(op: reduce.Pool, x: TensorType) -> tuple[TensorType, ...]:
    dilations = op.dilations if isinstance(op, reduce.MaxPool) and op.dilations else (1,) * len(op.kernel)
    spatial = _windows(x.shape[2:], op.pads, _reach(op.kernel, dilations), op.strides)
    return (TensorType((*x.shape[:2], *spatial), x.dtype),)


@TYPE_RULES.register(reduce.ArgExtreme)
def _arg_extreme(op: reduce.ArgExtreme, x: TensorType) -> tuple[TensorType, ...]:
    kept = (1,) if op.keepdims else ()
    return (TensorType((*x.shape[: op.axis], *kept, *x.shape[op.axis + 1 :]), "int64"),)


@TYPE_RULES.register(reduce.Resize)
def _resize(op: reduce.Resize, x: TensorType) -> tuple[TensorType, ...]:
    return (TensorType((*x.shape[:2], *op.sizes), x.dtype),)
