"""Every program operator in ONNX Runtime, bit for bit, with and without optimisations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ExportError
from engine.export.integer_onnx.registry import INTEGER_NODES
from engine.export.integer_onnx.write import program_model
from engine.ops import layout
from engine.ops.elementwise import Relu
from engine.program.arithmetic import scaling_for
from engine.program.norm import integer_layernorm
from engine.program.tables import table8, table16
from engine.program.types import (
    AddScaled,
    AveragePoolInteger,
    DataMovement,
    Dequantise,
    ExtremeReduce,
    ExtremeScaled,
    FloatKernel,
    FullyConnected,
    MatrixProduct,
    MaximumPool,
    MultiplyScaled,
    Output,
    ProgramOp,
    Quantise,
    Requantise,
    ResizeLinear,
    Scaling,
    SumReduce,
)
from tests.engine.export.integer_onnx.runtime import check, fixed, single
from tests.engine.program.test_kernels import (
    DTYPES,
    INT8,
    INT16,
    LARGEST,
    convolution_of,
    integers,
    output_of,
    random_division,
    random_group_norm,
    random_layernorm,
    random_softmax,
)

few = settings(max_examples=12, deadline=None, derandomize=True)
seeds = st.integers(0, 2**16)


def test_every_operator_has_a_form() -> None:
    operators = {cls for cls in ProgramOp.__subclasses__() if cls.__module__ == ProgramOp.__module__}
    assert operators - {Scaling} == set(INTEGER_NODES)


def test_an_operator_without_a_form_is_named() -> None:
    class Unheard(ProgramOp):
        pass

    program, known = single(Requantise(scaling_for(1.0), INT8), integers(0, (3,), "int8"))
    (item,) = program.instructions
    object.__setattr__(item, "op", Unheard())
    with pytest.raises(ExportError, match="node 'node': Unheard has no form in standard ONNX operators"):
        program_model(program, known, fixed(program, known))


@few
@given(seeds, st.sampled_from(DTYPES), st.sampled_from(((1, 1, 8), (6, 6, 6), (4, 4, 12), (6, 2, 4))), st.data())
def test_convolution(seed: int, dtype: str, sizes: tuple[int, int, int], data: st.DataObject) -> None:
    channels, groups, outputs = sizes
    op = convolution_of(
        seed, dtype, channels, outputs, groups,
        kernel=data.draw(st.tuples(st.integers(1, 3), st.integers(1, 5))),
        strides=data.draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
        dilations=data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        pads=data.draw(st.tuples(*[st.integers(0, 3)] * 4)),
    )  # fmt: skip
    check(op, integers(seed + 1, (2, channels, 9, 11), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_convolution_of_points_lines_and_volumes(dtype: str) -> None:
    point = convolution_of(3, dtype, 8, 6, 2, (1, 1), strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1))
    check(point, integers(4, (2, 8, 4, 5), dtype))
    line = convolution_of(1, dtype, 4, 6, 2, (3,), strides=(2,), pads=(1, 0), dilations=(2,))
    check(line, integers(5, (2, 4, 17), dtype))
    volume = convolution_of(
        2, dtype, 3, 4, 1, (2, 3, 2), strides=(1, 2, 1), pads=(0, 1, 1, 1, 0, 0), dilations=(1, 1, 2)
    )
    check(volume, integers(6, (1, 3, 5, 6, 7), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(dtype: str, groups: int) -> None:
    for pads, extra in (((0, 0, 0, 0), ()), ((1, 0, 1, 1), (1, 1)), ((0, 3, 0, 4), (1, 0))):
        op = convolution_of(
            4, dtype, 4, 6, groups, (3, 2), strides=(2, 2), pads=pads, dilations=(1, 2), transposed=True,
            output_padding=extra,
        )  # fmt: skip
        check(op, integers(8, (2, 4, 5, 6), dtype))


@few
@given(seeds, st.sampled_from(DTYPES), st.integers(1, 70), st.integers(1, 40))
def test_fully_connected(seed: int, dtype: str, length: int, outputs: int) -> None:
    rng = np.random.default_rng(seed)
    op = FullyConnected(
        weight=integers(seed, (outputs, length), "int8"),
        bias=rng.integers(-(2**20), 2**20, outputs),
        scaling=scaling_for(
            rng.uniform(0.2, 2, outputs) / (4000.0 if dtype == "int8" else 2.0**20), wide=dtype == "int16"
        ),
        output=output_of("int8" if seed % 3 else "int16"),
    )
    check(op, integers(seed + 1, (2, 5, length), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_fully_connected_at_the_extremes(dtype: str) -> None:
    length = 4096
    weight = np.full((3, length), 127, np.int8)
    weight[1] = -127
    weight[2, ::2] = -127
    scaling = scaling_for(32000 / (length * 127 * LARGEST[dtype]), wide=dtype == "int16")
    x = np.full((2, length), LARGEST[dtype], dtype)
    x[1] = -x[1]
    check(FullyConnected(weight, np.array([2**28, -(2**28), 5]), scaling, INT16), x)


@few
@given(seeds, st.sampled_from(DTYPES), st.sampled_from(DTYPES), st.integers(1, 20), st.integers(1, 70))
def test_matrix_product(seed: int, first: str, second: str, rows: int, length: int) -> None:
    wide = "int16" in (first, second)
    scaling = scaling_for(100.0 / (LARGEST[first] * LARGEST[second] * np.sqrt(length)), wide=wide)
    op = MatrixProduct(scaling, INT8 if seed % 2 else INT16)
    a, b = integers(seed, (3, 2, rows, length), first), integers(seed + 1, (3, 2, length, 9), second)
    check(op, a, b)
    check(op, a[:, :1], b[0], constants=(1,))


SHAPES = st.sampled_from(
    (((2, 6, 5, 7), (2, 6, 5, 7)), ((2, 6, 5, 7), (6, 1, 1)), ((2, 1, 5, 7), (2, 6, 1, 7)), ((4,), (2, 3, 4)))
)


@few
@given(seeds, SHAPES, st.sampled_from((("int8", "int8"), ("int16", "int16"), ("int8", "int16"))))
def test_two_operands(seed: int, shapes: tuple[tuple[int, ...], tuple[int, ...]], dtypes: tuple[str, str]) -> None:
    a, b = (integers(seed + i, shape, dtype) for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True)))
    output = output_of(dtypes[1], rectified=seed % 2 == 0)
    into, back = scaling_for(900.5), scaling_for(1 / 1200)
    check(AddScaled(into, scaling_for(333.25), back, output, subtract=seed % 3 == 0), a, b)
    check(MultiplyScaled(scaling_for(1.3 / LARGEST[dtypes[0]]), output), a, b, constants=(1,))
    check(ExtremeScaled(scaling_for(1.0), scaling_for(0.7), output, maximum=seed % 5 < 2), a, b)


def test_constants_in_accumulator_units() -> None:
    a = integers(0, (2, 3, 40), "int8")
    b = np.random.default_rng(0).integers(-(2**24), 2**24, (3, 1)).astype(np.int32)
    check(AddScaled(scaling_for(2.0**17), None, scaling_for(2.0**-17), INT8), a, b, constants=(1,))
    check(AddScaled(None, scaling_for(2.0**17), scaling_for(2.0**-17), INT8, subtract=True), b, a, constants=(0,))


@few
@given(seeds, st.integers(2, 62), st.integers(2**30, 2**31 - 1))
def test_every_shift_rounds_as_the_program(seed: int, shift: int, multiplier: int) -> None:
    """Large products with large shifts take the form in two steps."""
    scaling = Scaling(np.array([multiplier], np.int32), np.array([shift], np.int8))
    a, b = integers(seed, (9, 9), "int16"), integers(seed + 1, (9, 9), "int16")
    check(MultiplyScaled(scaling, INT16), a, b)
    check(Requantise(scaling, INT8), a)


def test_far_beyond_the_bounds_is_limited() -> None:
    """ONNX Runtime's Clip and Max of int64 err between 2^31 and 2^32, which the multiples of 2^21 here reach."""
    scaling = Scaling(np.array([2**30], np.int32), np.array([9], np.int8))
    every = np.arange(-32768, 32768).astype(np.int16)
    check(Requantise(scaling, INT8), every)
    check(ExtremeScaled(scaling, scaling_for(1.0), INT16, maximum=False), every, every[::-1].copy())


