"""Program operators with operands that reach their corners, each as a program of one instruction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from engine.export.segments import cut
from engine.export.tosa.segment import TosaSegment, tosa_segment
from engine.ops import layout as ops
from engine.ops import logic
from engine.program.arithmetic import scaling_for
from engine.program.functions import logarithm, square_root
from engine.program.norm import integer_layernorm
from engine.program.softmax import integer_softmax
from engine.program.tables import table8, table16
from engine.program.types import (
    AddScaled,
    AveragePoolInteger,
    CompareScaled,
    Convolution,
    DataMovement,
    ExtremeIndex,
    ExtremeReduce,
    ExtremeScaled,
    FullyConnected,
    Instruction,
    MatrixProduct,
    MaximumPool,
    MultiplyScaled,
    Output,
    Program,
    ProgramConstant,
    ProgramOp,
    Requantise,
    ResizeLinear,
    Scaling,
    SelectScaled,
    SumReduce,
    TruthLogic,
    WideSum,
)
from engine.qtype import QType
from tests.engine.program.test_kernels import random_division, random_group_norm

INT8, INT16 = Output("int8", -127, 127), Output("int16", -32767, 32767)
OUTPUT = {"int8": INT8, "int16": INT16}
RECTIFIED = Output("int8", 0, 90)
LARGEST = {"int8": 127, "int16": 32767}
DTYPES = ("int8", "int16")


@dataclass(frozen=True)
class Case:
    """An operator, its operands, and how many results it has; int32 operands are constants unless ``feeds_wide``."""

    op: ProgramOp
    operands: tuple[np.ndarray, ...]
    results: int = 1
    feeds_wide: bool = False

    @property
    def instruction(self) -> Instruction:
        made = tuple(f"y{index}" for index in range(self.results))
        return Instruction(self.op, tuple(self.fed), made, ("node",), "node")

    @property
    def fed(self) -> Mapping[str, np.ndarray]:
        return {f"x{index}": operand for index, operand in enumerate(self.operands)}

    def segment(self, dtypes: tuple[str, ...]) -> TosaSegment:
        """The operator as TOSA; ``dtypes`` are its results'."""
        item = self.instruction
        types = {name: QType(array.dtype.name) for name, array in self.fed.items()}
        types |= {name: QType(dtype) for name, dtype in zip(item.outputs, dtypes, strict=True)}
        wide = {name: array for name, array in self.fed.items() if array.dtype == np.int32 and not self.feeds_wide}
        constants = {name: ProgramConstant(array, types[name]) for name, array in wide.items()}
        program = Program((item,), types, constants, {}, {name: name for name in item.outputs})
        (segment,) = cut(program)
        made = tosa_segment(program, segment, lambda name: self.fed[name].shape)
        assert made is not None
        return made


