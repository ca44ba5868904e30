"""The operators of random models: a function each, and its row.

To add one, write a function that adds the nodes behind a value, and decorate it with its name and what values it takes.
It may raise :class:`Unfit`; what ONNX Runtime does not compute to ordinary numbers is taken back without its doing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.conformance.sketch import Sketch, Unfit, Value

Add = Callable[[Sketch, Value], None]
Fits = Callable[[Value], bool]


@dataclass(frozen=True)
class Row:
    """An operator of random models: what it is called, the values it takes, how it is added and how often."""

    name: str
    fits: Fits
    add: Add
    weight: float


OPERATORS: dict[str, Row] = {}


def operator(name: str, fits: Fits = lambda _: True, *, weight: float = 1.0) -> Callable[[Add], Add]:
    """Decorator that makes a function a row; ``weight`` is how often it is drawn beside the others."""

    def register(add: Add) -> Add:
        assert name not in OPERATORS
        OPERATORS[name] = Row(name, fits, add, weight)
        return add

    return register


def image(x: Value) -> bool:
    """[N, C, *S] with one to three spatial axes."""
    return 3 <= x.rank <= 5


def plane(x: Value) -> bool:
    """[N, C, H, W]."""
    return x.rank == 4


def matrix(x: Value) -> bool:
    return x.rank >= 2


def some_axes(x: Value) -> bool:
    return x.rank >= 1


# ------------------------------------------------------------------------------ convolutions and products


def _groups(sketch: Sketch, channels: int) -> int:
    divisors = [count for count in range(1, channels + 1) if channels % count == 0]
    return sketch.rng.choice((1, 1, channels, sketch.rng.choice(divisors)))


def _window(sketch: Sketch, x: Value) -> dict[str, list[int]]:
    """Kernel, strides, dilations and uneven pads for the spatial axes of ``x``."""
    rng, spatial = sketch.rng, x.shape[2:]
    kernel = [rng.randint(1, min(4, size + 1)) for size in spatial]
    return {
        "kernel_shape": kernel,
        "strides": [rng.choice((1, 1, 2, 3)) for _ in spatial],
        "dilations": [rng.choice((1, 1, 1, 2, 3)) for _ in spatial],
        "pads": [rng.randint(0, min(2, size - 1)) if rng.random() < 0.6 else 0 for size in kernel * 2],
    }


def _convolution(sketch: Sketch, x: Value) -> None:
    channels, groups = x.shape[1], _groups(sketch, x.shape[1])
    outputs = groups * sketch.rng.randint(1, max(1, 8 // groups))
    window: dict[str, Any] = {**_window(sketch, x), "group": groups}
    if sketch.chance(0.15):
        del window["pads"]
        window |= {
            "auto_pad": sketch.rng.choice(("SAME_UPPER", "SAME_LOWER", "VALID")),
            "dilations": [1] * (x.rank - 2),
        }
    weight = sketch.weight(outputs, channels // groups, *window["kernel_shape"])
    operands = (x, weight, sketch.weight(outputs, gain=0.5)) if sketch.chance(0.7) else (x, weight)
    y = sketch.then("Conv", *operands, **window)
    _activated(sketch, y)


def _activated(sketch: Sketch, y: str) -> None:
    """Often a clamp behind it, which fuses."""
    choice = sketch.rng.random()
    if choice < 0.25:
        sketch.then("Relu", y)
    elif choice < 0.4:
        low, high = (sketch.constant(np.float32(bound)) for bound in (sketch.rng.choice((-1.0, 0.0)), 1.5))
        sketch.then("Clip", y, low, high)


operator("Conv 1-D", lambda x: x.rank == 3, weight=2.0)(_convolution)
operator("Conv 2-D", plane, weight=4.0)(_convolution)
operator("Conv 3-D", lambda x: x.rank == 5, weight=2.0)(_convolution)


@operator("ConvTranspose", lambda x: x.rank in (3, 4), weight=2.0)
def transposed_convolution(sketch: Sketch, x: Value) -> None:
    rng, spatial = sketch.rng, x.shape[2:]
    groups = _groups(sketch, x.shape[1])
    per_group = rng.randint(1, max(1, 6 // groups))
    kernel = [rng.randint(1, 4) for _ in spatial]
    strides = [rng.randint(1, 3) for _ in spatial]
    dilations = [rng.choice((1, 1, 2)) for _ in spatial]
    pads = [rng.randint(0, size - 1) for size in kernel * 2]
    extra = [rng.randint(0, max(stride, dilation) - 1) for stride, dilation in zip(strides, dilations, strict=True)]
    weight = sketch.weight(x.shape[1], per_group, *kernel)
    operands = (x, weight, sketch.weight(groups * per_group, gain=0.5)) if sketch.chance(0.6) else (x, weight)
    y = sketch.then(
        "ConvTranspose", *operands, kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads,
        output_padding=extra, group=groups,
    )  # fmt: skip
    _activated(sketch, y)


@operator("MatMul with weights", some_axes, weight=2.0)
def linear(sketch: Sketch, x: Value) -> None:
    outputs = sketch.rng.randint(1, 12)
    y = sketch.then("MatMul", x, sketch.constant(_matrix(sketch, x.shape[-1], outputs)))
    if sketch.chance(0.6):
        y = sketch.then("Add", y, sketch.weight(outputs, gain=0.5))
    _activated(sketch, y)


def _matrix(sketch: Sketch, *shape: int) -> np.ndarray:
    """Random weights [..., K, O] that keep the size of what they multiply."""
    return (sketch.numbers.normal(size=shape) / math.sqrt(shape[-2])).astype(np.float32)


@operator("MatMul with a batch of weights", lambda x: x.rank >= 3)
def batched_linear(sketch: Sketch, x: Value) -> None:
    batch = tuple(sketch.rng.choice((1, size)) for size in x.shape[1:-2])
    sketch.then("MatMul", x, sketch.constant(_matrix(sketch, *batch, x.shape[-1], sketch.rng.randint(1, 8))))


@operator("MatMul", matrix, weight=2.0)
def matrix_product(sketch: Sketch, x: Value) -> None:
    """Of two activations: the other one is another value or this one, transposed where that fits."""
    fitting = [v for v in sketch.values if v.rank >= 2 and _broadcasts(v.shape[:-2], x.shape[:-2])]
    if sketch.open_batch:  # which is to be no matrix's axis
        if x.rank == 2:
            raise Unfit
        fitting = [v for v in fitting if v.rank == x.rank]
    other = sketch.rng.choice([v for v in fitting if x.shape[-1] in v.shape[-2:]] or [x])
    if other.shape[-2] != x.shape[-1] or (other.shape[-1] == x.shape[-1] and sketch.chance(0.5)):
        if other.shape[-1] != x.shape[-1]:
            raise Unfit
        perm = [*range(other.rank - 2), other.rank - 1, other.rank - 2]
        sketch.then("MatMul", x, sketch.then("Transpose", other, perm=perm))
    else:
        sketch.then("MatMul", x, other)


@operator("Gemm", lambda x: x.rank == 2, weight=2.0)
def gemm(sketch: Sketch, x: Value) -> None:
    outputs, turned = sketch.rng.randint(1, 12), sketch.chance(0.5)
    weight = _matrix(sketch, x.shape[1], outputs)
    operands: list[Value | str] = [x, sketch.constant(np.ascontiguousarray(weight.T) if turned else weight)]
    if sketch.chance(0.7):
        operands.append(sketch.weight(*sketch.rng.choice(((outputs,), (1, outputs), (1,))), gain=0.5))
    scale = {"alpha": 0.5, "beta": 2.0} if sketch.chance(0.2) else {}
    _activated(sketch, sketch.then("Gemm", *operands, transB=int(turned), **scale))


@operator("attention", lambda x: x.rank == 3)
def attention(sketch: Sketch, x: Value) -> None:
    """Softmax of q k^T, scaled, times v, perhaps masked."""
    width, inner = x.shape[2], sketch.rng.randint(2, 8)
    query, key = (sketch.then("MatMul", x, sketch.constant(_matrix(sketch, width, inner))) for _ in range(2))
    scores = sketch.then("MatMul", query, sketch.then("Transpose", key, perm=[0, 2, 1]))
    scores = sketch.then("Mul", scores, sketch.constant(np.float32(1 / math.sqrt(inner))))
    if sketch.chance(0.3):
        hidden = np.where(sketch.numbers.random((1, x.shape[1], x.shape[1])) < 0.3, np.float32(-100.0), np.float32(0.0))
        scores = sketch.then("Add", scores, sketch.constant(hidden))
    value = sketch.then("MatMul", x, sketch.constant(_matrix(sketch, width, inner)))
    sketch.then("MatMul", sketch.then("Softmax", scores, axis=-1), value)


# ----------------------------------------------------------------------------------------- arithmetic


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    pairs = zip(reversed(a), reversed(b), strict=False)
    return all(x == y or 1 in (x, y) for x, y in pairs)


def _other(sketch: Sketch, x: Value) -> Value | str:
    """Another value that broadcasts with ``x``, or a constant that does."""
    fitting = [v for v in sketch.values if _broadcasts(v.shape, x.shape) and v != x]
    if sketch.open_batch:
        fitting = [v for v in fitting if v.rank == x.rank]
    if fitting and sketch.chance(0.65):
        return sketch.rng.choice(fitting)
    return sketch.constant(_constant_beside(sketch, x))


def _constant_beside(sketch: Sketch, x: Value) -> np.ndarray:
    """An array that broadcasts with ``x``; a scalar now and then."""
    if sketch.chance(0.25):
        return np.array(sketch.rng.choice((-2.0, -0.5, 0.0, 0.125, 1.0, 3.0)), np.float32)
    kept = sketch.rng.randint(0, x.rank)
    shape = [sketch.rng.choice((1, size)) for size in x.shape[x.rank - kept :]]
    if sketch.open_batch and kept == x.rank and shape:
        shape[0] = 1
    return sketch.numbers.normal(size=shape).astype(np.float32)


def _arithmetic(op_type: str) -> None:
    @operator(op_type)
    def add(sketch: Sketch, x: Value) -> None:
        operands = [x, _other(sketch, x)]
        if sketch.chance(0.4):
            operands.reverse()
        y = sketch.then(op_type, *operands)
        if sketch.chance(0.2):
            sketch.then("Relu", y)


for _name in ("Add", "Sub", "Mul", "Max", "Min"):
    _arithmetic(_name)


@operator("Div")
def division(sketch: Sketch, x: Value) -> None:
    """By something that keeps away from 0."""
    if sketch.chance(0.5):
        divisor = np.abs(_constant_beside(sketch, x)) + np.float32(0.2)
        sketch.then("Div", x, sketch.constant(divisor.astype(np.float32)))
        return
    away = sketch.then("Add", sketch.then("Abs", x), sketch.constant(np.float32(0.5)))
    numerator = _other(sketch, x)
    sketch.then("Div", numerator, away)


@operator("PRelu", matrix)
def prelu(sketch: Sketch, x: Value) -> None:
    shape = [x.shape[1], *(1,) * (x.rank - 2)] if sketch.chance(0.6) else [1]
    sketch.then("PRelu", x, sketch.weight(*shape, gain=0.3))


def _function(op_type: str, *, keeps_away: bool = False, **attributes: Any) -> None:
    @operator(op_type, weight=0.35)
    def add(sketch: Sketch, x: Value) -> None:
        source: Value | str = x
        if keeps_away:
            source = sketch.then("Add", sketch.then("Abs", x), sketch.constant(np.float32(0.1)))
        sketch.then(op_type, source, **attributes)


for _name in (
    "Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Sin", "Cos", "Softplus",
    "Softsign", "Mish", "HardSwish", "Selu", "Gelu",
):  # fmt: skip
    _function(_name)
for _name in ("Log", "Sqrt", "Reciprocal"):
    _function(_name, keeps_away=True)
_function("LeakyRelu", alpha=0.1)
_function("Elu", alpha=1.5)
_function("Celu", alpha=0.5)
_function("ThresholdedRelu", alpha=0.3)
_function("HardSigmoid", alpha=0.3, beta=0.4)


@operator("Clip")
def clip(sketch: Sketch, x: Value) -> None:
    low, high = sketch.rng.choice(((-1.0, 1.0), (0.0, 6.0), (-0.3, 0.2), (0.5, 2.0)))
    bounds = ["" if sketch.chance(0.2) else sketch.constant(np.float32(bound)) for bound in (low, high)]
    sketch.then("Clip", x, *bounds)


@operator("Pow")
def power(sketch: Sketch, x: Value) -> None:
    sketch.then("Pow", x, sketch.constant(np.float32(sketch.rng.choice((2.0, 3.0)))))


@operator("SiLU by hand")
def silu(sketch: Sketch, x: Value) -> None:
    sketch.then("Mul", x, sketch.then("Sigmoid", x))


@operator("squeeze and excite", plane)
def squeeze_and_excite(sketch: Sketch, x: Value) -> None:
    pooled = sketch.then("GlobalAveragePool", x)
    squeezed = sketch.then("Relu", sketch.then("Conv", pooled, sketch.weight(2, x.shape[1], 1, 1)))
    excited = sketch.then("HardSigmoid", sketch.then("Conv", squeezed, sketch.weight(x.shape[1], 2, 1, 1)))
    sketch.then("Mul", x, excited)


# ---------------------------------------------------------------------------------- pools and reductions


@operator("MaxPool", image)
def max_pool(sketch: Sketch, x: Value) -> None:
    window = _window(sketch, x)
    sketch.then("MaxPool", x, ceil_mode=int(sketch.chance(0.4)), **window)


@operator("AveragePool", image)
def average_pool(sketch: Sketch, x: Value) -> None:
    window = _window(sketch, x)
    del window["dilations"]
    counted = int(sketch.chance(0.4))
    sketch.then("AveragePool", x, ceil_mode=int(sketch.chance(0.4)), count_include_pad=counted, **window)


@operator("GlobalAveragePool", image)
def global_average_pool(sketch: Sketch, x: Value) -> None:
    sketch.then("GlobalAveragePool", x)


@operator("GlobalMaxPool", image)
def global_max_pool(sketch: Sketch, x: Value) -> None:
    sketch.then("GlobalMaxPool", x)


def _reduction(op_type: str) -> None:
    @operator(op_type, some_axes)
    def add(sketch: Sketch, x: Value) -> None:
        sketch.then(op_type, x, sketch.integers(sketch.axes(x)), keepdims=int(sketch.chance(0.5)))


for _name in (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd",
    "ReduceLogSumExp",
):  # fmt: skip
    _reduction(_name)


@operator("ReduceLogSum", some_axes)
def reduce_log_sum(sketch: Sketch, x: Value) -> None:
    """Of positive numbers."""
    positive = sketch.then("Add", sketch.then("Abs", x), sketch.constant(np.float32(0.1)))
    sketch.then("ReduceLogSum", positive, sketch.integers(sketch.axes(x)), keepdims=int(sketch.chance(0.5)))


@operator("LogSoftmax", some_axes)
def log_softmax(sketch: Sketch, x: Value) -> None:
    sketch.then("LogSoftmax", x, axis=sketch.axis(x))


@operator("Pow of two")
def power_of_two_tensors(sketch: Sketch, x: Value) -> None:
    """Of magnitudes up to 1, to computed powers or to a constant's; or a constant to computed powers."""
    gate, form = sketch.then("Sigmoid", x), sketch.rng.randrange(3)
    powers = sketch.constant(sketch.numbers.choice((0.0, 0.5, 1.0, 2.0, 3.0), size=x.shape[-1:]).astype(np.float32))
    bases = sketch.constant((0.5 + sketch.numbers.random(x.shape[-1:])).astype(np.float32))
    sketch.then("Pow", *((gate, gate), (gate, powers), (bases, gate))[form])