def test_products_beyond_62_bits_are_refused() -> None:
    scaling = Scaling(np.array([2**31 - 1], np.int32), np.array([40], np.int8))
    program, known = single(SumReduce((0,), False, scaling, INT8), np.zeros((2**17,), np.int16))
    with pytest.raises(ExportError, match="node 'node': accumulators of up to 4294967296 times 2147483647 exceed"):
        program_model(program, known, fixed(program, known))


@few
@given(seeds, st.sampled_from(((5,), (3, 70), (2, 5, 9, 11))))
def test_tables_and_requantisation(seed: int, shape: tuple[int, ...]) -> None:
    out = INT8 if seed % 2 else INT16
    narrow, wide = integers(seed, shape, "int8"), integers(seed, shape, "int16")
    check(table8(np.tanh, 0.03, 1.0 / out.high, out), narrow)
    check(table16(np.tanh, 0.0001, 1.0 / out.high, out), wide)
    check(Requantise(scaling_for(200.7), INT16), narrow)
    check(Requantise(scaling_for(1 / 250.3), INT8), wide)


def test_tables_on_all_inputs() -> None:
    check(table8(np.sin, 0.02, 0.01, INT8), np.arange(-128, 128).astype(np.int8))
    check(table16(lambda x: 1 / x, 0.001, 0.01, INT16), np.arange(-32768, 32768).astype(np.int16))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [(2, 3), (1,), (0, 1, 2, 3)])
