"""How exporters and people spell operators that ONNX has, or had later: each becomes the operator, computing the same.

Beside ``test_patterns.py``, which says what must not be recognised. One line a spelling: ``result = Operator operands``
with attributes as ``name=numbers``, from x to y.
"""

from __future__ import annotations

import numpy as np
import pytest

from engine.ops.elementwise import Gelu, HardSigmoid, Silu
from tests.engine.graph.onnx_models import Array, Node, assert_same, build, node, operators, type_names

RNG = np.random.default_rng(12)
X = RNG.uniform(-4, 4, (2, 3, 4, 6)).astype(np.float32)
NUMBERS = {
    "half": 0.5, "-half": -0.5, "-one": -1, "one": 1, "two": 2, "three": 3, "six": 6, "zero": 0, "sixth": 1 / 6,
    "fifth": 0.2, "tenth": 0.1, "sqrt2": np.sqrt(2), "1/sqrt2": np.sqrt(0.5), "-1/sqrt2": -np.sqrt(0.5),
    "c": 0.044715, "k": np.sqrt(2 / np.pi), "2k": 2 * np.sqrt(2 / np.pi), "ck": 0.044715 * np.sqrt(2 / np.pi),
    "1.702": 1.702, "eps": 1e-5,
}  # fmt: skip
CONSTANTS: dict[str, Array] = {
    **{name: np.array(number, np.float32) for name, number in NUMBERS.items()},
    **{name: RNG.uniform(0.5, 2, 6).astype(np.float32) for name in ("gamma", "beta")},
    "half_1": np.full(1, 0.5, np.float32), "one_4": np.ones((1, 1, 1, 1), np.float32),
    "last": np.array([-1]), "flat": np.array([24, 6]), "full": np.array(X.shape),
}  # fmt: skip

GELU = {
    "torch": "a = Div x sqrt2; e = Erf a; g = Add e one; m = Mul x g; y = Mul m half",
    "TensorFlow": "h = Mul half x; a = Mul x 1/sqrt2; e = Erf a; g = Add one e; y = Mul h g",
    "paddle, constants with axes": "a = Div x sqrt2; e = Erf a; g = Add e one_4; m = Mul x g; y = Mul m half_1",
    "complement": "n = Neg x; a = Mul n 1/sqrt2; e = Erf a; g = Sub one e; h = Mul x half; y = Mul h g",
    "complement, negative factor": "a = Mul x -1/sqrt2; e = Erf a; g = Sub one e; h = Mul x half; y = Mul h g",
    "distributed": "a = Mul x 1/sqrt2; e = Erf a; h = Mul x half; m = Mul h e; y = Add m h",
    "distributed, complement": "a = Mul x -1/sqrt2; e = Erf a; h = Mul x half; m = Mul h e; y = Sub h m",
    "gate halved": "a = Div x sqrt2; e = Erf a; g = Add e one; h = Mul g half; y = Mul h x",
    "affine gate": "a = Div x sqrt2; e = Erf a; h = Mul e half; g = Add h half; y = Mul x g",
}
GELU_TANH = {
    "power": (
        "p = Pow x three; q = Mul p c; s = Add x q; u = Mul s k; t = Tanh u; g = Add t one; m = Mul x g;"
        "y = Mul m half"
    ),
    "products": (
        "xx = Mul x x; p = Mul x xx; q = Mul c p; s = Add q x; u = Mul k s; t = Tanh u; g = Add one t; h = Mul half g;"
        "y = Mul h x"
    ),
    "two terms": (
        "xx = Mul x x; p = Mul x xx; q = Mul p ck; l = Mul x k; u = Add l q; t = Tanh u; g = Add t one; h = Mul g half;"
        "y = Mul h x"
    ),
    "by a sigmoid": "p = Pow x three; q = Mul p c; s = Add x q; u = Mul s 2k; g = Sigmoid u; y = Mul x g",
}  # fmt: skip
SIGMOID = {
    "exponential": "n = Neg x; e = Exp n; d = Add e one; y = Div one d",
    "reciprocal": "n = Mul x -one; e = Exp n; d = Add one e; y = Reciprocal d",
    "power": "n = Neg x; e = Exp n; d = Add e one; y = Pow d -one",
    "hyperbolic tangent": "h = Mul x half; t = Tanh h; u = Mul t half; y = Add u half",
}
SILU = {
    "gate": "s = Sigmoid x; y = Mul s x",
    "divided": "n = Neg x; e = Exp n; d = Add e one; y = Div x d",
    "reciprocal": "n = Neg x; e = Exp n; d = Add one e; s = Reciprocal d; y = Mul x s",
}
HARD_SWISH = {
    "torch": "a = Add x three; c6 = Clip a zero six; m = Mul x c6; y = Div m six",
    "ReLU6": "a = Add x three; r = Relu a; c6 = Min r six; m = Mul x c6; y = Mul m sixth",
    "minimum of a maximum": "a = Add x three; r = Max a zero; c6 = Min six r; g = Div c6 six; y = Mul x g",
    "a sixth first": "a = Add x three; c6 = Clip a zero six; m = Mul x sixth; y = Mul m c6",
    "gate from 0 to 1": "a = Mul x sixth; b = Add a half; g = Clip b zero one; y = Mul x g",
    "HardSigmoid": "g = HardSigmoid x alpha=0.16666667 beta=0.5; y = Mul g x",
}
HARD_SIGMOID = {
    "torch": "a = Add x three; c6 = Clip a zero six; y = Div c6 six",
    "ReLU6": "a = Add x three; r = Relu a; c6 = Min r six; y = Mul c6 sixth",
    "from 0 to 1": "a = Mul x sixth; b = Add a half; y = Clip b zero one",
}
MISH = {
    "softplus": "s = Softplus x; t = Tanh s; y = Mul x t",
    "logarithm": "e = Exp x; p = Add e one; s = Log p; t = Tanh s; y = Mul t x",
}
CLIP = {
    "minimum of a ReLU": "r = Relu x; y = Min r six",
    "clip of a ReLU": "r = Relu x; y = Clip r zero six",
    "ReLU of a minimum": "m = Min x six; y = Relu m",
}
LEAKY_RELU = {"maximum": "a = Mul x tenth; y = Max x a", "turned": "a = Mul tenth x; y = Max a x"}
SOFTMAX = {
    "plain": "e = Exp x; t = ReduceSum e last; y = Div e t",
    "shifted": "m = ReduceMax x axes=-1; z = Sub x m; e = Exp z; t = ReduceSum e last; y = Div e t",
    "negative maximum": "m = ReduceMax x axes=-1; n = Neg m; z = Add x n; e = Exp z; t = ReduceSum e last; y = Div e t",
    "reciprocal": (
        "m = ReduceMax x axes=-1; z = Sub x m; e = Exp z; t = ReduceSum e last; r = Reciprocal t; y = Mul e r"
    ),
    "one over": "e = Exp x; t = ReduceSum e last; r = Div one t; y = Mul r e",
    "logarithm": "l = LogSoftmax x axis=-1; y = Exp l",
    "shifted before": "m = ReduceMax x axes=-1; z = Sub x m; y = Softmax z axis=-1",
    "turned to the end": "a = Transpose x perm=0,1,3,2; s = Softmax a axis=2; y = Transpose s perm=0,1,3,2",
    "flattened": "a = Reshape x flat; s = Softmax a axis=1; y = Reshape s full",
}