# --------------------------------------------------------------------------------- decisions and selections

_RELATIONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")


def _decision(sketch: Sketch, x: Value) -> str:
    """Truth values about ``x``: against another value, a constant, or its largest elements, perhaps combined."""
    relation = sketch.rng.choice(_RELATIONS)
    other = sketch.pick(lambda v: v.shape == x.shape) if sketch.chance(0.5) else None
    if x.rank and sketch.chance(0.3):
        axes = sketch.integers([sketch.axis(x)])
        found = sketch.then("Equal", x, sketch.then("ReduceMax", x, axes, keepdims=1))
    else:
        limit = sketch.constant(np.float32(sketch.rng.choice((0.0, 0.5, -1.0))))
        found = sketch.then(relation, x, other or limit)
    if sketch.chance(0.4):
        fixed = sketch.constant(sketch.numbers.random(x.shape[-1:]) < 0.5)
        found = sketch.then(sketch.rng.choice(("And", "Or", "Xor")), found, fixed)
    return sketch.then("Not", found) if sketch.chance(0.3) else found


@operator("Where")
def where(sketch: Sketch, x: Value) -> None:
    other = sketch.pick(lambda v: v.shape == x.shape)
    constant = sketch.constant(np.float32(sketch.rng.choice((0.0, -3.0, 7.5))))
    candidates: list[Value | str] = [x, other if other is not None and sketch.chance(0.5) else constant]
    sketch.rng.shuffle(candidates)
    sketch.then("Where", _decision(sketch, x), *candidates)