@pytest.mark.parametrize("keepdims", [True, False])
def test_reductions(dtype: str, axes: tuple[int, ...], keepdims: bool) -> None:
    x = integers(1, (2, 5, 6, 7), dtype)
    check(SumReduce(axes, keepdims, scaling_for(0.31), output_of(dtype)), x)
    check(ExtremeReduce(axes, keepdims, maximum=keepdims), x)


@few
@given(seeds, st.sampled_from(DTYPES), st.integers(-1, 2), st.sampled_from(((3, 4, 49), (2, 300, 5), (1, 3, 1))))
def test_softmax(seed: int, dtype: str, axis: int, shape: tuple[int, ...]) -> None:
    op, x = random_softmax(seed, dtype, axis, shape)
    check(op, x)
    check(op, np.zeros_like(x))


@few
@given(seeds, st.sampled_from(DTYPES), st.booleans(), st.sampled_from(((3, 5, 96), (40, 7), (2, 1, 1500), (5, 1))))
def test_layernorm(seed: int, dtype: str, centre: bool, shape: tuple[int, ...]) -> None:
    op, x = random_layernorm(seed, dtype, centre, shape)
    check(op, x)


@few
@given(seeds, st.sampled_from(DTYPES), st.sampled_from((1, 2, 6)), st.sampled_from(((2, 6, 5, 3), (3, 6), (1, 6, 40))))
def test_norm_of_groups(seed: int, dtype: str, groups: int, shape: tuple[int, ...]) -> None:
    check(*random_group_norm(seed, dtype, groups, shape))


