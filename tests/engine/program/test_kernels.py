"""Every kernel equals its numpy statement bit for bit: types, strides, broadcasting, extremes, thread counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.program.arithmetic import scaling_for
from engine.program.division import integer_division
from engine.program.executor import run_instruction
from engine.program.kernels import KERNEL, compiled
from engine.program.norm import integer_layernorm
from engine.program.softmax import integer_softmax
from engine.program.tables import table8, table16
from engine.program.types import (
    AddScaled,
    AveragePoolInteger,
    Convolution,
    DataMovement,
    Dequantise,
    DivideScaled,
    ExtremeReduce,
    ExtremeScaled,
    FloatKernel,
    FullyConnected,
    Instruction,
    IntegerLayerNorm,
    IntegerSoftmax,
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
from tests.engine.program.reference import REFERENCE, expected

INT8, INT16 = Output("int8", -127, 127), Output("int16", -32767, 32767)
LARGEST = {"int8": 127, "int16": 32767}
DTYPES = ("int8", "int16")

bounded = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
"""Compiling on the first example takes seconds; examples are the same on every run."""


@pytest.fixture(autouse=True, params=[1, 2])
def thread_count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Each test runs with one and with two threads, however small, against the same expectation."""
    monkeypatch.setattr(compiled, "_PARALLEL_ELEMENTS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_operator_has_a_kernel_and_a_statement() -> None:
    """Scaling is a part of operators; seams and data movement are the graph's own operators."""
    operators = {cls for cls in ProgramOp.__subclasses__() if cls.__module__ == ProgramOp.__module__}
    assert operators - {Scaling} == set(KERNEL)
    assert set(KERNEL) - {DataMovement, Dequantise, FloatKernel} == set(REFERENCE)


def integers(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random integers with many extremes."""
    rng = np.random.default_rng(seed)
    high = LARGEST[dtype]
    values = rng.integers(-high, high + 1, shape)
    extreme = rng.integers(0, 4, shape)
    return np.select([extreme == 0, extreme == 1], [-high, high], values).astype(dtype)


def random_softmax(seed: int, dtype: str, axis: int, shape: tuple[int, ...]) -> tuple[IntegerSoftmax, np.ndarray]:
    """A softmax of logits that spread over up to 100, and integers for it."""
    spread = np.random.default_rng(seed).uniform(0.5, 100)
    output = INT8 if seed % 2 else INT16
    op = integer_softmax(spread / LARGEST[dtype], dtype, axis, shape[axis], 1.0 / output.high, output)
    return op, integers(seed, shape, dtype)


def random_layernorm(
    seed: int, dtype: str, centre: bool, shape: tuple[int, ...]
) -> tuple[IntegerLayerNorm, np.ndarray]:
    """A LayerNorm (RMSNorm without ``centre``) with a vanishing weight, and integers with narrow and constant rows."""
    rng = np.random.default_rng(seed)
    n = shape[-1]
    weight, bias = rng.normal(size=n), rng.normal(size=n)
    weight[0] = 0.0
    output = INT8 if seed % 2 else INT16
    op = integer_layernorm(
        10.0 ** rng.integers(-5, 1), dtype, n, 1e-5, weight, bias, 4.0 / output.high, output, centre=centre
    )
    x = integers(seed, shape, dtype)
    x[0] = np.clip(x[0], -2, 3)
    x[-1] = 17
    return op, x


def random_group_norm(
    seed: int, dtype: str, groups: int, shape: tuple[int, ...]
) -> tuple[IntegerLayerNorm, np.ndarray]:
    """A norm of [N, C, *S] by groups of channels with a weight and a bias per channel, and integers for it."""
    rng = np.random.default_rng(seed)
    channels, space = shape[1], int(np.prod(shape[2:]))
    output = INT8 if seed % 2 else INT16
    op = integer_layernorm(
        10.0 ** rng.integers(-5, 1), dtype, channels // groups * space, 1e-5, rng.normal(size=channels),
        rng.normal(size=channels), 4.0 / output.high, output, centre=True, axes_count=len(shape) - 1, groups=groups,
        channel_size=space,
    )  # fmt: skip
    return op, integers(seed, shape, dtype)


def with_strides(x: np.ndarray, layout: str) -> torch.Tensor:
    """The same values laid out otherwise in memory."""
    tensor = torch.from_numpy(x.copy())
    if layout == "last":
        return tensor.movedim(1, -1).contiguous().movedim(-1, 1) if x.ndim > 2 else tensor.t().contiguous().t()
    if layout == "gaps":
        wide = torch.zeros((*x.shape[:-1], x.shape[-1] * 2), dtype=tensor.dtype)
        wide[..., ::2] = tensor
        return wide[..., ::2]
    return tensor


layouts = st.sampled_from(("plain", "last", "gaps"))
seeds = st.integers(0, 2**16)


def check(op: ProgramOp, *inputs: np.ndarray, layout: str = "plain") -> None:
    tensors = [with_strides(x, layout) for x in inputs]
    (result,) = run_instruction(Instruction(op, (), ("y",), ("node",), "unit"), tensors)
    wanted = expected(op, *inputs)
    assert result.numpy().dtype == wanted.dtype
    np.testing.assert_array_equal(result.numpy(), wanted)


def output_of(dtype: str, rectified: bool = False) -> Output:
    return Output(dtype, 0 if rectified else -LARGEST[dtype], LARGEST[dtype])


def convolution_of(
    seed: int, dtype: str, channels: int, outputs: int, groups: int, kernel: tuple[int, ...], **options: object
) -> Convolution:
    rng = np.random.default_rng(seed)
    transposed = bool(options.get("transposed", False))
    shape = (channels, outputs // groups, *kernel) if transposed else (outputs, channels // groups, *kernel)
    weight = integers(seed, shape, "int8")
    taps = weight.size // outputs
    factors = rng.uniform(0.5, 1.5, outputs) / (100.0 * np.sqrt(taps)) * (1 if dtype == "int8" else 1 / 128)
    return Convolution(
        weight=weight,
        bias=rng.integers(-20000, 20000, outputs),
        scaling=scaling_for(factors, wide=dtype == "int16"),
        output=output_of("int8" if seed % 3 else "int16", rectified=seed % 2 == 0),
        groups=groups,
        **options,  # type: ignore[arg-type]
    )


@bounded
@given(
    seeds,
    st.sampled_from(DTYPES),
    layouts,
    st.sampled_from(((1, 1, 8), (3, 1, 4), (6, 6, 6), (4, 4, 12), (6, 2, 4))),
    st.data(),
)
def test_convolution(seed: int, dtype: str, layout: str, sizes: tuple[int, int, int], data: st.DataObject) -> None:
    channels, groups, outputs = sizes
    kernel = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 5)))
    strides = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    dilations = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pads = data.draw(st.tuples(*[st.integers(0, 3)] * 4))
    op = convolution_of(seed, dtype, channels, outputs, groups, kernel, strides=strides, pads=pads, dilations=dilations)
    check(op, integers(seed + 1, (2, channels, 9, 11), dtype), layout=layout)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "outputs", "groups"), [(40, 24, 1), (64, 64, 64), (16, 8, 2)])
def test_convolution_at_usual_sizes(dtype: str, channels: int, outputs: int, groups: int) -> None:
    for kernel, pads in (((1, 1), (0, 0, 0, 0)), ((3, 3), (1, 1, 1, 1)), ((5, 5), (1, 2, 2, 1))):
        op = convolution_of(7, dtype, channels, outputs, groups, kernel, strides=(1, 1), pads=pads, dilations=(1, 1))
        check(op, integers(3, (1, channels, 14, 15), dtype), layout="last")


@pytest.mark.parametrize("dtype", DTYPES)
def test_convolution_of_lines_and_volumes(dtype: str) -> None:
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
        check(op, integers(8, (2, 4, 5, 6), dtype), layout="last")


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposed_convolution_of_lines_and_volumes(dtype: str) -> None:
    line = convolution_of(
        1, dtype, 6, 6, 6, (4,), strides=(3,), pads=(1, 2), dilations=(1,), transposed=True, output_padding=(1,)
    )
    check(line, integers(5, (2, 6, 7), dtype))
    volume = convolution_of(
        2, dtype, 2, 3, 1, (2, 3, 2), strides=(2, 1, 1), pads=(0, 1, 0, 1, 0, 0), dilations=(1, 1, 2),
        transposed=True, output_padding=(1, 0, 0),
    )  # fmt: skip
    check(volume, integers(6, (1, 2, 3, 4, 5), dtype))


@bounded
@given(seeds, st.sampled_from(DTYPES), layouts, st.integers(1, 70), st.integers(1, 40), st.integers(1, 30))
def test_fully_connected(seed: int, dtype: str, layout: str, length: int, outputs: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    factor = rng.uniform(0.2, 2, outputs) / (4000.0 if dtype == "int8" else 2.0**20)
    op = FullyConnected(
        weight=integers(seed, (outputs, length), "int8"),
        bias=rng.integers(-(2**20), 2**20, outputs),
        scaling=scaling_for(factor, wide=dtype == "int16"),
        output=output_of("int8" if seed % 3 else "int16"),
    )
    check(op, integers(seed + 1, (2, rows, length), dtype), layout=layout)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fully_connected_at_the_extremes(dtype: str) -> None:
    length = 4096
    weight = np.full((3, length), 127, np.int8)
    weight[1] = -127
    weight[2, ::2] = -127
    scaling = scaling_for(32000 / (length * 127 * LARGEST[dtype]), wide=dtype == "int16")
    op = FullyConnected(weight, np.array([2**28, -(2**28), 5]), scaling, INT16)
    x = np.full((2, length), LARGEST[dtype], dtype)
    x[1] = -x[1]
    check(op, x)


@bounded
@given(seeds, st.sampled_from(DTYPES), st.sampled_from(DTYPES), layouts, st.integers(1, 20), st.integers(1, 70))
def test_matrix_product(seed: int, first: str, second: str, layout: str, rows: int, length: int) -> None:
    wide = "int16" in (first, second)
    scaling = scaling_for(100.0 / (LARGEST[first] * LARGEST[second] * np.sqrt(length)), wide=wide)
    op = MatrixProduct(scaling, INT8 if seed % 2 else INT16)
    a, b = integers(seed, (3, 2, rows, length), first), integers(seed + 1, (3, 2, length, 9), second)
    check(op, a, b, layout=layout)
    check(op, a[:, :1], b[0], layout=layout)


def test_long_matrix_product_stays_exact() -> None:
    op = MatrixProduct(scaling_for(1e-4), INT16)
    check(op, np.full((2, 3, 5000), 127, np.int8), integers(1, (2, 5000, 4), "int8"))


SHAPES = st.sampled_from(
    (
        ((2, 6, 5, 7), (2, 6, 5, 7)),
        ((2, 6, 5, 7), (6, 1, 1)),
        ((2, 6, 5, 7), (7,)),
        ((2, 6, 5, 7), (1,)),
        ((2, 1, 5, 7), (2, 6, 1, 7)),
        ((3, 1, 2, 1, 3, 1, 2), (1, 2, 1, 3, 1, 2, 1)),
        ((4,), (2, 3, 4)),
        ((2, 9000), (1, 9000)),
        ((), (2, 3)),
    )
)


@bounded
@given(seeds, SHAPES, layouts, st.sampled_from((("int8", "int8"), ("int16", "int16"), ("int8", "int16"))))
def test_two_operands(
    seed: int, shapes: tuple[tuple[int, ...], tuple[int, ...]], layout: str, dtypes: tuple[str, str]
) -> None:
    layout = layout if min(map(len, shapes)) > 1 else "plain"
    a, b = (integers(seed + i, shape, dtype) for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True)))
    output = output_of(dtypes[1], rectified=seed % 2 == 0)
    into, back = scaling_for(900.5), scaling_for(1 / 1200)
    check(AddScaled(into, scaling_for(333.25), back, output, subtract=seed % 3 == 0), a, b, layout=layout)
    check(MultiplyScaled(scaling_for(1.3 / LARGEST[dtypes[0]]), output), a, b, layout=layout)
    check(ExtremeScaled(scaling_for(1.0), scaling_for(0.7), output, maximum=seed % 5 < 2), a, b, layout=layout)


def test_constants_in_accumulator_units() -> None:
    a = integers(0, (2, 3, 40), "int8")
    b = np.random.default_rng(0).integers(-(2**24), 2**24, (3, 1)).astype(np.int32)
    check(AddScaled(scaling_for(2.0**17), None, scaling_for(2.0**-17), INT8), a, b)
    check(AddScaled(None, scaling_for(2.0**17), scaling_for(2.0**-17), INT8, subtract=True), b, a)


@bounded
@given(seeds, layouts, st.sampled_from(((5,), (3, 70), (2, 5, 9, 11), (1, 1, 9000))))
def test_tables_and_requantisation(seed: int, layout: str, shape: tuple[int, ...]) -> None:
    layout = layout if len(shape) > 2 else "plain"
    narrow, wide = integers(seed, shape, "int8"), integers(seed, shape, "int16")
    out = INT8 if seed % 2 else INT16
    out_scale = 1.0 / out.high
    check(table8(np.tanh, 0.03, out_scale, out), narrow, layout=layout)
    check(table16(np.tanh, 0.0001, out_scale, out), wide, layout=layout)
    check(Requantise(scaling_for(200.7), INT16), narrow, layout=layout)
    check(Requantise(scaling_for(1 / 250.3), INT8), wide, layout=layout)


@bounded
@given(seeds, layouts, st.sampled_from(("int8", "int16", "int32")), st.sampled_from(((3, 70), (2, 5, 9, 11), (1,))))
def test_requantisation_per_channel(seed: int, layout: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Multipliers belong to the last axis, also where another one is last in memory."""
    rng = np.random.default_rng(seed)
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)
    factors = rng.uniform(0.5, 1.5, shape[-1]) * 200 / info.max
    check(Requantise(scaling_for(factors), INT8), x, layout=layout if len(shape) > 2 else "plain")


def test_int32_operands() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-(2**31), 2**31, (3, 40)).astype(np.int32) for _ in range(2))
    whole, halves = Output("int32", -(2**31), 2**31 - 1), scaling_for(0.5)
    check(AddScaled(halves, halves, scaling_for(1.0), whole), a, b)
    check(AddScaled(scaling_for(1.0), scaling_for(1.0), halves, whole, subtract=True), a, b)
    check(ExtremeScaled(scaling_for(1.0), halves, whole, maximum=True), a, b)
    check(MultiplyScaled(scaling_for(0.25), whole), a // 2**16, b // 2**16)
    check(SumReduce((1,), True, halves, whole), a // 64)


def test_interpolated_table_on_all_inputs() -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    check(table16(lambda x: 1 / x, 0.001, 0.01, INT16), every)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [(2, 3), (1,), (0, 1, 2, 3)])
@pytest.mark.parametrize("keepdims", [True, False])
def test_reductions(dtype: str, axes: tuple[int, ...], keepdims: bool) -> None:
    x = integers(1, (2, 5, 6, 7), dtype)
    for layout in ("plain", "last", "gaps"):
        check(SumReduce(axes, keepdims, scaling_for(0.31), output_of(dtype)), x, layout=layout)
        check(ExtremeReduce(axes, keepdims, maximum=keepdims), x, layout=layout)


@bounded
@given(seeds, st.sampled_from(DTYPES), st.integers(0, 2), st.sampled_from(((3, 4, 49), (2, 300, 5), (1, 3, 1))))
def test_softmax(seed: int, dtype: str, axis: int, shape: tuple[int, ...]) -> None:
    op, x = random_softmax(seed, dtype, axis, shape)
    check(op, x)
    check(op, np.zeros_like(x))


def random_division(seed: int, a: str, b: str) -> tuple[DivideScaled, np.ndarray, np.ndarray]:
    """A division whose largest quotient may lie far from the operands', and operands that broadcast."""
    rng = np.random.default_rng(seed)
    output = INT8 if seed % 2 else INT16
    op = integer_division(1.0, 1.0, 10.0 ** rng.uniform(-4, 4) / output.high, output)
    divisor = integers(seed + 1, (5, 1) if seed % 3 else (2, 5, 40), b) // rng.choice((1, 50, 3000))
    return op, integers(seed, (2, 5, 40), a), divisor.astype(b)


@bounded
@given(seeds, st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_division(seed: int, a: str, b: str) -> None:
    check(*random_division(seed, a, b))


@bounded
@given(seeds, st.sampled_from(DTYPES), st.booleans(), st.sampled_from(((3, 5, 96), (40, 7), (2, 1, 1500), (5, 1))))
def test_layernorm(seed: int, dtype: str, centre: bool, shape: tuple[int, ...]) -> None:
    op, x = random_layernorm(seed, dtype, centre, shape)
    check(op, x)
    check(op, x, layout="gaps")


@bounded
@given(seeds, st.sampled_from(DTYPES), st.sampled_from((1, 2, 6)), st.sampled_from(((2, 6, 5, 3), (3, 6), (1, 6, 40))))
def test_norm_of_groups(seed: int, dtype: str, groups: int, shape: tuple[int, ...]) -> None:
    op, x = random_group_norm(seed, dtype, groups, shape)
    check(op, x)
    check(op, x, layout="last")


def test_layernorm_over_two_axes() -> None:
    weight, bias = np.linspace(-1, 1, 24).reshape(4, 6), np.zeros((4, 6))
    op = integer_layernorm(0.1, "int8", 24, 1e-5, weight, bias, 0.03, INT8, centre=True, axes_count=2)
    check(op, integers(0, (3, 4, 6), "int8"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["plain", "last"])
def test_pools(dtype: str, layout: str) -> None:
    x = integers(2, (2, 3, 9, 10), dtype)
    for kernel, strides, pads in (
        ((3, 3), (2, 2), (1, 1, 1, 1)),
        ((2, 3), (1, 2), (0, 1, 1, 0)),
        ((9, 10), (1, 1), (0, 0, 0, 0)),
    ):
        check(MaximumPool(kernel, strides, pads, (1, 1)), x, layout=layout)
        check(AveragePoolInteger(kernel, strides, pads, (0, 0, 0, 0)), x, layout=layout)
        check(AveragePoolInteger(kernel, strides, pads, pads), x, layout=layout)
    check(MaximumPool((2, 2), (1, 1), (1, 0, 0, 1), (2, 3)), x, layout=layout)
    line = integers(3, (2, 3, 11), dtype)
    check(AveragePoolInteger((4,), (3,), (1, 2), (1, 1)), line)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["plain", "last", "gaps"])
def test_bilinear_resize(dtype: str, layout: str) -> None:
    rng = np.random.default_rng(0)
    low = (rng.integers(0, 4, 9).astype(np.int32), rng.integers(0, 5, 7).astype(np.int32))
    fraction = (rng.integers(0, 2049, 9).astype(np.int32), rng.integers(0, 2049, 7).astype(np.int32))
    row_shift = 7 if dtype == "int16" else 0
    scaling = scaling_for(0.9 * 2.0 ** (row_shift - 22))
    op = ResizeLinear(low, tuple(axis + 1 for axis in low), fraction, scaling, output_of(dtype), row_shift)
    check(op, integers(1, (2, 3, 5, 6), dtype), layout=layout)


@pytest.mark.parametrize("output", [INT8, INT16, Output("int8", 0, 100)])
def test_quantise(output: Output) -> None:
    x = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32) * 5
    x[0, :8] = [np.nan, np.inf, -np.inf, 0.025, 0.075, -0.025, 1e30, -1e30]
    check(Quantise(0.05, output), x)
    check(Quantise(0.05, output), x, layout="gaps")
