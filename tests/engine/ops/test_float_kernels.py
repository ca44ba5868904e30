"""Float kernels: one for every operator, agreeing with the type rules, for any element type where data only moves."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.errors import GraphError
from engine.graph.graph import TensorType
from engine.graph.type_rules import TYPE_RULES
from engine.ops import elementwise, layout, linear, logic, other, reduce
from engine.ops.base import Op
from engine.ops.float_kernels import DTYPE_NAMES, FLOAT, run_node, to_numpy, to_torch
from engine.ops.float_kernels.reduce import average_pool_counts
from engine.ops.float_kernels.resize import COORDINATES, resize_taps

ABSTRACT = {
    elementwise.Elementwise,
    elementwise.Unary,
    elementwise.Binary,
    layout.Layout,
    linear.Mac,
    logic.Comparison,
    logic.Logic,
    logic.NumberTest,
    reduce.ArgExtreme,
    reduce.Reduction,
    reduce.Pool,
}


def _subclasses(cls: type[Op]) -> Iterator[type[Op]]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


ALL = sorted(
    {cls for cls in _subclasses(Op) if cls.__module__.startswith("engine.ops.")} - ABSTRACT,
    key=lambda cls: cls.__name__,
)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X = _normal(2, 4, 5, 6)
SAMPLES: list[tuple[Op, list[Tensor | None]]] = [
    (layout.Reshape((8, 30)), [X]),
    (layout.Transpose((0, 2, 3, 1)), [X]),
    (layout.Concat(1), [X, X[:, :1]]),
    (layout.Split(3, (2, 4)), [X]),
    (layout.Slice((0, 3, 0, 1), (2, 0, 5, 6), (1, -2, 3, 2)), [X]),
    (layout.Pad((0, 0, 1, 2, 0, 1, 0, 3)), [X]),
    (layout.Pad((0, 0, 1, 2, 0, 0, 0, 3), "reflect"), [X]),
    (layout.Gather(1, (3, 0, 1, 1), (2, 2)), [X]),
    (layout.Gather(2, (4,), ()), [X]),
    (layout.LookUp(1), [X, torch.tensor([[3, -4], [0, -1]])]),
    (layout.Expand((3, 2, 4, 5, 6)), [X]),
    (layout.Tile((1, 2, 1, 3)), [X]),
    (layout.Roll((1, -2), (2, 3)), [X]),
    (layout.DepthToSpace(2, "CRD"), [X]),
    (layout.SpaceToDepth(2), [X[:, :, :4]]),
    (layout.SpaceToDepth(2, "CRD"), [X[:, :, :4]]),
    (layout.Identity(), [X]),
    (elementwise.Add(), [X, X[0, :1]]),
    (elementwise.Where(), [X > 0, X, X[0]]),
    (elementwise.Gelu(), [X]),
    (logic.Greater(), [X, X[0, :1]]),
    (logic.Equal(), [X.long(), X[0].long()]),
    (logic.And(), [X > 0, X[0] > 1]),
    (logic.Not(), [X > 0]),
    (logic.IsNaN(), [X]),
    (logic.IsInf(negative=False), [X]),
    (logic.Cast("float32", "bool"), [X]),
    (logic.Cast("bool", "float16"), [X > 0]),
    (linear.Conv((2, 1), (1, 0, 0, 2), (1, 2), 2), [X, _normal(6, 2, 3, 2), _normal(6)]),
    (linear.ConvTranspose((2, 1), (1, 0, 0, 1), (1, 2), (1, 0), 2), [X, _normal(4, 3, 3, 2), _normal(6)]),
    (linear.Linear(), [X, _normal(7, 6), _normal(7)]),
    (linear.MatMul(), [X, _normal(4, 6, 3)]),
    (reduce.ReduceMean((1, 3), False), [X]),
    (reduce.ReduceSum((2,), True), [X]),
    (reduce.ReduceMax((0, 1), True), [X]),
    (reduce.ReduceMin((3,), False), [X]),
    (reduce.ReduceL2((1,), True), [X]),
    (reduce.MaxPool((2, 3), (2, 1), (1, 0, 0, 1), (1, 2)), [X]),
    (reduce.AveragePool((2, 3), (2, 1), (1, 0, 0, 1), True, (1, 0, 0, 0)), [X]),
    (reduce.Softmax(1), [X]),
    (reduce.LogSoftmax(3), [X]),
    (reduce.LayerNorm(2), [X, _normal(5, 6), _normal(5, 6)]),
    (reduce.LayerNorm(1), [X, None, None]),
    (reduce.RMSNorm(1), [X, _normal(6)]),
    (reduce.InstanceNorm(), [X, _normal(4), _normal(4)]),
    (reduce.ReduceL1((1, 2), False), [X]),
    (reduce.ReduceSumSquare((0,), True), [X]),
    (reduce.ReduceProd((1, 3), False), [X]),
    (reduce.ReduceLogSum((2,), True), [X.abs()]),
    (reduce.ReduceLogSumExp((1, 2), False), [X]),
    (reduce.GroupNorm(2), [X, _normal(4), _normal(4)]),
    (reduce.BatchNorm(), [X, _normal(4), _normal(4)]),
    (reduce.ArgMax(1, False), [X]),
    (reduce.ArgMin(2, True, True), [X]),
    (reduce.Resize((10, 3), (2.0, 0.5), "linear"), [X]),
]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_operator_has_a_kernel(cls: type[Op]) -> None:
    assert FLOAT.find(cls) is not None


@pytest.mark.parametrize(
    "cls", [cls for cls in ALL if cls not in (other.Input, other.OnnxOp, other.Unsupported)], ids=lambda c: c.__name__
)
def test_every_operator_has_a_type_rule(cls: type[Op]) -> None:
    assert TYPE_RULES.find(cls) is not None


def test_samples_cover_every_rule() -> None:
    ruled = {base for op, _ in SAMPLES for base in type(op).__mro__}
    assert set(TYPE_RULES) <= ruled | {elementwise.Unary}


@pytest.mark.parametrize(("op", "inputs"), SAMPLES, ids=lambda v: type(v).__name__ if isinstance(v, Op) else "")
def test_type_rules_agree_with_the_kernels(op: Op, inputs: list[Tensor | None]) -> None:
    kinds = [None if x is None else TensorType(tuple(x.shape), DTYPE_NAMES[x.dtype]) for x in inputs]
    rule = TYPE_RULES.find(op)
    assert rule is not None
    made = tuple(TensorType(tuple(y.shape), DTYPE_NAMES[y.dtype]) for y in run_node(op, inputs))
    without_data = run_node(op, [None if x is None else x.to("meta") for x in inputs])
    assert rule(op, *kinds) == made == tuple(TensorType(tuple(y.shape), DTYPE_NAMES[y.dtype]) for y in without_data)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.float16])
@pytest.mark.parametrize(
    ("op", "inputs"),
    [sample for sample in SAMPLES if isinstance(sample[0], layout.Layout)],
    ids=lambda v: type(v).__name__ if isinstance(v, Op) else "",
)
def test_layout_moves_any_element_type(op: Op, inputs: list[Tensor], dtype: torch.dtype) -> None:
    """The same elements go to the same places as in float."""
    numbered = [torch.arange(x.numel()).reshape(x.shape) % 100 for x in inputs]
    moved = run_node(op, [x.to(dtype) for x in numbered])
    floats = run_node(op, [x.to(torch.float64) for x in numbered])
    for ours, theirs in zip(moved, floats, strict=True):
        assert ours.dtype == dtype
        assert torch.equal(ours, theirs.to(dtype))


@pytest.mark.parametrize(
    "op",
    [layout.Transpose((0, 2, 3, 1)), layout.Slice((0, 1, 0, 0), (2, 4, 5, 6), (1, 2, 1, 1)), layout.Reshape((8, 30)),
     layout.Expand((3, 2, 4, 5, 6)), layout.Split(3, (2, 4)), layout.Gather(2, (4,), ()), layout.Identity()],
    ids=lambda op: op.type_name,
)  # fmt: skip
def test_layout_gives_views_where_torch_can(op: Op) -> None:
    for output in run_node(op, [X]):
        assert output.untyped_storage().data_ptr() == X.untyped_storage().data_ptr()


def test_padding_keeps_integers_exact() -> None:
    x = torch.tensor([[2**31 - 1]], dtype=torch.int32)
    (y,) = run_node(layout.Pad((0, 1, 0, 0), value=-7.0), [x])
    assert y.tolist() == [[-7, 2**31 - 1]]


@given(st.permutations(range(4)), st.integers(0, 2**32 - 1))
def test_transposing_back_restores(perm: list[int], seed: int) -> None:
    x = torch.randint(-128, 128, (2, 3, 4, 5), dtype=torch.int8, generator=torch.Generator().manual_seed(seed))
    inverse = tuple(perm.index(axis) for axis in range(4))
    (there,) = run_node(layout.Transpose(tuple(perm)), [x])
    (back,) = run_node(layout.Transpose(inverse), [there])
    assert torch.equal(back, x)


@given(st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_rolling_back_restores(shifts: tuple[int, int]) -> None:
    (there,) = run_node(layout.Roll(shifts, (1, 2)), [X])
    (back,) = run_node(layout.Roll((-shifts[0], -shifts[1]), (1, 2)), [there])
    assert torch.equal(back, X)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_depth_to_space_and_back(block: int, depth: int, height: int, width: int) -> None:
    x = _normal(2, depth * block * block, height, width)
    (there,) = run_node(layout.DepthToSpace(block), [x])
    (back,) = run_node(layout.SpaceToDepth(block), [there])
    assert torch.equal(back, x)


@given(st.data())
def test_slices_are_numpy_s(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    x = np.arange(math.prod(sizes)).reshape(sizes)
    index = tuple(
        slice(
            data.draw(st.integers(-9, 9)),
            data.draw(st.integers(-9, 9)),
            data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3])),
        )
        for _ in sizes
    )
    bounds = [part.indices(size) for part, size in zip(index, sizes, strict=True)]
    starts, stops, steps = (tuple(column) for column in zip(*bounds, strict=True))
    op = layout.Slice(starts, stops, steps)
    (ours,) = run_node(op, [torch.as_tensor(x)])
    np.testing.assert_array_equal(ours.numpy(), x[index])
    rule = TYPE_RULES.find(op)
    assert rule is not None
    assert rule(op, TensorType(tuple(sizes), "int64")) == (TensorType(x[index].shape, "int64"),)


@given(
    st.integers(1, 9),
    st.integers(1, 20),
    st.sampled_from(["nearest", "linear", "cubic"]),
    st.sampled_from(sorted(COORDINATES)),
)
def test_resize_weights_sum_to_one(in_size: int, out_size: int, mode: str, coordinates: str) -> None:
    op = reduce.Resize((out_size,), (out_size / in_size,), mode, coordinates)
    indices, weights = resize_taps(op, 0, in_size)
    assert indices.min() >= 0
    assert indices.max() < in_size
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)


@given(st.integers(3, 9), st.integers(1, 3), st.integers(0, 1), st.integers(0, 1), st.booleans())
def test_average_pool_counts_are_what_is_summed(size: int, stride: int, begin: int, end: int, include: bool) -> None:
    """The mean of ones is one where padding is not counted, and the counts tell by how much it is less."""
    op = reduce.AveragePool((3,), (stride,), (begin, end), include, (begin, end))
    (mean,) = run_node(op, [torch.ones(1, 1, size)])
    (real,) = run_node(reduce.AveragePool((3,), (stride,), (begin, end), False, (0, 0)), [torch.ones(1, 1, size)])
    assert torch.allclose(real, torch.ones_like(real))
    counts = average_pool_counts(op, (size,))
    real_counts = average_pool_counts(reduce.AveragePool((3,), (stride,), (begin, end)), (size,))
    np.testing.assert_allclose(mean.numpy().ravel(), real_counts / counts, rtol=1e-6)


def test_arrays_share_memory_with_tensors() -> None:
    array = np.arange(6, dtype=np.float32)
    to_torch(array)[0] = 9.0
    assert array[0] == 9.0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "bool", "bfloat16"])
def test_arrays_and_tensors_round_trip(dtype: str) -> None:
    import ml_dtypes

    array = np.array([[0, 1], [2, 3]]).astype(getattr(ml_dtypes, dtype, dtype))
    np.testing.assert_array_equal(to_numpy(to_torch(array)), array)
    np.testing.assert_array_equal(to_numpy(to_torch(array[::-1])), array[::-1])


def test_read_only_arrays_are_copied_without_a_warning() -> None:
    array = np.broadcast_to(np.float32(3.0), (4, 4))
    assert torch.equal(to_torch(array), torch.full((4, 4), 3.0))


def test_what_torch_cannot_hold() -> None:
    with pytest.raises(TypeError, match="no element type"):
        to_torch(np.array(["text"]))


def test_operator_without_kernel() -> None:
    with pytest.raises(GraphError, match="has no float kernel"):
        run_node(Op(), [])