@few
@given(seeds, st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_division(seed: int, a: str, b: str) -> None:
    check(*random_division(seed, a, b))


def test_layernorm_over_two_axes() -> None:
    weight, bias = np.linspace(-1, 1, 24).reshape(4, 6), np.zeros((4, 6))
    op = integer_layernorm(0.1, "int8", 24, 1e-5, weight, bias, 0.03, INT8, centre=True, axes_count=2)
    check(op, integers(0, (3, 4, 6), "int8"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pools(dtype: str) -> None:
    x = integers(2, (2, 3, 9, 10), dtype)
    for kernel, strides, pads in (
        ((3, 3), (2, 2), (1, 1, 1, 1)),
        ((2, 3), (1, 2), (0, 1, 1, 0)),
        ((9, 10), (1, 1), (0, 0, 0, 0)),
    ):
        check(MaximumPool(kernel, strides, pads, (1, 1)), x)
        check(AveragePoolInteger(kernel, strides, pads, (0, 0, 0, 0)), x)
        check(AveragePoolInteger(kernel, strides, pads, pads), x)
    check(MaximumPool((2, 2), (1, 1), (1, 0, 0, 1), (2, 3)), x)
    check(AveragePoolInteger((4,), (3,), (1, 2), (1, 1)), integers(3, (2, 3, 11), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bilinear_resize(dtype: str) -> None:
    rng = np.random.default_rng(0)
    low = (rng.integers(0, 4, 9).astype(np.int32), rng.integers(0, 5, 7).astype(np.int32))
    fraction = (rng.integers(0, 2049, 9).astype(np.int32), rng.integers(0, 2049, 7).astype(np.int32))
    row_shift = 7 if dtype == "int16" else 0
    scaling = scaling_for(0.9 * 2.0 ** (row_shift - 22))
    op = ResizeLinear(low, tuple(axis + 1 for axis in low), fraction, scaling, output_of(dtype), row_shift)
    check(op, integers(1, (2, 3, 5, 6), dtype))


@pytest.mark.parametrize("output", [INT8, INT16, Output("int8", 0, 100)])
def test_quantise(output: Output) -> None:
    x = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32) * 5
    x[0, :8] = [np.nan, np.inf, -np.inf, 0.025, 0.075, -0.025, 1e30, -1e30]
    x[1] = (np.arange(1000) - 500 + 0.5) * np.float32(0.05)  # ties
    check(Quantise(0.05, output), x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dequantise_and_float(dtype: str) -> None:
    check(Dequantise(0.0123), integers(0, (4, 50), dtype))
    check(FloatKernel(Relu()), np.linspace(-1, 1, 9, dtype=np.float32))


MOVES: tuple[layout.Layout, ...] = (
    layout.Reshape((2, 96, 6)),
    layout.Transpose((0, 2, 3, 1)),
    layout.Slice((0, 1, 3, 0), (2, 7, -1, 6), (1, 2, -1, 1)),
    layout.Pad((0, 0, 1, 2, 0, 1, 0, 3), "constant"),
    layout.Pad((0, 0, 1, 2, 0, 0, 1, 1), "reflect"),
    layout.Pad((0, 0, 1, 2, 0, 0, 1, 1), "edge"),
    layout.Gather(1, (0, 5, 5, 2), (2, 2)),
    layout.Expand((3, 2, 8, 12, 6)),
    layout.Tile((1, 2, 1, 3)),
    layout.Roll((3, -2), (1, 2)),
    layout.DepthToSpace(2, "DCR"),
    layout.DepthToSpace(2, "CRD"),
    layout.SpaceToDepth(2),
    layout.SpaceToDepth(2, "CRD"),
    layout.Identity(),
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_look_up(dtype: str) -> None:
    indices = np.array([[1, -1], [0, -8]], np.int64)
    check(DataMovement(layout.LookUp(1)), integers(0, (2, 8, 12, 6), dtype), indices)
    check(DataMovement(layout.LookUp(0)), integers(0, (9, 5), dtype), indices, constants=(0,))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", MOVES, ids=lambda op: op.type_name)
def test_data_movement(op: layout.Layout, dtype: str) -> None:
    check(DataMovement(op, fill=-7), integers(0, (2, 8, 12, 6), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_concatenation(dtype: str) -> None:
    check(DataMovement(layout.Concat(1)), integers(0, (2, 3, 4), dtype), integers(1, (2, 5, 4), dtype))
