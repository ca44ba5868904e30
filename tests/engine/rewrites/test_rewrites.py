"""Every rewrite computes what it takes the place of, keeps the rule that was broken, and is timed by compiling it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from engine.analyze.describe import refusals
from engine.clock.estimate import estimate
from engine.graph.float_run import FloatModel
from engine.graph.graph import Constant
from engine.ops.elementwise import Relu
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.reduce import AveragePool, LayerNorm, Softmax
from engine.plan.resolve import resolve
from engine.plan.types import Plan
from engine.precision import Precision
from engine.program.lowering.assemble import has_lowering
from engine.rewrites import advice
from engine.rewrites.advice import Adviser
from engine.rewrites.forms import REWRITES, Question
from engine.rewrites.patch import parts_for, pieces
from engine.session import Session
from engine.target.figures import Figure
from engine.target.rules import RULES, Refusal, check_node
from engine.target.target import load_target
from tests.engine.clock.graphs import GraphBuilder, one_op

GENERIC = load_target("generic-int8")
JOURNEY = load_target("journey5")
LIMITS = {
    "conv_channels": "channels",
    "conv_kernel": "positions",
    "linear_features": "features",
    "norm_positions": "positions",
    "accumulator_bits": "bits",
}


def limited(**limits):
    """The generic target with limits of operators."""
    figures = {name: Figure(value, LIMITS[name], "assumed: a test") for name, value in limits.items()}
    return msgspec.structs.replace(GENERIC, limits=msgspec.structs.replace(GENERIC.limits, **figures))


def random_constants(graph):
    rng = np.random.default_rng(0)
    shapes = {name: constant.type.shape for name, constant in graph.constants.items()}
    drawn = {name: Constant.of(rng.normal(0, 1, shape).astype(np.float32)) for name, shape in shapes.items()}
    return replace(graph, constants=drawn)


def conv(source, weight, *, pads=0, strides=1, dilations=1, groups=1, bias=True):
    axes = len(weight) - 2
    op = Conv((strides,) * axes, (pads,) * (2 * axes), (dilations,) * axes, groups)
    windows = [dilations * (size - 1) + 1 for size in weight[2:]]
    sizes = [(size + 2 * pads - window) // strides + 1 for size, window in zip(source[2:], windows, strict=True)]
    constants = [weight, weight[:1]] if bias else [weight]
    return random_constants(one_op(op, [source], (source[0], weight[0], *sizes), constants))


def linear(source, weight, bias=True):
    constants = [weight, weight[:1]] if bias else [weight]
    return random_constants(one_op(Linear(), [source], (*source[:-1], weight[0]), constants))


CASES = {
    "conv, inputs": (conv((1, 20, 6, 6), (4, 20, 3, 3), pads=1), limited(conv_channels=8), "conv_channels", 3),
    "conv, outputs": (conv((1, 4, 6, 6), (20, 4, 3, 3)), limited(conv_channels=8), "conv_channels", 3),
    "conv, both": (conv((1, 9, 6, 6), (10, 9, 1, 1), bias=False), limited(conv_channels=5), "conv_channels", 4),
    "conv, groups": (conv((2, 12, 5, 5), (24, 2, 3, 3), groups=6), limited(conv_channels=8), "conv_channels", 3),
    "kernel": (conv((1, 3, 40, 40), (4, 3, 9, 9), pads=3, strides=2), limited(conv_kernel=4), "conv_kernel", 9),
    "kernel, dilated": (conv((1, 3, 50), (4, 3, 11), pads=4, dilations=2), limited(conv_kernel=4), "conv_kernel", 3),
    "kernel, one axis": (conv((1, 2, 90, 5), (2, 2, 33, 2), bias=False), limited(conv_kernel=31), "conv_kernel", 2),
    "linear, inputs": (linear((1, 7, 50), (5, 50)), limited(linear_features=20), "linear_features", 3),
    "linear, outputs": (linear((7, 5), (50, 5)), limited(linear_features=20), "linear_features", 3),
    "linear, both": (linear((3, 50), (41, 50), bias=False), limited(linear_features=25), "linear_features", 4),
    "norm": (
        random_constants(one_op(LayerNorm(1), [(2, 3, 14, 8)], (2, 3, 14, 8), [(8,), (8,)])),
        limited(norm_positions=20),
        "norm_positions",
        3,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rewrite_gives_the_same_values_and_keeps_the_rule(name):
    graph, target, rule, parts = CASES[name]
    node = graph.by_id["y"]
    broken = check_node(graph, node, Precision.INT8, target)
    assert broken is not None and broken.rule == rule
    (rewrite,) = REWRITES[rule]
    (patch,) = rewrite.form(Question(graph, node, broken))
    assert sum(isinstance(new.op, type(node.op)) for new in patch.nodes) == parts
    rewritten = patch.applied()
    assert rewritten.outputs == graph.outputs and node.id not in rewritten.by_id
    assert all(check_node(rewritten, rewritten.by_id[new.id], Precision.INT8, target) is None for new in patch.nodes)
    same_values(graph, rewritten)


def same_values(graph, rewritten):
    rng = np.random.default_rng(1)
    feeds = {name: rng.normal(0, 1, graph.types[name].shape).astype(np.float32) for name in graph.inputs}
    expected, found = FloatModel(graph).run(feeds)["y"], FloatModel(rewritten).run(feeds)["y"]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


def question(graph, rule, limit):
    return Question(graph, graph.by_id["y"], Refusal(rule, "", limit + 1, limit, ""))


def test_a_product_is_split_by_its_inner_axis():
    """The rule's own limit is 131,080 products; 10 here."""
    for left, right, out in (((2, 3, 25), (2, 25, 4), (2, 3, 4)), ((3, 25), (25,), (3,))):
        graph = one_op(MatMul(), [left, right], out)
        (rewrite,) = REWRITES["proved_products"]
        (patch,) = rewrite.form(question(graph, "proved_products", 10))
        assert sum(isinstance(new.op, MatMul) for new in patch.nodes) == 3
        same_values(graph, patch.applied())


