"""Operators that ONNX Runtime fuses are taken apart, and compute what it computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from engine.graph.converters import CONVERTERS
from engine.graph.converters.microsoft import MICROSOFT
from engine.ops.other import Unsupported
from tests.engine.graph.onnx_models import Array, assert_same, build, loaded, node, operators, type_names

RNG = np.random.default_rng(3)


def floats(*shape: int) -> Array:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """One fused node; ``weights`` are the places of inputs that the file holds."""

    op_type: str
    inputs: Sequence[Array | None]
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    weights: tuple[int, ...] = ()
    becomes: list[str] | None = None
    outputs: tuple[str, ...] = ("y",)
    domain: str = MICROSOFT


X = floats(2, 5, 12)
IMAGE, KERNEL = floats(1, 3, 6, 6), floats(4, 3, 3, 3)
PLACES = np.array([[0, 1, 2, 3, 4], [7, 8, 9, 3, 2]], np.int64)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)
ATTENTION = [X, floats(12, 36), floats(36)]
CASES = [
    Case("FusedConv", [IMAGE, KERNEL, floats(4)], {"activation": "Relu"}, (1, 2), ["Conv", "Relu"]),
    Case("FusedConv", [IMAGE, KERNEL], {"activation": "LeakyRelu", "activation_params": [0.3]}, (1,)),
    Case("FusedConv", [IMAGE, KERNEL, None, floats(1, 4, 4, 4)], {"activation": "Relu"}, (1,)),
    Case("FusedGemm", [floats(3, 4), floats(5, 4)], {"activation": "Relu", "transB": 1}, (1,), ["Gemm", "Relu"]),
    Case("FusedMatMul", [floats(2, 4, 3), floats(2, 5, 4)], {"transA": 1, "transB": 1, "alpha": 0.25}),
    Case("FusedMatMul", [floats(2, 3, 4), floats(2, 4, 5)], {}, (), ["MatMul"]),
    Case("Gelu", [X], {}, (), ["Gelu"]),
    Case("BiasGelu", [X, floats(12)], {}, (1,), ["Add", "Gelu"]),
    Case("FastGelu", [X, floats(12)], {}, (1,), ["Add", "Gelu"]),
    Case("FastGelu", [X], {}, (), ["Gelu"]),
    Case("QuickGelu", [X], {"alpha": 1.5}, (), ["Silu"]),
    Case("SkipLayerNormalization", [X, X, floats(12), floats(12), floats(12)], {"epsilon": 1e-5}, (2, 3, 4)),
    Case("SkipLayerNormalization", [X, X, floats(12), floats(12)], {}, (2, 3), None, ("y", "", "", "s")),
    Case("SkipSimplifiedLayerNormalization", [X, floats(2, 5, 12), floats(12)], {"epsilon": 1e-5}, (2,)),
    Case("SimplifiedLayerNormalization", [X, floats(12)], {"epsilon": 1e-5}, (1,), ["RMSNormalization"], domain=""),
    Case("RotaryEmbedding", [floats(2, 3, 5, 8), PLACES, floats(10, 4), floats(10, 4)], {}, (2, 3)),
    Case("MultiHeadAttention", [X, floats(2, 7, 12), floats(2, 7, 12)], {"num_heads": 3}),
    Case("MultiHeadAttention", [X, X, X, floats(36), None, floats(2, 3, 5, 5)], {"num_heads": 3, "scale": 0.3}, (3,)),
    Case("MultiHeadAttention", [X, X, X], {"num_heads": 2, "unidirectional": 1}),
    Case("Attention", ATTENTION, {"num_heads": 3}, (1, 2)),
    Case("Attention", [*ATTENTION, MASK], {"num_heads": 2}, (1, 2)),
    Case("Attention", [X, floats(12, 40), floats(40)], {"num_heads": 4, "qkv_hidden_sizes": [12, 12, 16]}, (1, 2)),
]


def model_of(case: Case) -> tuple[Any, dict[str, Array]]:
    names = ["" if array is None else f"i{index}" for index, array in enumerate(case.inputs)]
    given = {name: array for name, array in zip(names, case.inputs, strict=True) if array is not None}
    constants = {f"i{index}": given[f"i{index}"] for index in case.weights}
    feeds = {name: array for name, array in given.items() if name not in constants}
    only = node(case.op_type, names, list(case.outputs), domain=case.domain, **case.attributes)
    made = [name for name in case.outputs if name]
    closing = [node("Identity", [name], [f"{name}/out"]) for name in made]
    model = build([only, *closing], feeds, [f"{name}/out" for name in made], constants, 17, domains=(MICROSOFT,))
    for info in model.graph.output:  # nobody infers types through these operators
        info.type.tensor_type.elem_type = 1
    return model, feeds


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op_type}-{len(case.inputs)}-{len(case.attributes)}")
def test_like_onnx_runtime(case: Case) -> None:
    graph = assert_same(*model_of(case), tolerance=2e-4 if "Gelu" in case.op_type else 2e-5)
    if case.becomes is not None:
        assert type_names(graph) == case.becomes


def test_every_fused_operator_is_covered() -> None:
    fused = {op_type for domain, op_type in CONVERTERS if domain == MICROSOFT}
    assert fused - {"TransposeMatMul"} <= {case.op_type for case in CASES}  # an old name of FusedMatMul


def test_a_form_that_is_not_taken_apart_is_marked() -> None:
    past = Case("Attention", [*ATTENTION, None, floats(2, 2, 3, 4, 4)], {"num_heads": 3}, (1, 2))
    op = operators(loaded(model_of(past)[0]))[0]
    assert isinstance(op, Unsupported)
    assert "com.microsoft::Attention is not taken apart in this form" in op.reason
