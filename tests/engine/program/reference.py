"""Plain numpy statements of what each program operator computes, written apart from the kernels."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from engine.ops import logic
from engine.program.arithmetic import apply_scaling, clamped, look_up, rounding_shift
from engine.program.division import division_reference
from engine.program.functions import logarithm_reference, square_root_reference
from engine.program.norm import layernorm_reference
from engine.program.softmax import softmax_reference
from engine.program.types import (
    AddScaled,
    AveragePoolInteger,
    CompareScaled,
    Convolution,
    DivideScaled,
    ExtremeIndex,
    ExtremeReduce,
    ExtremeScaled,
    FullyConnected,
    IntegerLayerNorm,
    IntegerSoftmax,
    Logarithm,
    MatrixProduct,
    MaximumPool,
    MultiplyScaled,
    ProgramOp,
    Quantise,
    Requantise,
    ResizeLinear,
    Scaling,
    SelectScaled,
    SquareRoot,
    SumReduce,
    Table8,
    Table16,
    TruthLogic,
    WideSum,
)

Array = NDArray[np.signedinteger]


def expected(op: ProgramOp, *inputs: Array) -> Array:
    """The one output of ``op``."""
    return REFERENCE[type(op)](op, *inputs)


def _convolution(op: Convolution, x: Array) -> Array:
    return clamped(apply_scaling(_accumulators(op, x), op.scaling, channel_axis=1), op.output)


def _accumulators(op: Convolution, x: Array) -> NDArray[np.int64]:
    if op.transposed:
        return _scatter(op, x)
    spatial = x.ndim - 2
    pads = [(0, 0), (0, 0), *zip(op.pads[:spatial], op.pads[spatial:], strict=True)]
    padded = np.pad(x.astype(np.int64), pads)
    kernel = op.weight.shape[2:]
    sizes = [
        (padded.shape[2 + i] - op.dilations[i] * (kernel[i] - 1) - 1) // op.strides[i] + 1 for i in range(spatial)
    ]
    outputs, per_group = op.weight.shape[:2]
    result = np.zeros((x.shape[0], outputs, *sizes), np.int64)
    per_output = outputs // op.groups
    for place in product(*(range(size) for size in kernel)):
        where = tuple(
            slice(p * d, p * d + (size - 1) * s + 1, s)
            for p, d, s, size in zip(place, op.dilations, op.strides, sizes, strict=True)
        )
        seen = padded[(slice(None), slice(None), *where)]
        for output in range(outputs):
            first = output // per_output * per_group
            for channel in range(per_group):
                result[:, output] += seen[:, first + channel] * int(op.weight[(output, channel, *place)])
    return result + op.bias.reshape(1, -1, *(1,) * spatial)


def _scatter(op: Convolution, x: Array) -> NDArray[np.int64]:
    spatial = x.ndim - 2
    channels, per_group = op.weight.shape[:2]
    kernel = op.weight.shape[2:]
    extra = op.output_padding or (0,) * spatial
    begin, end = op.pads[:spatial], op.pads[spatial:]
    full = [
        op.strides[i] * (x.shape[2 + i] - 1) + op.dilations[i] * (kernel[i] - 1) + 1 + extra[i] for i in range(spatial)
    ]
    result = np.zeros((x.shape[0], per_group * op.groups, *full), np.int64)
    for channel, output in product(range(channels), range(per_group)):
        group = channel // (channels // op.groups)
        for place in product(*(range(size) for size in kernel)):
            where = tuple(
                slice(p * d, p * d + (size - 1) * s + 1, s)
                for p, d, s, size in zip(place, op.dilations, op.strides, x.shape[2:], strict=True)
            )
            target = (slice(None), group * per_group + output, *where)
            result[target] += x[:, channel].astype(np.int64) * int(op.weight[(channel, output, *place)])
    cut = tuple(slice(b, size - e) for b, e, size in zip(begin, end, full, strict=True))
    return result[(slice(None), slice(None), *cut)] + op.bias.reshape(1, -1, *(1,) * spatial)


def _fully_connected(op: FullyConnected, x: Array) -> Array:
    accumulators = x.astype(np.int64) @ op.weight.astype(np.int64).T + op.bias
    return clamped(apply_scaling(accumulators, op.scaling), op.output)


def _matrix_product(op: MatrixProduct, a: Array, b: Array) -> Array:
    return clamped(apply_scaling(a.astype(np.int64) @ b.astype(np.int64), op.scaling), op.output)


def _add(op: AddScaled, a: Array, b: Array) -> Array:
    first = a.astype(np.int64) if op.a is None else apply_scaling(a, op.a)
    second = b.astype(np.int64) if op.b is None else apply_scaling(b, op.b)
    return clamped(apply_scaling(first - second if op.subtract else first + second, op.out), op.output)


def _multiply(op: MultiplyScaled, a: Array, b: Array) -> Array:
    return clamped(apply_scaling(a.astype(np.int64) * b.astype(np.int64), op.scaling), op.output)


def _extreme(op: ExtremeScaled, a: Array, b: Array) -> Array:
    choose = np.maximum if op.maximum else np.minimum
    return clamped(choose(apply_scaling(a, op.a), apply_scaling(b, op.b)), op.output)


def _table8(op: Table8, x: Array) -> Array:
    return op.table[x.astype(np.int64) + 128]


def _table16(op: Table16, x: Array) -> Array:
    return clamped(apply_scaling(look_up(op.table, x), op.scaling), op.output)


def _requantise(op: Requantise, x: Array) -> Array:
    return clamped(apply_scaling(x, op.scaling), op.output)


def _sum(op: SumReduce, x: Array) -> Array:
    sums = x.astype(np.int64).sum(axis=op.axes, keepdims=op.keepdims)
    return clamped(apply_scaling(sums, op.scaling), op.output)


def _extreme_reduce(op: ExtremeReduce, x: Array) -> Array:
    return (x.max if op.maximum else x.min)(axis=op.axes, keepdims=op.keepdims)


def _windows(x: Array, op: MaximumPool | AveragePoolInteger, dilations: tuple[int, ...]):
    """(output index, window index ranges clipped to the picture, unclipped ranges), one for each output place."""
    spatial = len(op.kernel)
    sizes = [
        (x.shape[2 + i] + op.pads[i] + op.pads[i + spatial] - dilations[i] * (op.kernel[i] - 1) - 1) // op.strides[i]
        + 1
        for i in range(spatial)
    ]
    for place in product(*(range(size) for size in sizes)):
        whole = [
            [place[i] * op.strides[i] - op.pads[i] + k * dilations[i] for k in range(op.kernel[i])]
            for i in range(spatial)
        ]
        inside = [[at for at in axis if 0 <= at < x.shape[2 + i]] for i, axis in enumerate(whole)]
        yield sizes, place, inside, whole


def _maximum_pool(op: MaximumPool, x: Array) -> Array:
    out: Array | None = None
    for sizes, place, inside, _ in _windows(x, op, op.dilations or (1,) * len(op.kernel)):
        if out is None:
            out = np.zeros((*x.shape[:2], *sizes), x.dtype)
        window = x[np.ix_(range(x.shape[0]), range(x.shape[1]), *inside)]
        out[(..., *place)] = window.reshape(*x.shape[:2], -1).max(axis=-1)
    assert out is not None
    return out


def _average_pool(op: AveragePoolInteger, x: Array) -> Array:
    out: Array | None = None
    spatial = len(op.kernel)
    for sizes, place, inside, whole in _windows(x, op, (1,) * spatial):
        if out is None:
            out = np.zeros((*x.shape[:2], *sizes), x.dtype)
        count = 1
        for i, axis in enumerate(whole):
            low, high = -op.counted_pads[i], x.shape[2 + i] + op.counted_pads[i + spatial]
            count *= sum(low <= at < high for at in axis)
        bits = (count - 1).bit_length()
        multiplier, shift = (((1 << 30) + 1) << bits) // count, 30 + bits
        window = x[np.ix_(range(x.shape[0]), range(x.shape[1]), *inside)].astype(np.int64)
        total = window.reshape(*x.shape[:2], -1).sum(axis=-1)
        out[(..., *place)] = (total * multiplier + (1 << (shift - 1))) >> shift
    assert out is not None
    return out


def _resize(op: ResizeLinear, x: Array) -> Array:
    wide = x.astype(np.int64)
    fy, fx = op.fraction[0].astype(np.int64)[:, None], op.fraction[1].astype(np.int64)
    rows = rounding_shift(wide[..., op.low[1]] * (2048 - fx) + wide[..., op.high[1]] * fx, op.row_shift)
    both = rows[..., op.low[0], :] * (2048 - fy) + rows[..., op.high[0], :] * fy
    return clamped(apply_scaling(both, op.scaling), op.output)


def _quantise(op: Quantise, x: NDArray[np.float32]) -> Array:
    with np.errstate(all="ignore"):
        scaled = np.rint(x / np.float32(op.scale))
    return np.clip(np.where(np.isnan(scaled), 0, scaled), op.output.low, op.output.high).astype(op.output.dtype)


def _divide(op: DivideScaled, a: Array, b: Array) -> Array:
    return division_reference(a, b, op)


def _softmax(op: IntegerSoftmax, x: Array) -> Array:
    return softmax_reference(x, op)


def _layernorm(op: IntegerLayerNorm, x: Array) -> Array:
    return layernorm_reference(x, op)


def _scaled(x: Array, scaling: Scaling | None) -> NDArray[np.int64]:
    return x.astype(np.int64) if scaling is None else apply_scaling(x, scaling)


_RELATIONS = {
    logic.Equal: np.equal,
    logic.Greater: np.greater,
    logic.GreaterOrEqual: np.greater_equal,
    logic.Less: np.less,
    logic.LessOrEqual: np.less_equal,
}
_CONNECTIVES = {
    logic.And: np.logical_and,
    logic.Or: np.logical_or,
    logic.Xor: np.logical_xor,
    logic.Not: np.logical_not,
}


def _compare(op: CompareScaled, a: Array, b: Array) -> NDArray[np.bool_]:
    return _RELATIONS[type(op.op)](_scaled(a, op.a), _scaled(b, op.b))


def _logic(op: TruthLogic, *inputs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return _CONNECTIVES[type(op.op)](*inputs)


def _select(op: SelectScaled, condition: NDArray[np.bool_], a: Array, b: Array) -> Array:
    return np.where(condition, clamped(_scaled(a, op.a), op.output), clamped(_scaled(b, op.b), op.output))


def _extreme_index(op: ExtremeIndex, x: Array) -> NDArray[np.int64]:
    """The place of the extreme in the list of a line's elements, counted from its beginning or its end."""

    def index(line: Array) -> int:
        values = line.tolist()
        extreme = max(values) if op.maximum else min(values)
        return len(values) - 1 - values[::-1].index(extreme) if op.last else values.index(extreme)

    found = np.apply_along_axis(index, op.axis, x)
    return np.expand_dims(found, op.axis) if op.keepdims else found


