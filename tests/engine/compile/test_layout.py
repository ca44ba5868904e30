"""Which layout operators vanish, which stay as one move, and the runs of each access."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compile.layout import LayoutPlan, LayoutPlanner, plan_layout
from engine.compile.orders import ANYWHERE, Reach
from engine.compile.views import Factor, ordered, row_major
from engine.graph.graph import Graph
from engine.ops.elementwise import Add, Affine, Relu
from engine.ops.layout import Concat, Expand, Pad, Reshape, Roll, Slice, Split, Transpose
from engine.ops.linear import Conv, Linear, MatMul
from engine.ops.logic import Greater
from engine.ops.other import OnnxOp
from engine.ops.reduce import LayerNorm, MaxPool, Softmax
from engine.precision import Precision
from engine.simulate.placement import Frames, placements_of
from tests.engine.clock.graphs import GraphBuilder, resolution_of

POINTWISE = Conv((1, 1), (0, 0, 0, 0), (1, 1))
SLIDING = Conv((1, 1), (1, 1, 1, 1), (1, 1))


def planned(graph: Graph, precisions: dict[str, Precision] | None = None, reach: Reach = ANYWHERE) -> LayoutPlan:
    return plan_layout(graph, placements_of(graph, resolution_of(graph, precisions)), reach=reach)


def linear(builder: GraphBuilder, name: str, source: str, shape: tuple[int, ...], features: int) -> str:
    builder.constant(f"{name}.w", (features, shape[-1]))
    return builder.node(name, Linear(), (source, f"{name}.w"), (*shape[:-1], features))


def conv(builder: GraphBuilder, name: str, source: str, op: Conv, shape: tuple[int, ...], channels: int) -> str:
    kernel = 3 if any(op.pads) else 1
    builder.constant(f"{name}.w", (channels, shape[1], kernel, kernel))
    return builder.node(name, op, (source, f"{name}.w"), (shape[0], channels, *shape[2:]))


def shifted_windows() -> Graph:
    """Rows of 14 x 14 positions and 32 channels, shifted by 3, in windows of 7, through a layer, and back."""
    builder = GraphBuilder()
    builder.input("x", (1, 196, 32))
    linear(builder, "rows", "x", (1, 196, 32), 32)
    builder.node("image", Reshape((1, 14, 14, 32)), ("rows",), (1, 14, 14, 32))
    builder.node("roll", Roll((-3, -3), (1, 2)), ("image",), (1, 14, 14, 32))
    builder.node("cut", Reshape((1, 2, 7, 2, 7, 32)), ("roll",), (1, 2, 7, 2, 7, 32))
    builder.node("swap", Transpose((0, 1, 3, 2, 4, 5)), ("cut",), (1, 2, 2, 7, 7, 32))
    builder.node("windows", Reshape((4, 49, 32)), ("swap",), (4, 49, 32))
    linear(builder, "layer", "windows", (4, 49, 32), 32)
    builder.node("uncut", Reshape((1, 2, 2, 7, 7, 32)), ("layer",), (1, 2, 2, 7, 7, 32))
    builder.node("unswap", Transpose((0, 1, 3, 2, 4, 5)), ("uncut",), (1, 2, 7, 2, 7, 32))
    builder.node("whole", Reshape((1, 14, 14, 32)), ("unswap",), (1, 14, 14, 32))
    builder.node("unroll", Roll((3, 3), (1, 2)), ("whole",), (1, 14, 14, 32))
    builder.node("back", Reshape((1, 196, 32)), ("unroll",), (1, 196, 32))
    builder.node("sum", Add(), ("rows", "back"), (1, 196, 32))
    return builder.build("sum")


def test_window_partition_roll_and_their_reverse_vanish():
    graph = shifted_windows()
    plan = planned(graph)
    names = ("image", "roll", "cut", "swap", "windows", "uncut", "unswap", "whole", "unroll", "back")
    assert plan.eliminated == frozenset(names)
    assert not plan.moved
    assert plan.root["windows"] == "rows" and plan.root["back"] == "layer"
    assert plan.bytes.after == 0 and plan.bytes.removed == 1.0
    assert plan.bytes.before == 4 * 2 * 196 * 32
    assert plan.bytes.exported == 10 * 2 * 196 * 32


def test_runs_of_shifted_windows_end_at_windows_and_cuts():
    plan = planned(shifted_windows())
    assert plan.run_bytes("layer", "windows") == 4 * 32  # 14 positions in windows of 7, cut once: 3 pieces
    assert plan.run_bytes("sum", "back") == 4 * 32
    assert plan.run_bytes("sum", "rows") == plan.run_bytes("sum", "sum") == 196 * 32


def test_a_shift_with_its_windows_is_one_copy_where_engines_do_not_wrap():
    plan = planned(shifted_windows(), reach=Reach())
    assert set(plan.moved) == {"windows", "back"}
    (cut,), (back,) = plan.moved["windows"], plan.moved["back"]
    assert (cut.source, cut.size_bytes, cut.read_run_bytes) == ("swap", 2 * 196 * 32, 4 * 32)
    assert plan.root["swap"] == "rows" and plan.root["windows"] == "windows"
    assert (back.source, back.write_run_bytes) == ("unroll", 196 * 32)
    assert plan.bytes.after == 2 * 2 * 196 * 32 and plan.bytes.strided == 0


def test_windows_without_a_shift_are_read_as_long_as_engines_have_strides_enough():
    builder = GraphBuilder()
    builder.input("x", (4, 49, 32))
    linear(builder, "rows", "x", (4, 49, 32), 32)
    builder.node("uncut", Reshape((1, 2, 2, 7, 7, 32)), ("rows",), (1, 2, 2, 7, 7, 32))
    builder.node("unswap", Transpose((0, 1, 3, 2, 4, 5)), ("uncut",), (1, 2, 7, 2, 7, 32))
    builder.node("back", Reshape((1, 196, 32)), ("unswap",), (1, 196, 32))
    builder.input("y", (1, 196, 32))
    builder.node("sum", Add(), ("y", "back"), (1, 196, 32))
    graph = builder.build("sum")
    assert not planned(graph, reach=Reach(strides=4)).moved  # two of windows, one of rows, one inside a row
    assert set(planned(graph, reach=Reach(strides=3)).moved) == {"back"}


def test_channels_last_needs_no_transposition_to_rows():
    builder = GraphBuilder()
    builder.input("x", (1, 16, 8, 8))
    conv(builder, "conv", "x", SLIDING, (1, 16, 8, 8), 24)
    builder.node("last", Transpose((0, 2, 3, 1)), ("conv",), (1, 8, 8, 24))
    builder.node("norm", LayerNorm(1), ("last",), (1, 8, 8, 24))
    linear(builder, "linear", "norm", (1, 8, 8, 24), 16)
    builder.node("first", Transpose((0, 3, 1, 2)), ("linear",), (1, 16, 8, 8))
    builder.node("sum", Add(), ("x", "first"), (1, 16, 8, 8))
    plan = planned(builder.build("sum"))
    assert plan.eliminated == {"last", "first"}
    assert plan.storages["conv"].view == ordered((1, 24, 8, 8), (0, 2, 3, 1))
    assert plan.storages["sum"].view == ordered((1, 16, 8, 8), (0, 2, 3, 1))
    for anchor, value in (("norm", "last"), ("sum", "first"), ("sum", "x")):
        assert plan.run_bytes(anchor, value) == plan.sizes[plan.root[value]]


def test_heads_are_read_where_they_lie():
    builder = GraphBuilder()
    builder.input("x", (1, 49, 64))
    linear(builder, "qkv", "x", (1, 49, 64), 192)
    builder.node("parts", Reshape((1, 49, 3, 2, 32)), ("qkv",), (1, 49, 3, 2, 32))
    builder.node("heads", Transpose((2, 0, 3, 1, 4)), ("parts",), (3, 1, 2, 49, 32))
    builder.split(("q", "k", "v"), Split(0, (1, 1, 1)), "heads", [(1, 1, 2, 49, 32)] * 3)
    builder.node("keys", Transpose((0, 1, 2, 4, 3)), ("k",), (1, 1, 2, 32, 49))
    builder.node("logits", MatMul(), ("q", "keys"), (1, 1, 2, 49, 49))
    builder.node("soft", Softmax(4), ("logits",), (1, 1, 2, 49, 49))
    builder.node("mixed", MatMul(), ("soft", "v"), (1, 1, 2, 49, 32))
    plan = planned(builder.build("mixed"))
    assert plan.eliminated == {"parts", "heads", "q", "keys"}
    assert {plan.root[value] for value in ("q", "k", "v", "keys")} == {"qkv"}
    assert plan.run_bytes("logits", "q") == plan.run_bytes("logits", "keys") == 32
    assert plan.run_bytes("soft", "logits") == 2 * 49 * 49


def test_kernels_write_into_the_concatenation_that_alone_reads_them():
    builder = GraphBuilder()
    builder.input("x", (1, 8, 6, 6))
    conv(builder, "a", "x", POINTWISE, (1, 8, 6, 6), 16)
    conv(builder, "b", "x", POINTWISE, (1, 8, 6, 6), 32)
    builder.node("both", Concat(1), ("a", "b"), (1, 48, 6, 6))
    conv(builder, "y", "both", POINTWISE, (1, 48, 6, 6), 8)
    plan = planned(builder.build("y"))
    assert plan.eliminated == {"both"}
    assert plan.written == {"a", "b"}
    assert plan.root["a"] == plan.root["b"] == "both"
    assert plan.storages["b"].view.offset == 16
    assert plan.run_bytes("a", "a") == 16 and plan.run_bytes("b", "b") == 32
    assert "a" not in plan.sizes and plan.sizes["both"] == 48 * 36


def test_what_others_read_or_keeps_another_scale_is_copied_into_a_concatenation():
    builder = GraphBuilder()
    builder.input("x", (1, 8, 6, 6))
    conv(builder, "a", "x", POINTWISE, (1, 8, 6, 6), 16)
    builder.node("pool", MaxPool((3, 3), (1, 1), (1, 1, 1, 1)), ("a",), (1, 16, 6, 6))
    conv(builder, "b", "pool", POINTWISE, (1, 16, 6, 6), 16)
    builder.node("all", Concat(1), ("a", "pool", "b"), (1, 48, 6, 6))
    builder.node("y", Relu(), ("all",), (1, 48, 6, 6))
    plan = planned(builder.build("y"))
    assert plan.written == {"b"}
    assert [move.source for move in plan.moved["all"]] == ["a", "pool"]
    assert plan.bytes.after == 2 * 2 * 16 * 36 and plan.bytes.before == 2 * 48 * 36


def test_what_a_program_rescales_is_computed():
    builder = GraphBuilder()
    builder.input("x", (1, 8, 6, 6))
    conv(builder, "a", "x", POINTWISE, (1, 8, 6, 6), 16)
    conv(builder, "b", "x", POINTWISE, (1, 8, 6, 6), 16)
    builder.node("half", Affine(0.5, 0.0), ("a",), (1, 16, 6, 6))
    builder.node("c", Relu(), ("half",), (1, 16, 6, 6))
    builder.node("both", Concat(1), ("b", "c"), (1, 32, 6, 6))
    builder.node("y", Relu(), ("both",), (1, 32, 6, 6))
    graph = builder.build("y")
    placed = placements_of(graph, resolution_of(graph))
    assert plan_layout(graph, placed).eliminated == {"half", "both"}
    plan = plan_layout(graph, placed, rescaled=frozenset({("half", "a"), ("both", "b")}))
    assert plan.eliminated == frozenset() and plan.written == {"c"}
    assert plan.root["half"] == "half" and [move.source for move in plan.moved["both"]] == ["b"]


def test_truth_values_leave_as_the_model_has_them():
    builder = GraphBuilder()
    builder.input("x", (1, 8, 6, 6))
    conv(builder, "a", "x", POINTWISE, (1, 8, 6, 6), 16)
    builder.node("y", Greater(), ("a", "a"), (1, 16, 6, 6), "bool")
    graph = builder.build("y", "a")
    resolution = resolution_of(graph)
    resolution = replace(resolution, dtypes={**resolution.dtypes, "y": "bool"})
    plan = plan_layout(graph, placements_of(graph, resolution))
    assert plan.storages["y"].view == row_major((1, 16, 6, 6))
    assert plan.storages["a"].view == ordered((1, 16, 6, 6), (0, 2, 3, 1))


def test_nested_concatenations_share_one_buffer():
    builder = GraphBuilder()
    builder.input("x", (1, 8, 6, 6))
    for name in ("a", "b", "c"):
        conv(builder, name, "x", POINTWISE, (1, 8, 6, 6), 8)
    builder.node("ab", Concat(1), ("a", "b"), (1, 16, 6, 6))
    builder.node("abc", Concat(1), ("c", "ab"), (1, 24, 6, 6))
    builder.node("y", Relu(), ("abc",), (1, 24, 6, 6))
    plan = planned(builder.build("y"))
    assert plan.eliminated == {"ab", "abc"}
    assert [plan.storages[name].view.offset for name in ("c", "ab", "a", "b")] == [0, 8, 8, 16]
    assert {plan.root[name] for name in ("a", "b", "c", "ab")} == {"abc"}


def test_patch_merging_is_a_view_of_what_it_cuts_up():
    builder = GraphBuilder()
    builder.input("x", (1, 8, 8, 16))
    linear(builder, "rows", "x", (1, 8, 8, 16), 16)
    parts = []
    for column in (0, 1):
        for row in (0, 1):
            steps = Slice((0, row, column, 0), (1, 8, 8, 16), (1, 2, 2, 1))
            parts.append(builder.node(f"p{row}{column}", steps, ("rows",), (1, 4, 4, 16)))
    builder.node("merged", Concat(3), parts, (1, 4, 4, 64))
    builder.node("norm", LayerNorm(1), ("merged",), (1, 4, 4, 64))
    plan = planned(builder.build("norm"))
    assert plan.eliminated == {*parts, "merged"}
    assert plan.root["merged"] == "rows"


def test_what_the_cpu_reads_or_leaves_the_model_is_moved_once():
    builder = GraphBuilder()
    builder.input("x", (1, 196, 32))
    linear(builder, "rows", "x", (1, 196, 32), 32)
    builder.node("image", Reshape((1, 14, 14, 32)), ("rows",), (1, 14, 14, 32))
    builder.node("roll", Roll((-3,), (1,)), ("image",), (1, 14, 14, 32))
    builder.node("planes", Transpose((0, 3, 1, 2)), ("roll",), (1, 32, 14, 14))
    builder.node("odd", OnnxOp("Odd", "", 17, b""), ("planes",), (1, 32, 14, 14))
    plan = planned(builder.build("odd", "image"), {"odd": Precision.FLOAT})
    assert plan.eliminated == {"image", "roll"}  # reshaped rows lie as the model has them
    (move,) = plan.moved["planes"]
    assert move.source == "roll" and plan.storages["planes"].view == row_major((1, 32, 14, 14))
    assert move.size_bytes == plan.bytes.after == 2 * 196 * 32
    assert move.read_run_bytes == 1 and move.write_run_bytes == 196 * 32


def test_a_window_does_not_slide_over_an_axis_of_two_strides():
    builder = GraphBuilder()
    builder.input("x", (4, 49, 32))
    linear(builder, "rows", "x", (4, 49, 32), 32)
    builder.node("uncut", Reshape((1, 2, 2, 7, 7, 32)), ("rows",), (1, 2, 2, 7, 7, 32))
    builder.node("planes", Transpose((0, 5, 1, 3, 2, 4)), ("uncut",), (1, 32, 2, 7, 2, 7))
    builder.node("image", Reshape((1, 32, 14, 14)), ("planes",), (1, 32, 14, 14))
    conv(builder, "y", "image", SLIDING, (1, 32, 14, 14), 8)
    plan = planned(builder.build("y"))
    assert plan.eliminated == {"uncut", "planes"}
    (move,) = plan.moved["image"]
    assert plan.storages["image"].view == ordered((1, 32, 14, 14), (0, 2, 3, 1))
    assert (move.read_run_bytes, move.write_run_bytes) == (7 * 32, 32 * 196)


def test_a_convolution_of_one_position_reads_through_windows():
    builder = GraphBuilder()
    builder.input("x", (4, 49, 32))
    linear(builder, "rows", "x", (4, 49, 32), 32)
    builder.node("uncut", Reshape((1, 2, 2, 7, 7, 32)), ("rows",), (1, 2, 2, 7, 7, 32))
    builder.node("planes", Transpose((0, 5, 1, 3, 2, 4)), ("uncut",), (1, 32, 2, 7, 2, 7))
    builder.node("image", Reshape((1, 32, 14, 14)), ("planes",), (1, 32, 14, 14))
    conv(builder, "y", "image", POINTWISE, (1, 32, 14, 14), 8)
    assert planned(builder.build("y")).eliminated == {"uncut", "planes", "image"}


def test_padding_is_moved_through_the_view_before_it():
    builder = GraphBuilder()
    builder.input("x", (1, 196, 32))
    linear(builder, "rows", "x", (1, 196, 32), 32)
    builder.node("image", Reshape((1, 14, 14, 32)), ("rows",), (1, 14, 14, 32))
    builder.node("pad", Pad((0, 0, 0, 0, 0, 2, 2, 0)), ("image",), (1, 16, 16, 32))
    builder.node("y", Relu(), ("pad",), (1, 16, 16, 32))
    plan = planned(builder.build("y"))
    assert plan.eliminated == {"image"}
    (move,) = plan.moved["pad"]
    assert (move.read_bytes, move.write_bytes) == (196 * 32, 256 * 32)


def test_a_broadcast_is_read_again_and_again():
    builder = GraphBuilder()
    builder.input("x", (1, 1, 32))
    linear(builder, "row", "x", (1, 1, 32), 32)
    builder.node("rows", Expand((1, 8, 32)), ("row",), (1, 8, 32))
    builder.node("y", Relu(), ("rows",), (1, 8, 32))
    plan = planned(builder.build("y"))
    assert plan.storages["rows"].view.axes == ((), (Factor(8, 0),), (Factor(32, 1),))
    assert plan.storages["y"].view == row_major((1, 8, 32))
    assert plan.run_bytes("y", "rows") == 32


def test_many_readers_of_short_runs_are_given_a_copy():
    builder = GraphBuilder()
    builder.input("x", (1, 64, 64))
    linear(builder, "rows", "x", (1, 64, 64), 64)
    builder.node("turned", Transpose((0, 2, 1)), ("rows",), (1, 64, 64))
    outs = [linear(builder, f"y{index}", "turned", (1, 64, 64), 8) for index in range(3)]
    plan = planned(builder.build(*outs))
    (move,) = plan.moved["turned"]
    assert move.size_bytes == 2 * 64 * 64
    assert plan.run_bytes("y0", "turned") == 64 * 64
    one = GraphBuilder()
    one.input("x", (1, 64, 64))
    linear(one, "rows", "x", (1, 64, 64), 64)
    one.node("turned", Transpose((0, 2, 1)), ("rows",), (1, 64, 64))
    linear(one, "y", "turned", (1, 64, 64), 8)
    plan = planned(one.build("y"))
    assert plan.eliminated == {"turned"} and plan.run_bytes("y", "turned") == 1
    assert plan.bytes.strided == 3 * 64 * 64  # a run of one byte fetches what 16 do: a quarter of 64


def test_the_cpu_keeps_its_own_layout_operators():
    builder = GraphBuilder()
    builder.input("x", (1, 4, 8))
    builder.node("turn", Transpose((0, 2, 1)), ("x",), (1, 8, 4))
    builder.node("y", Relu(), ("turn",), (1, 8, 4))
    plan = planned(builder.build("y"), {"turn": Precision.FLOAT})
    assert "turn" not in plan.eliminated and "turn" not in plan.moved
    assert plan.root["turn"] == "turn"
    assert plan.bytes.after == plan.bytes.before > 0


EDITABLE = tuple(node.id for node in shifted_windows().nodes)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(EDITABLE), st.sampled_from(Precision), max_size=3), max_size=4),
    st.sampled_from((ANYWHERE, Reach(), Reach(strides=1))),
)
def test_a_plan_after_edits_is_the_plan_from_scratch(edits, reach):
    graph = shifted_windows()
    planner = LayoutPlanner(graph, reach=reach)
    frames: Frames = {}
    for precisions in [{}, *edits, {}]:
        chosen = {name: p for name, p in precisions.items() if p is not Precision.AUTO}
        placed = placements_of(graph, resolution_of(graph, chosen), frames)
        found, scratch = planner.plan(placed), plan_layout(graph, placed, reach=reach)
        assert planner.plan(placed) is found
        assert found.storages == scratch.storages and found.root == scratch.root
        assert found.runs == scratch.runs and found.sizes == scratch.sizes
        assert found.moved == scratch.moved and found.eliminated == scratch.eliminated
        assert found.bytes == scratch.bytes