@operator("mask by Cast")
def mask_by_cast(sketch: Sketch, x: Value) -> None:
    sketch.then("Mul", x, sketch.then("Cast", _decision(sketch, x), to=1))


@operator("guard by IsNaN")
def guard_by_is_nan(sketch: Sketch, x: Value) -> None:
    sketch.then("Where", sketch.then("IsNaN", x), sketch.constant(np.float32(0.0)), x)


@operator("ArgMax", some_axes, weight=0.5)
def arg_max(sketch: Sketch, x: Value) -> None:
    """Indices, which are converted on the CPU."""
    last, keepdims = int(sketch.chance(0.3)), int(sketch.chance(0.5))
    name = sketch.rng.choice(("ArgMax", "ArgMin"))
    index = sketch.then(name, x, axis=sketch.axis(x), keepdims=keepdims, select_last_index=last)
    sketch.then("Cast", index, to=1)


@operator("Softmax", some_axes)
def softmax(sketch: Sketch, x: Value) -> None:
    sketch.then("Softmax", x, axis=sketch.axis(x))


# ------------------------------------------------------------------------------------- normalisation


@operator("LayerNormalization", some_axes)
def layer_norm(sketch: Sketch, x: Value) -> None:
    axis = min(sketch.free_axes(x)[-sketch.rng.choice((1, 1, 2)) :])
    shape = x.shape[axis:]
    weights = [sketch.constant((1 + 0.3 * sketch.numbers.normal(size=shape)).astype(np.float32))]
    if sketch.chance(0.7):
        weights.append(sketch.constant((0.3 * sketch.numbers.normal(size=shape)).astype(np.float32)))
    sketch.then("LayerNormalization", x, *weights, axis=axis - x.rank, epsilon=sketch.rng.choice((1e-5, 1e-3)))


