"""What targets compute in which precision, and the rules that refuse."""

from __future__ import annotations

import importlib
import pkgutil

import msgspec
import numpy as np
import pytest

import engine.ops
from engine.graph.graph import Constant, Graph, Node, TensorType
from engine.ops.base import Op
from engine.ops.elementwise import (
    Add,
    Ceil,
    Div,
    Floor,
    Gelu,
    ModScalar,
    Relu,
    Round,
    Shrink,
    Sign,
    ThresholdedRelu,
)
from engine.ops.layout import Reshape, Roll, Transpose
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.logic import Greater
from engine.ops.other import Input, OnnxOp
from engine.ops.reduce import ArgMax, AveragePool, LayerNorm, Softmax
from engine.precision import Precision
from engine.target.operators import FAMILIES, names_of, operator_names, subclasses
from engine.target.rules import RULES, allowed, check_graph, check_node
from engine.target.target import load_target

INT8, INT16, LUT, FLOAT = Precision.INT8, Precision.INT16, Precision.LUT, Precision.FLOAT
JOURNEY, GENERIC = load_target("journey5"), load_target("generic-int8")


def graph_of(op, inputs, output, constants=(), dtype="float32"):
    """Inputs x0, x1, ... and constants w0, w1, ... (shapes or arrays) into one node y."""
    types = {f"x{i}": TensorType(shape, "float32") for i, shape in enumerate(inputs)}
    nodes = [Node(name, Input(), (), (name,)) for name in types]
    arrays = [c if isinstance(c, np.ndarray) else np.ones(c, np.float32) for c in constants]
    weights = {f"w{i}": Constant.of(array) for i, array in enumerate(arrays)}
    types |= {name: weight.type for name, weight in weights.items()} | {"y": TensorType(output, dtype)}
    names = tuple(node.id for node in nodes)
    nodes.append(Node("y", op, (*names, *weights), ("y",)))
    return Graph("test", tuple(nodes), types, weights, names, ("y",))


def ask(graph, precision, target=JOURNEY):
    return check_node(graph, graph.by_id["y"], precision, target)


def refusal_of(graph, precision, target=JOURNEY):
    refusal = ask(graph, precision, target)
    assert refusal is not None
    return refusal


def conv(kernel=3, channels=(8, 8), spatial=2, weight=None):
    op = Conv((1,) * spatial, (0,) * (2 * spatial), (1,) * spatial)
    shape = (channels[1], channels[0], *(kernel,) * spatial)
    size = 40
    weights = (shape if weight is None else weight,)
    out = (1, channels[1], *(size - kernel + 1,) * spatial)
    return graph_of(op, [(1, channels[0], *(size,) * spatial)], out, weights)


def test_order_of_preference():
    assert allowed(Conv((1,), (0, 0), (1,)), JOURNEY) == (INT8, INT16, FLOAT)
    assert allowed(Gelu(), JOURNEY) == (LUT, INT16, FLOAT)
    assert allowed(Div(), JOURNEY) == (INT16, FLOAT)
    assert allowed(Div(), GENERIC) == (INT8, INT16, FLOAT)
    assert allowed(Reshape((1,)), JOURNEY) == (INT8, INT16, FLOAT)
    assert allowed(OnnxOp("Einsum", "", 17, b""), JOURNEY) == (FLOAT,)


def test_a_program_without_an_integer_form_leaves_the_cpu():
    assert allowed(Softmax(1), JOURNEY, has_integer_form=lambda op: False) == (FLOAT,)
    assert allowed(Softmax(1), JOURNEY, has_integer_form=lambda op: True)[0] is INT8


@pytest.mark.parametrize("name", ["journey5", "bayes-e-x5", "generic-int8"])
def test_every_operator_class_has_a_verdict(name):
    for module in pkgutil.iter_modules(engine.ops.__path__):
        importlib.import_module(f"engine.ops.{module.name}")
    target = load_target(name)
    spoken = {key for cls in subclasses(Op) for key in names_of(cls)}
    assert set(target.operators) <= spoken
    assert set(FAMILIES) <= operator_names()
    unlisted = [
        cls.__name__
        for cls in subclasses(Op)
        if not cls.__subclasses__() and not any(key in target.operators for key in names_of(cls))
    ]
    assert unlisted == ["OnnxOp", "Unsupported"]