def integers(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random integers, a quarter of them the smallest or the largest."""
    rng = np.random.default_rng(seed)
    high = LARGEST[dtype]
    extreme = rng.integers(0, 8, shape)
    values = rng.integers(-high, high + 1, shape)
    return np.select([extreme == 0, extreme == 1], [-high, high], values).astype(dtype)


def random_case(rng: np.random.Generator) -> Case:
    """A convolution or pooling of random sizes, strides, pads, dilations and groups."""

    def pair(low: int, high: int) -> tuple[int, int]:
        first, second = rng.integers(low, high + 1, 2)
        return int(first), int(second)

    dtype, groups = DTYPES[rng.integers(2)], int(rng.choice((1, 2, 4)))
    channels, outputs = (groups * count for count in pair(1, 3))
    kernel, strides, dilations = pair(1, 4), pair(1, 4), pair(1, 3)
    pads = (*pair(0, 3), *pair(0, 3))
    least = [max(dilation * (size - 1) + 1, 1) for size, dilation in zip(kernel, dilations, strict=True)]
    height, width = (size + int(rng.integers(0, 7)) for size in least)
    x = integers(int(rng.integers(2**16)), (2, channels, height, width), dtype)
    within = tuple(min(pad, size - 1) for pad, size in zip(pads, kernel * 2, strict=True))
    ops: tuple[ProgramOp, ...] = (
        convolution(dtype, channels, outputs, groups, kernel, strides=strides, pads=pads, dilations=dilations),
        convolution(
            dtype, channels, outputs, groups, kernel, transposed=True,
            strides=strides, pads=within, dilations=dilations, output_padding=(strides[0] - 1, 0),
        ),
        MaximumPool(kernel, strides, pads, dilations),
        AveragePoolInteger(kernel, strides, within, tuple(pad // 2 for pad in within)),
    )  # fmt: skip
    return Case(ops[rng.integers(len(ops))], (x,))


def _random() -> Iterator[tuple[str, Case]]:
    rng = np.random.default_rng(2026)
    for index in range(100):
        yield f"random-{index}", random_case(rng)


@cache
def cases() -> Mapping[str, Case]:
    """All cases by name."""
    parts = (_convolutions(), _transposed(), _products(), _pairs(), _functions(), _reductions(), _pools(), _norms())
    others = (_softmaxes(), _resizes(), _movements(), _random(), _decisions(), _selections(), _wide_functions())
    return {name: case for part in (*parts, *others, _divisions()) for name, case in part}


def convolution(
    dtype: str, channels: int, outputs: int, groups: int, kernel: tuple[int, ...], *, transposed: bool = False,
    output: Output = INT8, **options: tuple[int, ...],
) -> Convolution:  # fmt: skip
    """Random weights; strides, pads and dilations that are not given are neutral."""
    rng = np.random.default_rng(outputs)
    shape = (channels, outputs // groups, *kernel) if transposed else (outputs, channels // groups, *kernel)
    ones = (1,) * len(kernel)
    taps = np.prod(kernel) * channels / groups
    factors = rng.uniform(0.5, 1.5, outputs) / (100.0 * np.sqrt(taps)) * (1 if dtype == "int8" else 1 / 128)
    return Convolution(
        weight=integers(1, shape, "int8"),
        bias=rng.integers(-20000, 20000, outputs),
        scaling=scaling_for(factors, wide=dtype == "int16"),
        output=output,
        strides=options.get("strides", ones),
        pads=options.get("pads", (0,) * 2 * len(kernel)),
        dilations=options.get("dilations", ones),
        groups=groups,
        transposed=transposed,
        output_padding=options.get("output_padding", ()),
    )


def _convolutions() -> Iterator[tuple[str, Case]]:
    for dtype in DTYPES:
        image = integers(2, (2, 6, 9, 11), dtype)
        for name, op in {
            "plain": convolution(dtype, 6, 8, 1, (3, 3), pads=(1, 1, 1, 1)),
            "uneven": convolution(dtype, 6, 5, 1, (2, 3), pads=(0, 3, 2, 1), strides=(3, 2), dilations=(2, 1)),
            "remainder": convolution(dtype, 6, 4, 1, (1, 1), strides=(3, 4), output=INT16),
            "depthwise": convolution(dtype, 6, 6, 6, (3, 5), pads=(1, 2, 1, 2), strides=(2, 1), output=RECTIFIED),
            "multiplier": convolution(dtype, 6, 12, 6, (3, 3), dilations=(1, 2)),
            "groups": convolution(dtype, 6, 4, 2, (3, 3), pads=(1, 0, 0, 1), strides=(2, 2)),
        }.items():
            yield f"convolution-{name}-{dtype}", Case(op, (image,))
        small = convolution(dtype, 2, 3, 1, (2, 4), strides=(4, 3), pads=(2, 4, 1, 1), dilations=(1, 1))
        yield f"convolution-of-padding-{dtype}", Case(small, (integers(6, (1, 2, 1, 1), dtype),))
        dead = convolution(dtype, 6, 8, 1, (3, 3))
        scaling = Scaling(dead.scaling.multiplier.copy(), dead.scaling.shift.copy())
        scaling.multiplier[2], scaling.shift[2] = 0, 31 if dtype == "int8" else 15
        dead = replace(dead, scaling=scaling, bias=np.full(8, 2**30))
        yield f"convolution-dead-{dtype}", Case(dead, (image,))
        line = convolution(dtype, 4, 6, 2, (3,), strides=(2,), pads=(1, 0), dilations=(2,))
        yield f"convolution-line-{dtype}", Case(line, (integers(5, (2, 4, 17), dtype),))
        volume = integers(6, (1, 4, 5, 6, 7), dtype)
        for groups in (1, 2, 4):
            op = convolution(
                dtype, 4, 4, groups, (2, 3, 2), strides=(1, 2, 3), pads=(0, 1, 1, 2, 0, 1), dilations=(2, 1, 1)
            )
            yield f"convolution-volume-{groups}-{dtype}", Case(op, (volume,))


def _transposed() -> Iterator[tuple[str, Case]]:
    for dtype in DTYPES:
        for groups in (1, 2):
            for index, (pads, extra) in enumerate((((0, 0, 0, 0), ()), ((1, 0, 1, 1), (1, 1)), ((0, 3, 0, 4), (1, 0)))):
                op = convolution(
                    dtype, 4, 6, groups, (3, 2), transposed=True,
                    strides=(2, 2), pads=pads, dilations=(1, 2), output_padding=extra,
                )  # fmt: skip
                yield f"transposed-{index}-{groups}-{dtype}", Case(op, (integers(8, (2, 4, 5, 6), dtype),))
        line = convolution(dtype, 6, 6, 6, (4,), transposed=True, strides=(3,), pads=(1, 2), output_padding=(1,))
        yield f"transposed-line-{dtype}", Case(line, (integers(5, (2, 6, 7), dtype),))
        volume = convolution(
            dtype, 4, 6, 2, (2, 3, 1), transposed=True,
            strides=(2, 1, 3), pads=(0, 1, 0, 1, 2, 1), dilations=(1, 2, 1), output_padding=(1, 0, 2),
        )  # fmt: skip
        yield f"transposed-volume-{dtype}", Case(volume, (integers(5, (2, 4, 3, 4, 3), dtype),))


def _products() -> Iterator[tuple[str, Case]]:
    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        wide = dtype == "int16"
        factor = rng.uniform(0.2, 2, 9) / (4000.0 if not wide else 2.0**20)
        bias = rng.integers(-(2**20), 2**20, 9)
        full = FullyConnected(integers(3, (9, 33), "int8"), bias, scaling_for(factor, wide=wide), INT16)
        yield f"fully-connected-{dtype}", Case(full, (integers(4, (2, 7, 33), dtype),))
        for other in DTYPES:
            scaling = scaling_for(30.0 / (LARGEST[dtype] * LARGEST[other]), wide="int16" in (dtype, other))
            op = MatrixProduct(scaling, OUTPUT[other])
            a, b = integers(5, (3, 2, 5, 17), dtype), integers(6, (3, 2, 17, 4), other)
            yield f"matmul-{dtype}-{other}", Case(op, (a, b))
            yield f"matmul-broadcast-{dtype}-{other}", Case(op, (a[:, :1], b[0]))
            yield f"matmul-plain-{dtype}-{other}", Case(op, (a[0, 0], b[0, 0]))
    long = MatrixProduct(scaling_for(1e-4), INT16)
    yield "matmul-long", Case(long, (np.full((2, 3, 5000), 127, np.int8), integers(1, (2, 5000, 4), "int8")))


def _pairs() -> Iterator[tuple[str, Case]]:
    shapes = (((2, 6, 5, 7), (2, 6, 5, 7)), ((2, 6, 5, 7), (6, 1, 1)), ((2, 1, 5, 7), (2, 6, 1, 7)), ((4,), (3, 4)))
    into, back = scaling_for(900.5), scaling_for(1 / 1200)
    for first, second in (("int8", "int8"), ("int16", "int16"), ("int8", "int16")):
        for index, (a_shape, b_shape) in enumerate(shapes):
            fed = (integers(1, a_shape, first), integers(2, b_shape, second))
            output = OUTPUT[second] if index % 2 else RECTIFIED
            name = f"{index}-{first}-{second}"
            yield f"add-{name}", Case(AddScaled(into, scaling_for(333.25), back, output, index % 2 == 0), fed)
            yield f"multiply-{name}", Case(MultiplyScaled(scaling_for(1.3 / LARGEST[first]), output), fed)
            op = ExtremeScaled(scaling_for(1.0), scaling_for(0.7), output, maximum=index % 2 == 0)
            yield f"extreme-{name}", Case(op, fed)
    a = integers(0, (2, 3, 40), "int8")
    b = np.random.default_rng(0).integers(-(2**24), 2**24, (3, 1)).astype(np.int32)
    wide, narrow = scaling_for(2.0**17), scaling_for(2.0**-17)
    yield "add-constant", Case(AddScaled(wide, None, narrow, INT8), (a, b))
    yield "subtract-from-constant", Case(AddScaled(None, wide, narrow, INT8, subtract=True), (b, a))


def _functions() -> Iterator[tuple[str, Case]]:
    all8 = np.arange(-128, 128).astype(np.int8).reshape(2, 128)
    all16 = np.arange(-32768, 32768).astype(np.int16).reshape(4, 128, 128)
    for output in (INT8, INT16):
        yield f"table8-{output.dtype}", Case(table8(np.tanh, 0.03, 1 / output.high, output), (all8,))
        yield f"table16-{output.dtype}", Case(table16(np.tanh, 0.0001, 1 / output.high, output), (all16,))
        yield f"table16-pole-{output.dtype}", Case(table16(lambda x: 1 / x, 0.001, 0.01, output), (all16,))
        yield f"widen-{output.dtype}", Case(Requantise(scaling_for(200.7), output), (all8,))
        yield f"narrow-{output.dtype}", Case(Requantise(scaling_for(1 / 250.3), output), (all16,))
        yield f"vanish-{output.dtype}", Case(Requantise(scaling_for(0.0), output), (all16,))
        yield f"saturate-{output.dtype}", Case(Requantise(scaling_for(2.0**16), output), (all16,))
        steep = MultiplyScaled(scaling_for(0.7), output)
        yield f"saturate-product-{output.dtype}", Case(steep, (all16, all16))
        far = ExtremeScaled(scaling_for(2.0**20), scaling_for(1.0), output, maximum=False)
        yield f"saturate-extreme-{output.dtype}", Case(far, (all16, all16[::-1].copy()))


def _reductions() -> Iterator[tuple[str, Case]]:
    for dtype in DTYPES:
        x = integers(1, (2, 5, 6, 7), dtype)
        for axes in ((2, 3), (1,), (0, 1, 2, 3)):
            for keepdims in (True, False):
                name = f"{''.join(map(str, axes))}-{keepdims}-{dtype}"
                yield f"sum-{name}", Case(SumReduce(axes, keepdims, scaling_for(0.31), OUTPUT[dtype]), (x,))
                yield f"extreme-reduce-{name}", Case(ExtremeReduce(axes, keepdims, maximum=keepdims), (x,))
    long = np.random.default_rng(0).integers(20000, 32768, (2, 300, 3, 300)).astype(np.int16)
    mean = scaling_for(0.9 / 90000, wide=True)
    for keepdims in (True, False):
        yield f"sum-wide-{keepdims}", Case(SumReduce((1, 3), keepdims, mean, INT16), (long,))


def _pools() -> Iterator[tuple[str, Case]]:
    for dtype in DTYPES:
        x = integers(3, (2, 4, 10, 11), dtype)
        for name, op in {
            "max": MaximumPool((3, 2), (2, 2), (1, 0, 1, 1), (1, 1)),
            "max-dilated": MaximumPool((3, 2), (2, 1), (2, 0, 1, 2), (2, 3)),
            "max-far": MaximumPool((2, 2), (3, 3), (0, 0, 2, 2), (1, 1)),
            "average": AveragePoolInteger((3, 3), (2, 2), (1, 1, 1, 1), (0, 0, 0, 0)),
            "average-counted": AveragePoolInteger((3, 3), (2, 2), (1, 1, 2, 2), (1, 1, 1, 1)),
            "average-all": AveragePoolInteger((10, 11), (1, 1), (0, 0, 0, 0), (0, 0, 0, 0)),
        }.items():
            yield f"{name}-{dtype}", Case(op, (x,))
        line = integers(4, (2, 3, 17), dtype)
        yield f"max-line-{dtype}", Case(MaximumPool((4,), (3,), (1, 2), (1,)), (line,))
        yield f"average-line-{dtype}", Case(AveragePoolInteger((4,), (3,), (1, 2), (0, 0)), (line,))
        far = AveragePoolInteger((2, 2), (1, 1), (2, 0, 0, 1), (0, 0, 0, 0))
        yield f"average-far-{dtype}", Case(far, (integers(1, (1, 2, 4, 4), dtype),))
        volume = integers(4, (1, 2, 5, 6, 7), dtype)
        for name, counted in (("counted", (1,) * 6), ("uncounted", (0,) * 6)):
            pool = AveragePoolInteger((3, 2, 3), (2, 1, 2), (1,) * 6, counted)
            yield f"average-volume-{name}-{dtype}", Case(pool, (volume,))
        yield f"max-volume-{dtype}", Case(MaximumPool((2,) * 3, (2,) * 3, (0,) * 6, (1,) * 3), (volume,))


def _norms() -> Iterator[tuple[str, Case]]:
    for index, shape in enumerate(((3, 5, 96), (40, 7), (2, 1, 1500), (5, 1))):
        rng = np.random.default_rng(index)
        weight, bias = rng.normal(size=shape[-1]), rng.normal(size=shape[-1])
        weight[0] = 0.0
        for dtype in DTYPES:
            x = integers(index, shape, dtype)
            x[0] = np.clip(x[0], -2, 3)
            x[-1] = 17
            for centre in (True, False):
                output, scale = OUTPUT[DTYPES[index % 2]], 10.0 ** (index - 4)
                op = integer_layernorm(
                    scale, dtype, shape[-1], 1e-5, weight, bias, 4.0 / output.high, output, centre=centre
                )
                yield f"norm-{index}-{dtype}-{centre}", Case(op, (x,))
    single = np.zeros((2, 64), np.int16)
    single[0, 3], single[1, 5] = 32767, -32767
    weight = np.linspace(-400, 400, 64)
    op = integer_layernorm(1e-3, "int16", 64, 1e-5, weight, np.ones(64), 1e-5, INT16, centre=False)
    yield "norm-steep", Case(op, (single,))
    ramp, zeros = np.linspace(-1, 1, 24).reshape(4, 6), np.zeros((4, 6))
    op = integer_layernorm(0.1, "int8", 24, 1e-5, ramp, zeros, 0.03, INT8, centre=True, axes_count=2)
    yield "norm-two-axes", Case(op, (integers(0, (3, 4, 6), "int8"),))
    for dtype in DTYPES:
        image = (2, 6, 5, 3)
        for groups, shape in ((1, image), (3, image), (6, image), (2, (3, 6)), (6, (2, 6, 2, 3, 2))):
            op, x = random_group_norm(groups, dtype, groups, shape)
            yield f"norm-groups-{groups}-{len(shape)}-{dtype}", Case(op, (x,))


def _divisions() -> Iterator[tuple[str, Case]]:
    for seed in range(12):
        a, b = DTYPES[seed % 2], DTYPES[seed // 2 % 2]
        op, *operands = random_division(seed, a, b)
        yield f"division-{seed}-{a}-{b}", Case(op, tuple(operands))


def _softmaxes() -> Iterator[tuple[str, Case]]:
    for dtype in DTYPES:
        for index, (axis, shape) in enumerate(((2, (3, 4, 49)), (1, (2, 300, 5)), (1, (1, 3, 1)), (0, (3, 4, 5)))):
            x = integers(index, shape, dtype)
            output = OUTPUT[DTYPES[index % 2]]
            op = integer_softmax(
                (0.5, 9.0, 30.0, 100.0)[index] / LARGEST[dtype], dtype, axis, shape[axis], 1.0 / output.high, output
            )
            yield f"softmax-{index}-{dtype}", Case(op, (x,))
            yield f"softmax-equal-{index}-{dtype}", Case(op, (np.zeros_like(x),))
        for factor in (8000.0, 1e9):
            op = integer_softmax(factor / 2912.7, dtype, 1, 7, 1.0 / 127, INT8)
            yield f"softmax-steep-{factor:g}-{dtype}", Case(op, (integers(3, (4, 7), dtype),))


def _resizes() -> Iterator[tuple[str, Case]]:
    low, high = (np.array([0, 0, 1, 2, 3], np.int32), np.array([0, 1, 2, 3, 3], np.int32))
    fraction = np.array([0, 700, 2048, 1, 1024], np.int32)
    axes = (low, low[1:]), (high, high[1:]), (fraction, fraction[1:])
    yield "resize", Case(ResizeLinear(*axes, scaling_for(0.9 / 2**22), INT8), (integers(1, (2, 3, 4, 5), "int8"),))
    wide = ResizeLinear(*axes, scaling_for(0.9 / 2**15), INT16, row_shift=7)
    yield "resize-int16", Case(wide, (integers(1, (2, 3, 4, 5), "int16"),))


def _movements() -> Iterator[tuple[str, Case]]:
    for dtype in DTYPES:
        x = integers(7, (2, 4, 6, 8), dtype)
        for op in (
            ops.Reshape((8, 48)),
            ops.Transpose((0, 3, 1, 2)),
            ops.Slice((0, 3, 1, 7), (2, -1, 6, -1), (1, -1, 2, -2)),
            ops.Slice((0, 1, 1, 1), (2, 4, 6, 8), (1, 2, 4, 3)),
            ops.Slice((0, 0, 1, 2), (2, 3, 4, 7), (1, 2, 2, 2)),
            ops.Pad((0, 1, 0, 2, 0, 0, 3, 1), "constant", 5.0),
            ops.Pad((0, 1, 0, 2, 0, 0, 3, 1), "reflect"),
            ops.Pad((0, 1, 0, 2, 0, 0, 3, 1), "edge"),
            ops.Gather(2, (5, 0, 0, 3), (2, 2)),
            ops.Gather(1, (2,), ()),
            ops.Expand((3, 2, 4, 6, 8)),
            ops.Tile((1, 2, 1, 3)),
            ops.Roll((-2, 3), (2, 3)),
            ops.DepthToSpace(2, "DCR"),
            ops.DepthToSpace(2, "CRD"),
            ops.SpaceToDepth(2),
            ops.SpaceToDepth(2, "CRD"),
            ops.Identity(),
        ):
            name = "-".join(str(value) for value in (op.type_name, *op.attributes().values()))
            yield f"{name}-{dtype}", Case(DataMovement(op, 5), (x,))
        yield f"Split-{dtype}", Case(DataMovement(ops.Split(2, (1, 2, 3))), (x,), results=3)
        parts = (x, integers(8, (2, 4, 1, 8), dtype))
        yield f"Concat-{dtype}", Case(DataMovement(ops.Concat(2)), parts)
        for axis in (0, 2):
            places = np.array([[1, -1, 0], [-2, 1, 1]], np.int64)
            yield f"LookUp-{axis}-{dtype}", Case(DataMovement(ops.LookUp(axis)), (x, places))


def _decisions() -> Iterator[tuple[str, Case]]:
    shapes = (((2, 6, 5, 7), (2, 6, 5, 7)), ((2, 6, 5, 7), (6, 1, 1)), ((4,), (3, 4)))
    relations = (logic.Equal(), logic.Greater(), logic.GreaterOrEqual(), logic.Less(), logic.LessOrEqual())
    for relation in relations:
        for index, (first, second) in enumerate((("int8", "int8"), ("int16", "int16"), ("int8", "int16"))):
            a_shape, b_shape = shapes[index]
            a, b = integers(1, a_shape, first), integers(2, b_shape, second)
            name = f"{relation.type_name}-{first}-{second}"
            yield f"{name}-same", Case(CompareScaled(relation, None, None), (a, b))
            yield f"{name}-scaled", Case(CompareScaled(relation, scaling_for(0.013), scaling_for(1.0)), (a, b))
        wide = np.arange(-9, 9).astype(np.int32).reshape(3, 6)
        constant = CompareScaled(relation, scaling_for(0.1), None)
        yield f"{relation.type_name}-constant", Case(constant, (integers(3, (5, 3, 6), "int8"), wide))
        yield f"{relation.type_name}-int32", Case(
            CompareScaled(relation, None, None), (wide, wide[:, ::-1].copy()), feeds_wide=True
        )
    a, b = truth(1, (2, 3, 4)), truth(2, (3, 1))
    for connective in (logic.And(), logic.Or(), logic.Xor()):
        yield connective.type_name, Case(TruthLogic(connective), (a, b))
    yield "Not", Case(TruthLogic(logic.Not()), (a,))
    for dtype in DTYPES:
        x = integers(4, (3, 5, 7), dtype)
        x[0] = np.iinfo(dtype).min
        for maximum in (True, False):
            for last in (True, False):
                for axis, keepdims in ((0, True), (1, False), (2, True)):
                    op = ExtremeIndex(axis, keepdims, maximum, last)
                    yield f"index-{dtype}-{maximum}-{last}-{axis}", Case(op, (x,))


def truth(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Random truth values."""
    return np.random.default_rng(seed).random(shape) < 0.5


def _selections() -> Iterator[tuple[str, Case]]:
    for first, second in (("int8", "int8"), ("int16", "int16"), ("int8", "int16")):
        a, b = integers(1, (2, 6, 5, 7), first), integers(2, (6, 1, 7), second)
        for index, output in enumerate((INT8, INT16, RECTIFIED)):
            op = SelectScaled(scaling_for(0.7), scaling_for(130.0) if index else None, output)
            yield f"select-{first}-{second}-{index}", Case(op, (truth(index, (5, 1)), a, b))
    ends = (np.array(127, np.int8), np.array(0, np.int8))
    yield "select-constants", Case(SelectScaled(None, None, INT8), (truth(3, (4, 5)), *ends))
    x = truth(5, (2, 4, 6, 8))
    for op in (
        ops.Reshape((8, 48)),
        ops.Transpose((0, 3, 1, 2)),
        ops.Slice((0, 3, 1, 7), (2, -1, 6, -1), (1, -1, 2, -2)),
        ops.Pad((0, 1, 0, 2, 0, 0, 3, 1), "constant", 1.0),
        ops.Gather(2, (5, 0, 0, 3), (2, 2)),
        ops.Expand((3, 2, 4, 6, 8)),
        ops.Tile((1, 2, 1, 3)),
        ops.Roll((-2, 3), (2, 3)),
        ops.Concat(1),
    ):
        operands = (x, x) if isinstance(op, ops.Concat) else (x,)
        yield f"{op.type_name}-truth", Case(DataMovement(op, 1), operands)


def _wide_functions() -> Iterator[tuple[str, Case]]:
    for dtype in DTYPES:
        x = integers(1, (3, 5, 7), dtype)
        x[0, 0, 0] = np.iinfo(dtype).min
        for term, shift in (("value", 0), ("magnitude", 3), ("square", 7)):
            for axes, keepdims in (((), True), ((1,), True), ((0, 2), False)):
                op = WideSum(axes, keepdims, term, shift)
                yield f"wide-sum-{term}-{len(axes)}-{dtype}", Case(op, (x,))
    rng = np.random.default_rng(3)
    wide = (rng.integers(-(2**31) + 1, 2**31, (20, 200)) >> rng.integers(0, 32, (20, 200))).astype(np.int32)
    narrow = np.arange(-128, 128).astype(np.int8)
    for output in (INT8, INT16):
        for scale in (1e-6, 3.0):
            log = logarithm(scale, 40.0 / output.high, output)
            root = square_root(scale, (2.0**31 * scale) ** 0.5 / output.high, output)
            yield f"log-{output.dtype}-{scale}", Case(log, (wide,), feeds_wide=True)
            yield f"root-{output.dtype}-{scale}", Case(root, (wide,), feeds_wide=True)
        yield f"log-narrow-{output.dtype}", Case(logarithm(0.01, 5.0 / output.high, output), (narrow,))
        yield f"root-narrow-{output.dtype}", Case(square_root(0.01, 1.2 / output.high, output), (narrow,))