@operator("RMSNorm by hand", some_axes)
def rms_norm(sketch: Sketch, x: Value) -> None:
    sketch.free_axes(x)
    square = sketch.then("Pow", x, sketch.constant(np.float32(2.0)))
    mean = sketch.then("ReduceMean", square, sketch.integers([-1]), keepdims=1)
    root = sketch.then("Sqrt", sketch.then("Add", mean, sketch.constant(np.float32(1e-5))))
    weight = sketch.constant((1 + 0.3 * sketch.numbers.normal(size=x.shape[-1:])).astype(np.float32))
    sketch.then("Mul", sketch.then("Div", x, root), weight)


@operator("BatchNormalization", matrix)
def batch_norm(sketch: Sketch, x: Value) -> None:
    channels = x.shape[1]
    scale, shift, mean = (sketch.weight(channels, gain=1.0) for _ in range(3))
    variance = sketch.constant((0.5 + sketch.numbers.random(channels)).astype(np.float32))
    sketch.then("BatchNormalization", x, scale, shift, mean, variance)


def _scale_and_shift(sketch: Sketch, channels: int) -> tuple[str, str]:
    """Weights near one and biases near zero, one a channel."""
    scale = (1 + 0.3 * sketch.numbers.normal(size=channels)).astype(np.float32)
    return sketch.constant(scale), sketch.constant((0.3 * sketch.numbers.normal(size=channels)).astype(np.float32))