def test_float_is_never_refused():
    assert ask(conv(kernel=39), FLOAT) is None


def test_every_rule_has_a_text_and_a_refusal_names_its_rule():
    assert all(rule.text.endswith((".", "weights.")) and rule.name == name for name, rule in RULES.items())
    refusal = refusal_of(conv(kernel=39), INT8)
    assert refusal is not None
    assert refusal.rule in RULES


def test_kernel_limit():
    assert ask(conv(kernel=31), INT8) is None
    refusal = refusal_of(conv(kernel=32), INT8)
    assert refusal is not None
    assert (refusal.rule, refusal.measured, refusal.limit) == ("conv_kernel", 32, 31)
    assert refusal.message == "the convolution's kernel size is 32; journey5 allows at most 31"
    assert refusal.advice
    assert ask(conv(kernel=32), INT8, GENERIC) is None


def test_channel_limit_on_either_side():
    assert ask(conv(1, (8192, 8)), INT8) is None
    assert refusal_of(conv(1, (8193, 8)), INT8).rule == "conv_channels"
    assert refusal_of(conv(1, (8, 8193)), INT8).rule == "conv_channels"
    transposed = ConvTranspose((1, 1), (0, 0, 0, 0), (1, 1), (0, 0))
    graph = graph_of(transposed, [(1, 4, 8, 8)], (1, 9000, 8, 8), [(4, 9000, 1, 1)])
    assert refusal_of(graph, INT8).measured == 9000


def test_three_dimensional_convolution():
    assert ask(conv(spatial=1), INT8) is None
    assert refusal_of(conv(spatial=3), INT8).rule == "conv_spatial_axes"
    assert refusal_of(conv(spatial=3), INT8, GENERIC).rule == "conv_spatial_axes"


def test_linear_features():
    def linear(inputs, outputs):
        return graph_of(Linear(), [(1, inputs)], (1, outputs), [(outputs, inputs)])

    assert ask(linear(8192, 16), INT8) is None
    assert refusal_of(linear(16, 8193), INT8).rule == "linear_features"
    assert refusal_of(linear(8193, 16), INT8).message.endswith("8,193; journey5 allows at most 8,192")


def test_normalised_positions():
    def norm(*shape):
        return graph_of(LayerNorm(1), [shape], shape)

    assert ask(norm(1, 128, 128, 96), INT8) is None
    assert refusal_of(norm(1, 128, 129, 96), INT8).measured == 128 * 129
    assert refusal_of(norm(1, 16385, 96), INT8).rule == "norm_positions"
    assert ask(norm(20000, 96), INT8) is None


def test_transpose_on_the_batch_axis():
    def transpose(shape, perm):
        return graph_of(Transpose(perm), [shape], tuple(shape[axis] for axis in perm))

    refusal = refusal_of(transpose((8, 3, 5), (1, 0, 2)), INT8)
    assert refusal.rule == "batch_transposes"
    assert "8 samples" in refusal.message
    assert "batch of 1" in refusal.advice
    assert ask(transpose((8, 3, 5), (0, 2, 1)), INT8) is None
    assert ask(transpose((1, 3, 5), (1, 0, 2)), INT8) is None
    assert ask(transpose((8, 3, 5), (1, 0, 2)), INT8, GENERIC) is None


@pytest.mark.parametrize(
    "op", [Ceil(), Floor(), ModScalar(0.4), Round(), Shrink(0.2, 0.3), Sign(), ThresholdedRelu(1.0)]
)
def test_functions_that_jump_have_no_int16_table(op):
    graph = graph_of(op, [(1, 4)], (1, 4))
    assert refusal_of(graph, INT16).rule == "continuous_tables"
    assert ask(graph, LUT) is None