_CENTRE = "m = ReduceMean x axes=-1; d = Sub x m; "
_SQUARES = {"power": "q = Pow d two; ", "product": "q = Mul d d; ", "turned": "d2 = Sub m x; q = Mul d2 d2; "}
_AVERAGE = "v = ReduceMean q axes=-1; w = Add v eps; "
_ROOTS = {
    "divided": "s = Sqrt w; n = Div d s",
    "power": "s = Pow w half; n = Div d s",
    "reciprocal": "s = Sqrt w; r = Reciprocal s; n = Mul d r",
    "one over": "s = Sqrt w; r = Div one s; n = Mul r d",
    "inverse power": "r = Pow w -half; n = Mul d r",
}
_SCALED = "; g = Mul n gamma; y = Add beta g"
_GAINS = {"reciprocal": "s = Sqrt w; r = Reciprocal s; ", "inverse power": "r = Pow w -half; "}
_BEHIND = "f = Mul r gamma; g = Mul d f; y = Add g beta"
_DISTRIBUTED = "f = Mul r gamma; a = Mul x f; b = Mul m f; c0 = Sub beta b; y = Add a c0"
LAYER_NORM = {
    **{
        f"{square}, {root}": _CENTRE + squared + _AVERAGE + rooted + _SCALED
        for square, squared in _SQUARES.items()
        for root, rooted in _ROOTS.items()
    },
    **{
        f"{name}, {gain}": _CENTRE + _SQUARES["product"] + _AVERAGE + root + end
        for gain, root in _GAINS.items()
        for name, end in (("weight in the gain", _BEHIND), ("TensorFlow's batch_normalization", _DISTRIBUTED))
    },
    "weight in the numerator": _CENTRE + _SQUARES["power"] + _AVERAGE + "s = Sqrt w; g = Mul gamma d; y = Div g s",
    "sums over six": (
        "t = ReduceSum x last; m = Div t six; d = Sub x m; q = Mul d d; u = ReduceSum q last; v = Div u six;"
        "w = Add v eps; s = Sqrt w; y = Div d s"
    ),
    "two moments": (
        "m = ReduceMean x axes=-1; q = Mul x x; m2 = ReduceMean q axes=-1; p = Mul m m; v = Sub m2 p; w = Add v eps;"
        "s = Sqrt w; d = Sub x m; y = Div d s"
    ),
    "casts": (
        "xf = Cast x to=1; m = ReduceMean xf axes=-1; d = Sub xf m; df = Cast d to=1; q = Pow df two;"
        "v = ReduceMean q axes=-1; w = Add v eps; s = Sqrt w; y = Div d s"
    ),
    "flattened": "a = Reshape x flat; n = LayerNormalization a gamma beta; y = Reshape n full",
}
RMS_NORM = {
    "transformers": (
        "q = Pow x two; v = ReduceMean q axes=-1; w = Add v eps; s = Sqrt w; r = Reciprocal s; n = Mul x r;"
        "y = Mul gamma n"
    ),
    "one over": (
        "q = Mul x x; v = ReduceMean q axes=-1; w = Add eps v; s = Sqrt w; r = Div one s; n = Mul r x; y = Mul n gamma"
    ),
    "inverse power": "q = Pow x two; v = ReduceMean q axes=-1; w = Add v eps; r = Pow w -half; y = Mul x r",
    "weight in the gain": (
        "q = Mul x x; v = ReduceMean q axes=-1; w = Add v eps; s = Sqrt w; r = Reciprocal s; g = Mul r gamma;"
        "y = Mul x g"
    ),
    "weight in the numerator": (
        "q = Mul x x; v = ReduceMean q axes=-1; w = Add v eps; s = Sqrt w; g = Mul x gamma; y = Div g s"
    ),
    "sum of squares": "u = ReduceSumSquare x axes=-1; v = Div u six; w = Add v eps; s = Sqrt w; y = Div x s",
}  # fmt: skip