@operator("InstanceNormalization", lambda x: x.rank >= 3 and math.prod(x.shape[2:]) > 1)
def instance_norm(sketch: Sketch, x: Value) -> None:
    weights = _scale_and_shift(sketch, x.shape[1])
    sketch.then("InstanceNormalization", x, *weights, epsilon=sketch.rng.choice((1e-5, 1e-3)))


@operator("GroupNormalization", lambda x: x.rank >= 3 and math.prod(x.shape[2:]) > 1)
def group_norm(sketch: Sketch, x: Value) -> None:
    groups = sketch.rng.choice([count for count in range(1, x.shape[1] + 1) if x.shape[1] % count == 0])
    weights = _scale_and_shift(sketch, x.shape[1])
    sketch.then("GroupNormalization", x, *weights, num_groups=groups)


# -------------------------------------------------------------------------------------------- equations


@operator("Einsum", lambda x: x.rank == 3)
def einsum(sketch: Sketch, x: Value) -> None:
    """A product with weights or with the value itself, in axes of any order."""
    equation = sketch.rng.choice(("bik,bjk->bij", "bik,bjk->bji", "bki,bkj->bij"))
    weighted = sketch.rng.choice(("bik,kj->bij", "bik,jk->bij", "bik,kj->bji"))
    if sketch.chance(0.5):
        sketch.then("Einsum", x, x, equation=equation)
        return
    outputs = sketch.rng.randint(1, 6)
    weight = _matrix(sketch, x.shape[2], outputs)
    turned = weighted.startswith("bik,jk")
    sketch.then("Einsum", x, sketch.constant(np.ascontiguousarray(weight.T) if turned else weight), equation=weighted)