def test_int16_sums_fit_the_accumulator():
    flat = np.ones((4, 512), np.float32)  # sum |w_q| = 127 * 512: 65,024 * 32,767 < 2**31
    graph = graph_of(Linear(), [(1, 512)], (1, 4), [flat])
    assert ask(graph, INT16) is None
    wide = graph_of(Linear(), [(1, 517)], (1, 4), [np.ones((4, 517), np.float32)])
    refusal = refusal_of(wide, INT16)
    assert (refusal.rule, refusal.limit) == ("accumulator_bits", 2**31 - 1)
    assert refusal.measured == 127 * 517 * 32767
    assert ask(wide, INT8) is None
    assert ask(wide, INT16, GENERIC) is None
    peaked = np.zeros((4, 5000), np.float32)
    peaked[:, 0] = 1.0
    assert ask(graph_of(Linear(), [(1, 5000)], (1, 4), [peaked]), INT16) is None
    assert ask(graph_of(Linear(), [(1, 5000)], (1, 4), [np.zeros((4, 5000), np.float32)]), INT16) is None


def test_int16_sums_of_a_transposed_convolution_run_over_its_input_channels():
    op = ConvTranspose((2, 2), (0, 0, 0, 0), (1, 1), (0, 0), groups=2)
    weight = np.ones((300, 2, 2, 2), np.float32)  # each output channel adds 150 channels of 4 taps
    refusal = refusal_of(graph_of(op, [(1, 300, 4, 4)], (1, 4, 8, 8), [weight]), INT16)
    assert refusal.measured == 127 * 150 * 4 * 32767
    assert ask(graph_of(op, [(1, 200, 4, 4)], (1, 4, 8, 8), [weight[:200]]), INT16) is None


@pytest.mark.parametrize("precision", [INT8, INT16])
def test_sums_that_no_accumulator_is_proved_to_hold(precision):
    def linear(length):
        return graph_of(Linear(), [(1, length)], (1, 2), [np.ones((2, length), np.float32)])

    limit = (2**30 - 1) // 127**2
    assert ask(linear(limit), precision, GENERIC) is None
    refusal = refusal_of(linear(limit + 1), precision, GENERIC)
    assert (refusal.rule, refusal.measured, refusal.limit) == ("proved_sums", 127**2 * (limit + 1), 2**30 - 1)
    assert refusal.message.endswith(f"is {127**2 * (limit + 1):,}; without overflow it is at most 1,073,741,823")


def test_products_and_windows_that_no_accumulator_is_proved_to_hold():
    def product(length):
        return graph_of(MatMul(), [(1, length), (length, 1)], (1, 1))

    def pool(size):
        op = AveragePool((size,), (1,), (0, 0))
        return graph_of(op, [(1, 1, size)], (1, 1, 1))

    assert ask(product(131_080), INT16, GENERIC) is None
    assert refusal_of(product(131_081), INT8, GENERIC).rule == "proved_products"
    assert ask(pool(65_538), INT16, GENERIC) is None
    assert refusal_of(pool(65_539), INT16, GENERIC).rule == "proved_windows"
    assert ask(pool(65_539), INT8, GENERIC) is None
    assert refusal_of(pool(17_000_000), INT8, GENERIC).measured == 17_000_000


def test_unsupported_precisions():
    divide = graph_of(Div(), [(4,), (4,)], (4,))
    assert refusal_of(divide, INT8).message == "journey5 computes Div in int16 only, not in int8"
    assert ask(divide, INT16) is None
    table = refusal_of(graph_of(MatMul(), [(4, 4), (4, 4)], (4, 4)), LUT)
    assert table.message == "MatMul is not an elementwise function of one tensor, so no table computes it"
    assert refusal_of(graph_of(Relu(), [(4,)], (4,)), INT8).advice == "choose lut or int16"
    opaque = refusal_of(graph_of(OnnxOp("Einsum", "", 17, b""), [(4,)], (4,)), INT8)
    assert opaque.message == "journey5 has no unit for Einsum"