def test_a_pool_goes_one_axis_after_the_other():
    graph = one_op(AveragePool((4, 6), (2, 3), (0, 0, 0, 0)), [(1, 2, 12, 18)], (1, 2, 5, 5))
    (rewrite,) = REWRITES["proved_windows"]
    (patch,) = rewrite.form(question(graph, "proved_windows", 8))
    assert [new.op.kernel for new in patch.nodes] == [(4, 1), (1, 6)]  # pyright: ignore[reportAttributeAccessIssue]
    same_values(graph, patch.applied())
    padded = one_op(AveragePool((4, 6), (2, 3), (1, 1, 1, 1)), [(1, 2, 12, 18)], (1, 2, 6, 5))
    assert list(rewrite.form(question(padded, "proved_windows", 8))) == []


def test_a_linear_layer_is_a_1x1_convolution():
    graph = linear((2, 7, 12), (5, 12))
    (rewrite,) = REWRITES["supported_precision"]
    (patch,) = rewrite.form(question(graph, "supported_precision", 0))
    assert [type(new.op).__name__ for new in patch.nodes] == ["Reshape", "Transpose", "Conv", "Transpose", "Reshape"]
    same_values(graph, patch.applied())


def test_sums_are_split_into_more_and_more_parts():
    for graph in (conv((1, 40, 3, 3), (4, 40, 1, 1)), linear((3, 40), (4, 40))):
        forms = [rewrite.form(question(graph, "accumulator_bits", 10)) for rewrite in REWRITES["accumulator_bits"]]
        patches = [patch for form in forms for patch in form]
        kind = type(graph.by_id["y"].op)
        counts = [sum(isinstance(new.op, kind) for new in patch.nodes) for patch in patches]
        assert counts == list(range(2, 17))
        same_values(graph, patches[-1].applied())


def test_a_kernel_part_that_reads_only_padding_is_no_rewrite():
    graph = conv((1, 1, 3), (1, 1, 40), pads=30)
    (rewrite,) = REWRITES["conv_kernel"]
    broken = check_node(graph, graph.by_id["y"], Precision.INT8, limited(conv_kernel=4))
    assert broken is not None
    assert list(rewrite.form(Question(graph, graph.by_id["y"], broken))) == []


def advise(graph, target, plan=None):
    plan = plan or Plan()
    resolution = resolve(graph, plan, target, has_lowering)
    now = estimate(graph, resolution, target, plan.compile).latency_us
    found = Adviser(graph, plan, target, has_lowering, now).advise(refusals(graph, plan, resolution))
    checked = [item.change_us for item in found.rewrites if item.checked]
    assert len(checked) != 1 or found.change_us == checked[0]
    return found.rewrites, now


@pytest.mark.parametrize("name", CASES)
def test_the_effect_is_that_of_the_compiled_model(name):
    graph, target, rule, _ = CASES[name]
    (answer,), now = advise(graph, target)
    broken = check_node(graph, graph.by_id["y"], Precision.INT8, target)
    assert broken is not None
    assert (answer.id, answer.rule, answer.checked) == ("y", rule, True)
    assert (answer.measured, answer.limit, answer.reason) == (broken.measured, broken.limit, broken.message)
    (rewrite,) = REWRITES[rule]
    (patch,) = rewrite.form(Question(graph, graph.by_id["y"], broken))
    rewritten = patch.applied()
    after = estimate(rewritten, resolve(rewritten, Plan(), target, has_lowering), target).latency_us
    assert answer.change_us == after - now
    assert answer.rewrite.startswith(rewrite.text)


def test_a_layer_off_the_cpu_is_faster():
    graph = linear((1, 64, 9000), (1000, 9000))
    (answer,), now = advise(graph, JOURNEY)
    assert answer.rule == "linear_features"
    assert answer.change_us is not None
    assert -now < answer.change_us < -0.5 * now