# ------------------------------------------------------------------------------------------- resizing


@operator("Resize nearest", plane)
def resize_nearest(sketch: Sketch, x: Value) -> None:
    coordinates = sketch.rng.choice(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"))
    rounding = sketch.rng.choice(("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
    _resize(sketch, x, "nearest", coordinate_transformation_mode=coordinates, nearest_mode=rounding)


@operator("Resize linear", plane)
def resize_linear(sketch: Sketch, x: Value) -> None:
    coordinates = sketch.rng.choice(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"))
    _resize(sketch, x, "linear", coordinate_transformation_mode=coordinates)


def _resize(sketch: Sketch, x: Value, mode: str, **attributes: Any) -> None:
    scales = [1.0, 1.0, *(sketch.rng.choice((0.5, 1.0, 1.5, 2.0, 2.0, 3.0)) for _ in x.shape[2:])]
    sketch.then("Resize", x, "", sketch.constant(np.array(scales, np.float32)), mode=mode, **attributes)


# ---------------------------------------------------------------------------------------- data movement


@operator("Concat", some_axes)
def concat(sketch: Sketch, x: Value) -> None:
    """With other values of the same shape but for one axis, and sometimes a constant."""
    axis = sketch.axis(x)
    place = axis % x.rank

    def fits(v: Value) -> bool:
        return v.rank == x.rank and all(i == place or v.shape[i] == size for i, size in enumerate(x.shape))

    parts: list[Value | str] = [x]
    for _ in range(sketch.rng.randint(1, 2)):
        if sketch.chance(0.2) and not sketch.open_batch:
            shape = [size if i != place else 2 for i, size in enumerate(x.shape)]
            parts.append(sketch.constant(sketch.numbers.normal(size=shape).astype(np.float32)))
        else:
            parts.append(sketch.pick(fits) or x)
    sketch.then("Concat", *parts, axis=axis)


@operator("Split", some_axes)
def split(sketch: Sketch, x: Value) -> None:
    axis = sketch.axis(x)
    size = x.shape[axis]
    if size < 2:
        raise Unfit
    first = sketch.rng.randint(1, size - 1)
    sketch.node("Split", x, sketch.integers([first, size - first]), outputs=2, axis=axis)


@operator("Slice", some_axes)
def slices(sketch: Sketch, x: Value) -> None:
    axes = sketch.axes(x)
    starts, ends, steps = [], [], []
    for axis in axes:
        size = x.shape[axis]
        start = sketch.rng.randrange(size)
        if sketch.chance(0.25):
            bounds = (start, -size - 1, -sketch.rng.randint(1, 2))
        else:
            bounds = (start, sketch.rng.choice((start + 1, size, 2**31)), sketch.rng.randint(1, 2))
        for kept, bound in zip((starts, ends, steps), bounds, strict=True):
            kept.append(bound)
    sketch.then("Slice", x, *(sketch.integers(values) for values in (starts, ends, axes, steps)))


@operator("Pad", some_axes)
def pad(sketch: Sketch, x: Value) -> None:
    free, mode = sketch.free_axes(x), sketch.rng.choice(("constant", "constant", "reflect", "edge"))

    def amount(axis: int) -> int:
        most = 2 if mode != "reflect" else min(2, x.shape[axis] - 1)
        return sketch.rng.randint(0, most) if axis in free else 0

    pads = [amount(axis) for _ in range(2) for axis in range(x.rank)]
    value = [sketch.constant(np.float32(sketch.rng.choice((0.0, 0.7, -9.0))))] if mode == "constant" else []
    sketch.then("Pad", x, sketch.integers(pads), *value, mode=mode)


@operator("Transpose", matrix)
def transpose(sketch: Sketch, x: Value) -> None:
    free = sketch.free_axes(x)
    perm = sketch.rng.sample(free, len(free))
    sketch.then("Transpose", x, perm=[0, *perm] if sketch.open_batch else perm)


@operator("Reshape", some_axes)
def reshape(sketch: Sketch, x: Value) -> None:
    """Factors of the elements in another order."""
    free = sketch.free_axes(x)
    rest = math.prod(x.shape[axis] for axis in free)
    sizes: list[int] = []
    for _ in range(sketch.rng.randint(0, 3)):
        sizes.append(sketch.rng.choice([n for n in range(1, min(rest, 12) + 1) if rest % n == 0]))
        rest //= sizes[-1]
    sizes.append(rest)
    sketch.rng.shuffle(sizes)
    if sketch.chance(0.4):
        sizes[sketch.rng.randrange(len(sizes))] = -1
    sketch.then("Reshape", x, sketch.integers([0, *sizes] if sketch.open_batch else sizes))


@operator("Flatten", matrix)
def flatten(sketch: Sketch, x: Value) -> None:
    sketch.then("Flatten", x, axis=1 if sketch.open_batch else sketch.rng.randint(0, x.rank))


@operator("Unsqueeze")
def unsqueeze(sketch: Sketch, x: Value) -> None:
    sketch.then("Unsqueeze", x, sketch.integers([sketch.rng.randint(1 if sketch.open_batch else 0, x.rank)]))


@operator("Squeeze", lambda x: 1 in x.shape[1:])
def squeeze(sketch: Sketch, x: Value) -> None:
    sketch.then("Squeeze", x, sketch.integers([axis for axis in sketch.free_axes(x) if x.shape[axis] == 1][:1]))


@operator("Gather", some_axes)
def gather(sketch: Sketch, x: Value) -> None:
    axis = sketch.axis(x)
    size = x.shape[axis]
    shape = sketch.rng.choice(((), (1,), (3,), (2, 2)))
    sketch.then("Gather", x, sketch.constant(sketch.numbers.integers(-size, size, shape)), axis=axis)


@operator("DepthToSpace", lambda x: plane(x) and x.shape[1] % 4 == 0)
def depth_to_space(sketch: Sketch, x: Value) -> None:
    sketch.then("DepthToSpace", x, blocksize=2, mode=sketch.rng.choice(("DCR", "CRD")))


@operator("SpaceToDepth", lambda x: plane(x) and x.shape[2] % 2 == x.shape[3] % 2 == 0)
def space_to_depth(sketch: Sketch, x: Value) -> None:
    sketch.then("SpaceToDepth", x, blocksize=2)


@operator("Roll", some_axes)
def roll(sketch: Sketch, x: Value) -> None:
    axis = sketch.axis(x) % x.rank
    if x.shape[axis] < 2:
        raise Unfit
    shift = sketch.integers([sketch.rng.randint(1, x.shape[axis] - 1)])
    start, end, along = sketch.integers([0]), sketch.integers([2**31]), sketch.integers([axis])
    halves = (sketch.then("Slice", x, shift, end, along), sketch.then("Slice", x, start, shift, along))
    sketch.then("Concat", *halves, axis=axis)


@operator("Tile", some_axes)
def tile(sketch: Sketch, x: Value) -> None:
    free = sketch.free_axes(x)
    sketch.then("Tile", x, sketch.integers([sketch.rng.choice((1, 1, 2)) if i in free else 1 for i in range(x.rank)]))


@operator("Expand", lambda x: 1 in x.shape)
def expand(sketch: Sketch, x: Value) -> None:
    free = sketch.free_axes(x)
    sizes = [sketch.rng.randint(1, 4) if size == 1 and axis in free else 1 for axis, size in enumerate(x.shape)]
    more = [] if sketch.open_batch or sketch.chance(0.6) else [2]
    sketch.then("Expand", x, sketch.integers([*more, *sizes]))


@operator("Identity")
def identity(sketch: Sketch, x: Value) -> None:
    sketch.then(sketch.rng.choice(("Identity", "Dropout")), x)