def test_indices_are_not_quantised():
    refusal = refusal_of(graph_of(Relu(), [(4, 4)], (4, 4), dtype="int64"), INT8)
    assert (refusal.rule, refusal.message) == ("float_values", "computes int64 values, which are not quantised")


def test_indices_of_extremes_and_truth_values_are_computed():
    assert ask(graph_of(ArgMax(1), [(4, 4)], (4, 1), dtype="int64"), INT8) is None
    assert ask(graph_of(Greater(), [(4, 4), (4, 4)], (4, 4), dtype="bool"), INT16) is None


def test_roll_and_add_are_computed():
    assert ask(graph_of(Roll((3,), (0,)), [(8, 4)], (8, 4)), INT8) is None
    assert ask(graph_of(Add(), [(8, 4), (8, 4)], (8, 4)), INT16) is None


def test_check_graph_names_what_does_not_run_on_the_chip():
    found = list(check_graph(conv(kernel=39), JOURNEY))
    assert [(node.id, refusal.rule) for node, refusal in found] == [("y", "conv_kernel")]
    assert list(check_graph(conv(), JOURNEY)) == []
    assert [node.id for node, _ in check_graph(graph_of(OnnxOp("Einsum", "", 17, b""), [(4,)], (4,)), JOURNEY)] == ["y"]


def small(room_bytes, alignment=16):
    """A target that keeps so many bytes for tiles, with an array of ``alignment`` channels each way."""
    kind = type(GENERIC.sram.capacity)
    figure = {name: kind(value, unit, "assumed: a test") for name, value, unit in (
        ("capacity", 2 * room_bytes, "B"), ("share", 0.5, "fraction"), ("alignment", alignment, "channels"),
    )}  # fmt: skip
    replace = msgspec.structs.replace
    sram = replace(GENERIC.sram, capacity=figure["capacity"], activation_share=figure["share"])
    channels = dict.fromkeys(("input_channel_alignment", "output_channel_alignment"), figure["alignment"])
    return replace(GENERIC, sram=sram, mac=replace(GENERIC.mac, **channels))


@pytest.mark.parametrize(
    ("graph", "int8_bytes", "int16_bytes"),
    [
        # Twice: taps of 16 inputs, taps of 16 by 16 weights, 16 results.
        (conv(kernel=5, channels=(64, 64)), 2 * (25 * 16 + 25 * 256 + 16), 2 * (25 * 32 + 25 * 256 + 32)),
        (conv(kernel=3, channels=(3, 8)), 2 * (9 * 3 + 9 * 24 + 8), 2 * (9 * 6 + 9 * 24 + 16)),
        (graph_of(Linear(), [(4, 512)], (4, 32), [(32, 512)]), 2 * (16 + 256 + 16), 2 * (32 + 256 + 32)),
        (graph_of(MatMul(), [(4, 20), (20, 9)], (4, 9)), 2 * (16 + 16 * 9 + 9), 2 * (32 + 16 * 9 + 18)),
        # A row read and a row written, each twice.
        (graph_of(Softmax(1), [(4, 3000)], (4, 3000)), 4 * 3000, 8 * 3000),
        (graph_of(LayerNorm(2), [(4, 30, 50)], (4, 30, 50)), 4 * 1500, 8 * 1500),
    ],
)
def test_the_smallest_tile_has_to_fit(graph, int8_bytes, int16_bytes):
    for precision, needed in ((INT8, int8_bytes), (INT16, int16_bytes)):
        assert ask(graph, precision, small(needed)) is None
        refusal = refusal_of(graph, precision, small(needed - 1))
        assert (refusal.rule, refusal.measured, refusal.limit) == ("smallest_tile", needed, needed - 1)
        expected = f"its smallest tile takes {needed:,} B; generic-int8 keeps {needed - 1:,} B on the chip for tiles"
        assert refusal.message == expected


def test_what_streams_needs_no_memory():
    graph = graph_of(Gelu(), [(4096, 4096)], (4096, 4096))
    assert ask(graph, LUT, small(1)) is None