def test_the_requested_precision_is_kept():
    """int16 sums of 48 large weights need more than 26 bits; those of a part of them do not."""
    graph = linear((4, 48), (8, 48))
    target = limited(accumulator_bits=26)
    plan = Plan().mark(("y",), Precision.INT16)
    resolution = resolve(graph, plan, target, has_lowering)
    assert resolution.effective["y"].precision is Precision.INT8
    (answer,), _ = advise(graph, target, plan)
    assert (answer.rule, answer.checked) == ("accumulator_bits", True)
    assert answer.change_us is not None and answer.change_us > 0.0  # int16 costs more than int8
    assert "parts)" in answer.rewrite


def test_int16_for_a_layer_that_only_convolutions_have():
    narrow = msgspec.structs.replace(GENERIC.operators["mac"], precisions=(Precision.INT8,))
    target = msgspec.structs.replace(GENERIC, operators={**GENERIC.operators, "Linear": narrow})
    (answer,), _ = advise(linear((4, 48), (8, 48)), target, Plan().mark(("y",), Precision.INT16))
    assert (answer.rule, answer.checked) == ("supported_precision", True)
    assert "1x1 convolution" in answer.rewrite


def test_advice_without_a_number_where_there_is_no_rewrite():
    three_axes = conv((1, 2, 5, 5, 5), (2, 2, 3, 3, 3))
    (answer,), _ = advise(three_axes, JOURNEY)
    assert (answer.rule, answer.checked, answer.change_us) == ("conv_spatial_axes", False, None)
    assert answer.rewrite == "write it as two-dimensional convolutions, or leave it on the CPU (float)"
    transposed = ConvTranspose((1, 1), (0, 0, 0, 0), (1, 1), (0, 0))
    graph = random_constants(one_op(transposed, [(1, 20, 6, 6)], (1, 4, 8, 8), [(20, 4, 3, 3)]))
    (answer,), _ = advise(graph, limited(conv_channels=8))
    assert (answer.rule, answer.checked, answer.change_us) == ("conv_channels", False, None)
    assert "split the convolution by channels" in answer.rewrite


def test_what_runs_as_asked_needs_no_advice():
    assert advise(one_op(Relu(), [(1, 8)], (1, 8)), GENERIC)[0] == ()
    assert advise(one_op(Softmax(1), [(1, 8)], (1, 8)), GENERIC, Plan().mark(("y",), Precision.FLOAT))[0] == ()


def test_only_so_many_rewrites_are_looked_for(monkeypatch):
    graph, target, _, _ = CASES["linear, inputs"]
    monkeypatch.setattr(advice, "MOST_REWRITES", 0)
    (answer,), _ = advise(graph, target)
    assert (answer.checked, answer.change_us) == (False, None)
    assert "split the layer by features" in answer.rewrite


def test_all_rewrites_together_are_one_model():
    builder = GraphBuilder()
    builder.input("x", (1, 64, 9000))
    builder.constant("w", (9000, 9000))
    builder.node("a", Linear(), ("x", "w"), (1, 64, 9000))
    builder.node("b", Linear(), ("a", "w"), (1, 64, 9000))
    graph = builder.build("b")
    resolution = resolve(graph, Plan(), JOURNEY, has_lowering)
    now = estimate(graph, resolution, JOURNEY).latency_us
    found = Adviser(graph, Plan(), JOURNEY, has_lowering, now).advise(refusals(graph, Plan(), resolution))
    assert [item.id for item in found.rewrites if item.checked] == ["a", "b"]
    assert found.change_us is not None
    single = [item.change_us for item in found.rewrites if item.change_us is not None]
    assert -now < found.change_us < min(single) < 0.0


def test_every_rewrite_answers_a_rule_that_there_is():
    assert set(REWRITES) <= set(RULES)
    assert all(rewrite.text for found in REWRITES.values() for rewrite in found)


def test_pieces_cover_all_and_differ_by_one():
    assert pieces(10, 3) == [(0, 3), (3, 6), (6, 10)]
    assert parts_for(256, 31) == 9 and max(b - a for a, b in pieces(256, 9)) <= 31


@pytest.mark.parametrize("name", CASES)
def test_a_rewrite_runs_in_integers(name, tmp_path):
    """Each part is quantised, and the whole stays near the float values of the node."""
    graph, target, rule, _ = CASES[name]
    broken = check_node(graph, graph.by_id["y"], Precision.INT8, target)
    assert broken is not None
    (patch,) = REWRITES[rule][0].form(Question(graph, graph.by_id["y"], broken))
    shape = graph.types["x0"].shape
    samples = np.random.default_rng(2).normal(0, 1, (4 * shape[0], *shape[1:])).astype(np.float32)
    np.savez(tmp_path / "x.npz", x0=samples)
    session = Session(patch.applied())
    session.target = target
    session.calibrate(tmp_path / "x.npz")
    assert session.refusals() == ()
    feeds = {"x0": samples[: shape[0]]}
    expected, found = FloatModel(graph).run(feeds)["y"].numpy(), session.run(feeds)["y"]
    noise = np.square(found - expected).sum() / np.square(expected).sum()
    assert 10 * np.log10(1 / noise) > 20
