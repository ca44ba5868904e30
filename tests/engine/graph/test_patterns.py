"""Decomposed spellings become one node, compute the same, and never fire where something inside is used elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from onnx import NodeProto

from engine.graph.graph import Graph
from engine.ops import elementwise as elementwise_ops
from engine.ops.base import Op
from engine.ops.layout import Roll
from engine.ops.reduce import LayerNorm, RMSNorm
from tests.engine.graph.onnx_models import Array, assert_same, build, node, operators, type_names

_GENERATOR = np.random.default_rng(11)


def floats(*shape: int) -> Array:
    return _GENERATOR.uniform(-2, 2, shape).astype(np.float32)


def value(number: float) -> Array:
    return np.array(number, np.float32)


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


@dataclass(frozen=True)
class Spelling:
    """Nodes from x to y; ``inside`` names a value that must not be read elsewhere for the pattern to fire."""

    name: str
    nodes: Sequence[NodeProto]
    becomes: Sequence[str]
    inside: str
    constants: dict[str, Array] = field(default_factory=dict)
    x: Array = field(default_factory=lambda: floats(2, 3, 4, 6))
    opset: int = 17


def _chain(*steps: tuple[str, Sequence[str], str]) -> list[NodeProto]:
    return [node(op_type, inputs, [output]) for op_type, inputs, output in steps]


NUMBERS = {
    "half": value(0.5),
    "one": value(1.0),
    "two": value(2.0),
    "three": value(3.0),
    "six": value(6.0),
    "zero": value(0.0),
    "sixth": value(1 / 6),
    "sqrt2": value(np.sqrt(2)),
    "isqrt2": value(1 / np.sqrt(2)),
    "c": value(0.044715),
    "k": value(np.sqrt(2 / np.pi)),
    "eps": value(1e-5),
}

ERF = ("Div", ["x", "sqrt2"], "a"), ("Erf", ["a"], "e"), ("Add", ["e", "one"], "g")
CUBE = ("Pow", ["x", "three"], "p"), ("Mul", ["p", "c"], "q"), ("Add", ["x", "q"], "s"), ("Mul", ["s", "k"], "t")
CUBE_BY_PRODUCTS = (
    ("Mul", ["x", "x"], "xx"), ("Mul", ["xx", "x"], "p"), ("Mul", ["c", "p"], "q"), ("Add", ["q", "x"], "s"),
    ("Mul", ["k", "s"], "t"),
)  # fmt: skip
FACTORED = (
    ("Mul", ["x", "x"], "xx"), ("Mul", ["c", "xx"], "q"), ("Add", ["q", "one"], "s0"), ("Mul", ["k", "x"], "kx"),
    ("Mul", ["kx", "s0"], "t"),
)  # fmt: skip

ACTIVATIONS = [
    Spelling("gelu", _chain(*ERF, ("Mul", ["x", "g"], "m"), ("Mul", ["m", "half"], "y")), ["Gelu"], "e"),
    Spelling("gelu half x first", _chain(*ERF, ("Mul", ["x", "half"], "m"), ("Mul", ["m", "g"], "y")), ["Gelu"], "m"),
    Spelling("gelu half gate", _chain(*ERF, ("Mul", ["half", "g"], "m"), ("Mul", ["m", "x"], "y")), ["Gelu"], "g"),
    Spelling(
        "gelu times reciprocal, over two",
        _chain(
            ("Mul", ["x", "isqrt2"], "a"), ("Erf", ["a"], "e"), ("Add", ["one", "e"], "g"), ("Mul", ["g", "x"], "m"),
            ("Div", ["m", "two"], "y"),
        ),
        ["Gelu"], "a",
    ),
    Spelling(
        "gelu distributed",
        _chain(
            *ERF[:2], ("Mul", ["x", "e"], "m"), ("Add", ["x", "m"], "s"), ("Mul", ["s", "half"], "y"),
        ),
        ["Gelu"], "m",
    ),
    *(
        Spelling(
            f"gelu tanh {name}",
            _chain(
                *cube, ("Tanh", ["t"], "h"), ("Add", ["h", "one"], "g"), ("Mul", ["x", "g"], "m"),
                ("Mul", ["m", "half"], "y"),
            ),
            ["Gelu"], "t",
        )
        for name, cube in (("power", CUBE), ("products", CUBE_BY_PRODUCTS), ("factored", FACTORED))
    ),
    Spelling("silu", _chain(("Sigmoid", ["x"], "s"), ("Mul", ["x", "s"], "y")), ["Silu"], "s"),
    Spelling("silu turned", _chain(("Sigmoid", ["x"], "s"), ("Mul", ["s", "x"], "y")), ["Silu"], "s"),
    Spelling(
        "hard swish by clip",
        _chain(
            ("Add", ["x", "three"], "a"), ("Clip", ["a", "zero", "six"], "c6"), ("Mul", ["x", "c6"], "m"),
            ("Div", ["m", "six"], "y"),
        ),
        ["HardSwish"], "c6",
    ),
    Spelling(
        "hard swish by gate",
        _chain(
            ("Add", ["x", "three"], "a"), ("Clip", ["a", "zero", "six"], "c6"), ("Mul", ["c6", "sixth"], "m"),
            ("Mul", ["x", "m"], "y"),
        ),
        ["HardSwish"], "a",
    ),
    Spelling(
        "hard swish by hard sigmoid",
        [node("HardSigmoid", ["x"], ["h"], alpha=1 / 6, beta=0.5), node("Mul", ["h", "x"], ["y"])],
        ["HardSwish"], "h",
    ),
    Spelling(
        "hard sigmoid",
        _chain(("Add", ["x", "three"], "a"), ("Clip", ["a", "zero", "six"], "c6"), ("Div", ["c6", "six"], "y")),
        ["HardSigmoid"], "c6",
    ),
    Spelling(
        "mish",
        _chain(("Softplus", ["x"], "s"), ("Tanh", ["s"], "t"), ("Mul", ["x", "t"], "y")),
        ["Mish"], "s",
    ),
]  # fmt: skip


def _mean(x: str, output: str) -> NodeProto:
    return node("ReduceMean", [x], [output], axes=[-1])


def _layer_norm(square: NodeProto, *end: NodeProto) -> list[NodeProto]:
    return [
        _mean("x", "mu"), node("Sub", ["x", "mu"], ["d"]), square, _mean("sq", "var"),
        node("Add", ["var", "eps"], ["ve"]), node("Sqrt", ["ve"], ["sd"]), *end,
    ]  # fmt: skip


POWER, PRODUCT = node("Pow", ["d", "two"], ["sq"]), node("Mul", ["d", "d"], ["sq"])
AFFINE_END = [
    node("Div", ["d", "sd"], ["n"]),
    node("Mul", ["n", "gamma"], ["ng"]),
    node("Add", ["ng", "beta"], ["y"]),
]
GAMMA = {"gamma": floats(6), "beta": floats(6)}

NORMALISATIONS = [
    Spelling("layer norm", _layer_norm(POWER, node("Div", ["d", "sd"], ["y"])), ["LayerNormalization"], "d"),
    Spelling("layer norm 2", _layer_norm(PRODUCT, node("Div", ["d", "sd"], ["y"])), ["LayerNormalization"], "sq"),
    Spelling("layer norm affine", _layer_norm(POWER, *AFFINE_END), ["LayerNormalization"], "n", GAMMA),
    Spelling(
        "layer norm by reciprocal",
        _layer_norm(POWER, node("Reciprocal", ["sd"], ["r"]), node("Mul", ["d", "r"], ["y"])),
        ["LayerNormalization"], "r",
    ),
    Spelling(
        "layer norm, difference twice",
        [
            _mean("x", "mu"), node("Sub", ["x", "mu"], ["d"]), _mean("x", "mu2"), node("Sub", ["x", "mu2"], ["d2"]),
            node("Pow", ["d2", "two"], ["sq"]), _mean("sq", "var"), node("Add", ["var", "eps"], ["ve"]),
            node("Sqrt", ["ve"], ["sd"]), node("Div", ["d", "sd"], ["y"]),
        ],
        ["LayerNormalization"], "d2",
    ),
    Spelling(
        "layer norm whole, scale and shift apart",
        [
            node("LayerNormalization", ["x", "ones"], ["n"]), node("Mul", ["n", "gamma"], ["ng"]),
            node("Add", ["beta", "ng"], ["y"]),
        ],
        ["LayerNormalization"], "ng", {**GAMMA, "ones": np.ones(6, np.float32)},
    ),
    Spelling(
        "rms norm",
        [
            node("Pow", ["x", "two"], ["sq"]), _mean("sq", "ms"), node("Add", ["ms", "eps"], ["me"]),
            node("Sqrt", ["me"], ["sd"]), node("Div", ["x", "sd"], ["n"]), node("Mul", ["n", "gamma"], ["y"]),
        ],
        ["RMSNormalization"], "n", GAMMA,
    ),
    Spelling(
        "rms norm by reciprocal",
        [
            node("Mul", ["x", "x"], ["sq"]), _mean("sq", "ms"), node("Add", ["ms", "eps"], ["me"]),
            node("Sqrt", ["me"], ["sd"]), node("Div", ["one", "sd"], ["r"]), node("Mul", ["x", "r"], ["y"]),
        ],
        ["RMSNormalization"], "r",
    ),
]  # fmt: skip


def _slice(output: str, start: str, stop: str, axis: str, source: str = "x") -> NodeProto:
    return node("Slice", [source, start, stop, axis], [output])


BOUNDS = {"n0": ints(0), "n1": ints(1), "n2": ints(2), "n3": ints(3), "end": ints(2**63 - 1)}

MOMENTS = {
    "count1": value(1 / 3), "count3": value(1 / 6), "axis1": ints(1), "axis3": ints(3),
    "kept1": ints(2, 1, 4, 6), "kept3": ints(2, 3, 4, 1), "gain1": floats(1, 3, 1, 1), "gain3": floats(6),
}  # fmt: skip


def _moments(axis: int, gain: str = "") -> list[NodeProto]:
    """(x - m) * (rsqrt(max(E[x^2] - m^2, 0) + eps) * gain) with sums that drop their axis."""
    return [
        node("ReduceSum", ["x", f"axis{axis}"], ["s"], keepdims=0), node("Mul", ["s", f"count{axis}"], ["m"]),
        node("Mul", ["x", "x"], ["xx"]), node("ReduceSum", ["xx", f"axis{axis}"], ["ss"], keepdims=0),
        node("Mul", ["ss", f"count{axis}"], ["mm"]), node("Mul", ["m", "m"], ["m2"]),
        node("Sub", ["mm", "m2"], ["d"]), node("Max", ["zero", "d"], ["var"]),
        node("Reshape", ["var", f"kept{axis}"], ["v"]), node("Add", ["v", "eps"], ["ve"]),
        node("Sqrt", ["ve"], ["sd"]), node("Reciprocal", ["sd"], ["r"]),
        node("Mul", ["r", gain or f"gain{axis}"], ["g"]), node("Reshape", ["m", f"kept{axis}"], ["mk"]),
        node("Sub", ["x", "mk"], ["xc"]), node("Mul", ["xc", "g"], ["y"]),
    ]  # fmt: skip


OTHERS = [
    Spelling(
        "softmax",
        [
            node("ReduceMax", ["x"], ["m"], axes=[-1]), node("Sub", ["x", "m"], ["z"]), node("Exp", ["z"], ["e"]),
            node("ReduceSum", ["e", "n3"], ["t"]), node("Div", ["e", "t"], ["y"]),
        ],
        ["Softmax"], "z", BOUNDS,
    ),
    Spelling(
        "softmax without maximum",
        [node("Exp", ["x"], ["e"]), node("ReduceSum", ["e", "n1"], ["t"]), node("Div", ["e", "t"], ["y"])],
        ["Softmax"], "e", BOUNDS,
    ),
    Spelling(
        "guarded softmax",
        [
            node("Softmax", ["x"], ["s"], axis=-1), node("IsNaN", ["s"], ["n"]),
            node("Where", ["n", "zero", "s"], ["y"]),
        ],
        ["Softmax"], "s",
    ),
    Spelling("LayerNorm of Flax", _moments(3), ["LayerNormalization"], "var", MOMENTS),
    Spelling(
        "LayerNorm of Flax across channels", _moments(1),
        ["Transpose", "LayerNormalization", "Transpose"], "m", MOMENTS,
    ),
    Spelling(
        "softmax of JAX",
        [
            node("ReduceMax", ["x"], ["m"], axes=[2], keepdims=0), node("Reshape", ["m", "kept"], ["r"]),
            node("Sub", ["x", "r"], ["z"]), node("Exp", ["z"], ["e"]),
            node("ReduceSum", ["e", "n2"], ["t"], keepdims=0), node("Reshape", ["t", "kept"], ["u"]),
            node("Div", ["e", "u"], ["y"]),
        ],
        ["Softmax"], "u", BOUNDS | {"kept": ints(2, 3, 1, 6)},
    ),
    Spelling(
        "reduction that keeps its axes",
        [node("ReduceMean", ["x"], ["m"], axes=[1, 3], keepdims=0), node("Reshape", ["m", "kept"], ["y"])],
        ["ReduceMean"], "m", {"kept": ints(2, 1, 4, 1)},
    ),
    Spelling(
        "roll",
        [_slice("a", "n1", "end", "n2"), _slice("b", "n0", "n1", "n2"), node("Concat", ["a", "b"], ["y"], axis=2)],
        ["Roll"], "b", BOUNDS,
    ),
    Spelling(
        "roll by split",
        [node("Split", ["x"], ["a", "b"], axis=3, name="/net/split"), node("Concat", ["b", "a"], ["y"], axis=3)],
        ["Roll"], "a", BOUNDS,
    ),
    Spelling(
        "two rolls",
        [
            _slice("a", "n3", "end", "n2"), _slice("b", "n0", "n3", "n2"), node("Concat", ["a", "b"], ["r"], axis=2),
            _slice("a2", "n2", "end", "n3", "r"), _slice("b2", "n0", "n2", "n3", "r"),
            node("Concat", ["a2", "b2"], ["y"], axis=3),
        ],
        ["Roll"], "b2", BOUNDS,
    ),
]  # fmt: skip

LAYERS = {
    "w": floats(6, 5), "bias": floats(5), "cw": floats(4, 3, 1, 1), "cb": floats(4), "row": floats(4, 1, 1),
    "tw": floats(3, 2, 2, 2), "ones": floats(4), "mean": floats(4), "var": np.abs(floats(4)) + 0.1,
    "trow": floats(1, 2, 1, 1), "pads": ints(0, 0, 1, 0, 0, 0, 0, 2), "dw": floats(3, 2, 2, 2), "drow": floats(6, 1, 1),
}  # fmt: skip

ABSORPTIONS = [
    Spelling("bias", [node("MatMul", ["x", "w"], ["m"]), node("Add", ["bias", "m"], ["y"])], ["MatMul"], "m", LAYERS),
    Spelling(
        "batch norm after convolution",
        [
            node("Conv", ["x", "cw", "cb"], ["m"]),
            node("BatchNormalization", ["m", "ones", "cb", "mean", "var"], ["y"]),
        ],
        ["Conv"], "m", LAYERS,
    ),
    Spelling(
        "scale and shift after transposed convolution",
        [
            node("ConvTranspose", ["x", "tw"], ["m"], strides=[2, 2]), node("Mul", ["m", "trow"], ["s"]),
            node("Add", ["s", "trow"], ["y"]),
        ],
        ["ConvTranspose"], "s", LAYERS,
    ),
    Spelling(
        "scale after grouped transposed convolution",
        [node("ConvTranspose", ["x", "dw"], ["m"], group=3), node("Mul", ["drow", "m"], ["y"])],
        ["ConvTranspose"], "m", LAYERS,
    ),
    Spelling(
        "padding before convolution",
        [node("Pad", ["x", "pads"], ["p"]), node("Conv", ["p", "cw"], ["y"], pads=[1, 1, 0, 0])],
        ["Conv"], "p", LAYERS,
    ),
]  # fmt: skip

SPELLINGS = [*ACTIVATIONS, *NORMALISATIONS, *OTHERS, *ABSORPTIONS]


def _graph(spelling: Spelling, extra_output: str | None = None) -> Graph:
    outputs = ["y"] if extra_output is None else ["y", extra_output]
    model = build(spelling.nodes, {"x": spelling.x}, outputs, {**NUMBERS, **spelling.constants}, opset=spelling.opset)
    return assert_same(model, {"x": spelling.x})


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.name)
def test_becomes_one_node(spelling: Spelling) -> None:
    graph = _graph(spelling)
    assert type_names(graph) == list(spelling.becomes)
    (result,) = (n for n in graph.nodes if n.outputs == ("y",))
    assert result.namespace == ("net",)
    assert set(result.provenance) == {n.name for n in spelling.nodes}


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.name)
def test_an_inner_value_that_is_an_output_survives(spelling: Spelling) -> None:
    graph = _graph(spelling, spelling.inside)
    assert len(type_names(graph)) > len(spelling.becomes)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.name)
def test_an_inner_value_that_is_read_elsewhere_survives(spelling: Spelling) -> None:
    reading = replace(spelling, nodes=[*spelling.nodes, node("Ceil", [spelling.inside], ["elsewhere"])])
    graph = _graph(reading, "elsewhere")
    assert len(type_names(graph)) > len(spelling.becomes) + 1


def _near_misses() -> dict[str, tuple[Sequence[NodeProto], dict[str, Array]]]:
    cut = [_slice("a", "n1", "n3", "n2"), _slice("b", "n0", "n1", "n2"), node("Concat", ["a", "b"], ["y"], axis=2)]
    turned = _chain(("Neg", ["x"], "a"), ("Sigmoid", ["a"], "s"), ("Mul", ["x", "s"], "y"))
    wrong_gate = _chain(*ERF, ("Mul", ["x", "g"], "y"))
    wrong_cube = _chain(
        ("Pow", ["x", "two"], "p"), *CUBE[1:], ("Tanh", ["t"], "h"), ("Add", ["h", "one"], "g"),
        ("Mul", ["x", "g"], "m"), ("Mul", ["m", "half"], "y"),
    )  # fmt: skip
    across = [
        node("ReduceMean", ["x"], ["mu"], axes=[1]), node("Sub", ["x", "mu"], ["d"]), POWER,
        node("ReduceMean", ["sq"], ["var"], axes=[1]), node("Add", ["var", "eps"], ["ve"]),
        node("Sqrt", ["ve"], ["sd"]), node("Div", ["d", "sd"], ["y"]),
    ]  # fmt: skip
    other_axis = [node("Exp", ["x"], ["e"]), node("ReduceSum", ["e", "axes"], ["t"]), node("Div", ["e", "t"], ["y"])]
    return {
        "moments with a weight along another axis": (_moments(1, "gain3"), MOMENTS),
        "slices that lose elements": (cut, BOUNDS),
        "sigmoid of the negative": (turned, {}),
        "gate without the half": (wrong_gate, {}),
        "square instead of cube": (wrong_cube, {}),
        "mean across channels": (across, {}),
        "sum over two axes": (other_axis, {"axes": ints(1, 2)}),
    }


@pytest.mark.parametrize("name", _near_misses())
def test_near_misses_are_left_alone(name: str) -> None:
    nodes, constants = _near_misses()[name]
    x = floats(2, 3, 4, 6)
    model = build(nodes, {"x": x}, ["y"], {**NUMBERS, **constants})
    recognised = (elementwise_ops.Gelu, elementwise_ops.Silu, LayerNorm, RMSNorm, Roll)
    graph = assert_same(model, {"x": x})
    assert not any(isinstance(op, recognised) or op.type_name == "Softmax" for op in operators(graph))


@pytest.mark.parametrize(
    ("masked", "guard"), [(-1e9, []), (-np.inf, ["IsNaN", "Where"])], ids=["large number", "infinity"]
)
def test_a_guard_stays_where_rows_may_be_masked_as_a_whole(masked: float, guard: list[str]) -> None:
    nodes = [
        node("Add", ["x", "mask"], ["z"]), node("Softmax", ["z"], ["s"], axis=-1), node("IsNaN", ["s"], ["n"]),
        node("Where", ["n", "zero", "s"], ["y"]),
    ]  # fmt: skip
    x, mask = floats(2, 3), np.array([[0.0] * 3, [masked] * 3], np.float32)
    graph = assert_same(build(nodes, {"x": x}, ["y"], {**NUMBERS, "mask": mask}), {"x": x})
    assert type_names(graph) == ["Add", "Softmax", *guard]


def test_rolls_along_two_axes_merge() -> None:
    (spelling,) = (s for s in OTHERS if s.name == "two rolls")
    assert operators(_graph(spelling)) == [Roll((1, -2), (2, 3))]


@pytest.mark.parametrize(("second", "left"), [("n1", []), ("n2", [Roll((-1,), (2,))]), ("n3", [Roll((-2,), (2,))])])
def test_rolls_along_one_axis_add_up_and_cancel(second: str, left: list[Op]) -> None:
    x = floats(2, 3, 4, 6)
    nodes = [
        _slice("a", "n3", "end", "n2"), _slice("b", "n0", "n3", "n2"), node("Concat", ["a", "b"], ["r"], axis=2),
        _slice("c", second, "end", "n2", "r"), _slice("d", "n0", second, "n2", "r"),
        node("Concat", ["c", "d"], ["s"], axis=2), node("Relu", ["s"], ["y"]),
    ]  # fmt: skip
    graph = assert_same(build(nodes, {"x": x}, ["y"], BOUNDS), {"x": x})
    assert operators(graph) == [*left, elementwise_ops.Relu()]


def test_epsilon_is_read_as_written() -> None:
    graph = _graph(NORMALISATIONS[0])
    assert operators(graph) == [LayerNorm(1, 1e-5)]


def test_bias_is_not_merged_into_a_batched_product() -> None:
    x, y = floats(2, 4, 6), floats(2, 6, 5)
    nodes = [node("MatMul", ["x", "other"], ["m"]), node("Add", ["m", "bias"], ["y"])]
    model = build(nodes, {"x": x, "other": y}, ["y"], {"bias": floats(5)})
    assert type_names(assert_same(model, {"x": x, "other": y})) == ["MatMul", "Add"]


def test_gelu_of_a_sum_that_is_used_again() -> None:
    """The argument of the formula is itself arithmetic and is read by the residual too."""
    nodes = [
        node("Add", ["x", "x"], ["z"]),
        *_chain(("Div", ["z", "sqrt2"], "a"), ("Erf", ["a"], "e"), ("Add", ["e", "one"], "g")),
        *_chain(("Mul", ["z", "g"], "m"), ("Mul", ["m", "half"], "h"), ("Add", ["h", "z"], "y")),
    ]
    x = floats(2, 5)
    graph = assert_same(build(nodes, {"x": x}, ["y"], NUMBERS), {"x": x})
    assert type_names(graph) == ["Add", "Gelu", "Add"]