_TERMS = {"value": lambda x: x, "magnitude": abs, "square": lambda x: x * x}


def _wide_sum(op: WideSum, x: Array) -> NDArray[np.int32]:
    terms = _TERMS[op.term](x.astype(np.int64))
    shifted = (terms + (1 << op.shift) // 2) >> op.shift
    total = shifted.sum(axis=op.axes, keepdims=op.keepdims) if op.axes else shifted
    assert np.abs(total).max() < 2**31
    return total.astype(np.int32)


def _logarithm(op: Logarithm, x: Array) -> Array:
    return logarithm_reference(x, op)


def _square_root(op: SquareRoot, x: Array) -> Array:
    return square_root_reference(x, op)


REFERENCE = {
    AddScaled: _add,
    AveragePoolInteger: _average_pool,
    CompareScaled: _compare,
    Convolution: _convolution,
    DivideScaled: _divide,
    ExtremeIndex: _extreme_index,
    ExtremeReduce: _extreme_reduce,
    ExtremeScaled: _extreme,
    FullyConnected: _fully_connected,
    IntegerLayerNorm: _layernorm,
    IntegerSoftmax: _softmax,
    Logarithm: _logarithm,
    MatrixProduct: _matrix_product,
    MaximumPool: _maximum_pool,
    MultiplyScaled: _multiply,
    Quantise: _quantise,
    Requantise: _requantise,
    ResizeLinear: _resize,
    SelectScaled: _select,
    SquareRoot: _square_root,
    SumReduce: _sum,
    Table8: _table8,
    Table16: _table16,
    TruthLogic: _logic,
    WideSum: _wide_sum,
}