TABLE = {
    "Gelu": GELU | {f"tanh, {name}": text for name, text in GELU_TANH.items()}, "Sigmoid": SIGMOID, "Silu": SILU,
    "HardSwish": HARD_SWISH, "HardSigmoid": HARD_SIGMOID, "Mish": MISH, "Clip": CLIP, "LeakyRelu": LEAKY_RELU,
    "Softmax": SOFTMAX, "LayerNormalization": LAYER_NORM, "RMSNormalization": RMS_NORM,
}  # fmt: skip
CASES = [
    pytest.param(becomes, text, id=f"{becomes}: {name}")
    for becomes, group in TABLE.items()
    for name, text in group.items()
]


def spelled(text: str) -> list[Node]:
    """The nodes of a spelling."""
    nodes: list[Node] = []
    for line in filter(None, map(str.strip, text.split(";"))):
        result, made = line.split(" = ")
        operator, *words = made.split()
        attributes = dict(word.split("=") for word in words if "=" in word)
        operands = [word for word in words if "=" not in word]
        values = {name: _numbers(name, value) for name, value in attributes.items()}
        nodes.append(node(operator, operands, [result], **values))
    return nodes


def _numbers(name: str, text: str) -> float | int | list[int]:
    if name in ("axes", "perm"):
        return [int(number) for number in text.split(",")]
    return float(text) if "." in text else int(text)


@pytest.mark.parametrize(("becomes", "text"), CASES)
def test_is_recognised(becomes: str, text: str) -> None:
    nodes = spelled(text)
    graph = assert_same(build(nodes, {"x": X}, ["y"], CONSTANTS), {"x": X})
    assert type_names(graph) == [becomes]
    assert set(graph.nodes[-1].provenance) <= {item.name for item in nodes}


@pytest.mark.parametrize(
    ("text", "op"),
    [
        (GELU["complement"], Gelu()),
        (GELU_TANH["by a sigmoid"], Gelu(approximate=True)),
        ("a = Mul x 1.702; s = Sigmoid a; y = Mul x s", Silu(1.702)),
        ("a = Mul x fifth; b = Add a half; y = Clip b zero one", HardSigmoid(0.2, 0.5)),
    ],
)
def test_as_which_variant(text: str, op: object) -> None:
    assert operators(assert_same(build(spelled(text), {"x": X}, ["y"], CONSTANTS), {"x": X})) == [op]


@pytest.mark.parametrize(
    "text",
    [
        "a = Mul x 1/sqrt2; e = Erf a; g = Sub one e; h = Mul x half; y = Mul h g",  # x * Phi(-x)
        "n = Neg x; e = Exp n; d = Add e two; y = Div one d",
        "e = Exp x; d = Add e one; y = Div x d",
        "n = Neg x; e = Exp n; d = Add e one; h = Mul x half; y = Div h d",
        "a = Mul x two; y = Max x a",
        "a = Mul x tenth; b = Add a half; y = Clip b zero one",
        "m = ReduceMax x axes=2; z = Sub x m; y = Softmax z axis=-1",
        _CENTRE + _SQUARES["product"] + _AVERAGE + _GAINS["inverse power"] + _DISTRIBUTED.replace("Mul m f", "Mul v f"),
        "t = ReduceSum x last; y = Div t three",
        "a = Reshape x flat; s = Softmax a axis=0; y = Reshape s full",
        "a = Transpose x perm=0,1,3,2; s = Softmax a axis=2; y = Transpose s perm=0,3,2,1",
    ],
)  # fmt: skip
def test_what_only_looks_alike_is_left(text: str) -> None:
    names = type_names(assert_same(build(spelled(text), {"x": X}, ["y"], CONSTANTS), {"x": X}))
    assert len(names) == len([item for item in text.split(";") if item.strip()])
