"""Work of each operator in closed form, and the completeness of the table."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import engine.ops
from engine.ops.base import Op
from engine.ops.elementwise import Affine, Gelu, Mul, Pow
from engine.ops.layout import Concat, Expand, Gather, LookUp, Pad, Reshape, Roll, Slice, SpaceToDepth, Split, Transpose
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.other import OnnxOp, Unsupported
from engine.ops.reduce import (
    LayerNorm,
    MaxPool,
    ReduceL1,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceMean,
    ReduceProd,
    Resize,
    Softmax,
)
from engine.simulate.work import FREE, WORK, Direction, Product, dtype_bytes, work_of
from engine.target.operators import subclasses
from tests.engine.clock.graphs import GraphBuilder, one_op

INT8 = {"x0": "int8", "x1": "int8", "y": "int8"}


def work(op, inputs, output, constants=(), dtypes=INT8):
    graph = one_op(op, inputs, output, constants)
    return work_of(graph, graph.by_id["y"], dtypes)


def sizes(found, direction):
    return [move.size_bytes for move in found.moves if move.direction is direction]


def test_every_operator_class_has_work_of_its_own_or_runs_on_the_cpu():
    for module in pkgutil.iter_modules(engine.ops.__path__):
        importlib.import_module(f"engine.ops.{module.name}")
    opaque = WORK.find(OnnxOp)
    leaves = [cls for cls in subclasses(Op) if not cls.__subclasses__()]
    assert [cls for cls in leaves if WORK.find(cls) is opaque] == [OnnxOp, Unsupported]


def test_convolution():
    op = Conv(strides=(2, 2), pads=(1, 1, 1, 1), dilations=(1, 1), groups=2)
    found = work(op, [(1, 8, 10, 10)], (1, 16, 5, 5), [(16, 4, 3, 3), (16,)])
    assert found.products == (Product(25, 4, 8, 9, 2),)
    assert found.macs == 25 * 16 * 4 * 9
    assert sizes(found, Direction.LOAD) == [800, 16 * 4 * 9, 16 * 4]  # int8 weights, int32 bias
    assert sizes(found, Direction.STORE) == [400]


def test_transposed_convolution_multiplies_at_each_input_position():
    op = ConvTranspose((2, 2), (0, 0, 0, 0), (1, 1), (0, 0), 1)
    assert work(op, [(1, 6, 5, 5)], (1, 4, 10, 10), [(6, 4, 2, 2)]).macs == 25 * 6 * 4 * 4


def test_matrix_products():
    assert work(Linear(), [(2, 49, 96)], (2, 49, 288), [(288, 96)]).products == (Product(98, 96, 288),)
    batched = work(MatMul(), [(64, 3, 49, 32), (64, 3, 32, 49)], (64, 3, 49, 49))
    assert batched.products == (Product(49, 32, 49, 1, 192),)


def test_float_weights_where_the_node_is_float():
    dtypes = {"x0": "float32", "y": "float32"}
    found = work(Linear(), [(4, 8)], (4, 2), [(2, 8)], dtypes)
    assert sizes(found, Direction.LOAD) == [128, 64]
    assert found.cpu_flops == 2 * 64


def test_elementwise_reductions_and_functions():
    assert work(Gelu(), [(4, 8)], (4, 8)).table_lookups == 32
    assert work(Mul(), [(4, 8), (1, 8)], (4, 8)).vector_elements == 32
    assert work(ReduceMean((1,), True), [(4, 8)], (4, 1)).reduction_elements == 32
    assert work(Pow(), [(4, 8), (1, 8)], (4, 8)).table_lookups == 64
    assert work(ReduceProd((1,), True), [(4, 8)], (4, 1)).table_lookups == 36
    assert work(ReduceL1((1,), True), [(4, 8)], (4, 1)).vector_elements == 32
    log = work(ReduceLogSumExp((1,), True), [(4, 8)], (4, 1))
    assert (log.table_lookups, log.reduction_elements, log.vector_elements) == (36, 64, 36)
    assert work(ReduceLogSum((1,), True), [(4, 8)], (4, 1)).table_lookups == 4
    assert work(MaxPool((3, 3), (2, 2), (0, 0, 0, 0)), [(1, 2, 7, 7)], (1, 2, 3, 3)).vector_elements == 18 * 9
    softmax = work(Softmax(1), [(4, 8)], (4, 8))
    assert (softmax.table_lookups, softmax.reduction_elements, softmax.vector_elements) == (36, 64, 64)
    norm = work(LayerNorm(1), [(4, 8)], (4, 8))
    assert (norm.table_lookups, norm.reduction_elements, norm.vector_elements) == (4, 64, 160)
    resize = work(Resize((8, 8), (2.0, 2.0), "linear"), [(1, 3, 4, 4)], (1, 3, 8, 8))
    assert resize.vector_elements == 192 * 4


def test_a_positive_factor_is_free_in_integers_only():
    assert work(Affine(0.5, 0.0), [(4, 8)], (4, 8)) is FREE
    assert work(Affine(-0.5, 0.0), [(4, 8)], (4, 8)).table_lookups == 32
    assert work(Affine(0.5, 1.0), [(4, 8)], (4, 8)).table_lookups == 32
    assert not work(Affine(0.5, 0.0), [(4, 8)], (4, 8), dtypes={"x0": "float32", "y": "float32"}).is_free


def test_a_reshape_moves_nothing_and_a_transpose_everything():
    assert work(Reshape((32,)), [(4, 8)], (32,)) is FREE
    moved = work(Transpose((1, 0)), [(4, 8)], (8, 4))
    assert moved.is_rearranging
    assert [(m.size_bytes, m.run_bytes) for m in moved.moves] == [(32, 1), (32, 1)]


def test_int16_doubles_the_bytes():
    moved = work(Transpose((1, 0)), [(4, 8)], (8, 4), dtypes={"x0": "int16", "y": "int16"})
    assert [(m.size_bytes, m.run_bytes) for m in moved.moves] == [(64, 2), (64, 2)]


def test_a_reshape_that_changes_the_type_copies():
    found = work(Reshape((32,)), [(4, 8)], (32,), dtypes={"x0": "int8", "y": "int16"})
    assert (sizes(found, Direction.LOAD), sizes(found, Direction.STORE)) == ([32], [64])


def test_roll_slice_pad_gather_expand_and_blocks():
    assert work(Roll((3,), (0,)), [(8, 96)], (8, 96)).moves[0].run_bytes == 384
    assert work(Roll((8,), (0,)), [(8, 96)], (8, 96)) is FREE
    sliced = work(Slice((0, 2), (4, 6), (1, 1)), [(4, 8)], (4, 4))
    assert [(m.size_bytes, m.run_bytes) for m in sliced.moves] == [(16, 4), (16, 4)]
    padded = work(Pad((0, 1, 0, 1)), [(4, 8)], (4, 10))
    assert [(m.size_bytes, m.run_bytes) for m in padded.moves] == [(32, 8), (40, 8)]
    gathered = work(Gather(0, (1, 3), (2,)), [(4, 8)], (2, 8))
    assert [(m.size_bytes, m.run_bytes) for m in gathered.moves] == [(16, 8), (16, 8)]
    expanded = work(Expand((4, 8)), [(4, 1)], (4, 8))
    assert [(m.size_bytes, m.run_bytes) for m in expanded.moves] == [(4, 1), (32, 1)]
    assert work(SpaceToDepth(2), [(1, 3, 4, 4)], (1, 12, 2, 2)).moves[0].run_bytes == 1


def test_a_look_up_reads_its_rows_and_indices():
    found = work(LookUp(0), [(100, 8), (3,)], (3, 8), dtypes={"x0": "int8", "x1": "int64", "y": "int8"})
    assert [(m.size_bytes, m.run_bytes) for m in found.moves] == [(24, 8), (24, 8), (24, 24)]


def test_concat_and_split_copy_rows():
    joined = work(Concat(1), [(4, 8), (4, 2)], (4, 10))
    assert [(m.size_bytes, m.run_bytes) for m in joined.moves] == [(32, 8), (32, 8), (8, 2), (8, 2)]
    builder = GraphBuilder()
    builder.input("x", (4, 10))
    builder.split(("a", "b"), Split(1, (8, 2)), "x", ((4, 8), (4, 2)))
    graph = builder.build("a", "b")
    found = work_of(graph, graph.by_id["a"], {"x": "int8", "a": "int8", "b": "int8"})
    assert [(m.size_bytes, m.run_bytes) for m in found.moves] == [(32, 8), (32, 8), (8, 2), (8, 2)]


def test_an_opaque_operator_is_cpu_work():
    found = work(OnnxOp("Einsum", "", 17, b""), [(4, 8)], (4, 8))
    assert found.cpu_flops > 0
    assert found.macs == 0


@pytest.mark.parametrize(("name", "size"), [("int8", 1), ("bool", 1), ("bfloat16", 2), ("int64", 8), ("what", 4)])
def test_element_sizes(name, size):
    assert dtype_bytes(name) == size
