"""What operators become is what the TOSA export writes of them."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from engine.export.package import value_type
from engine.export.tosa.emit import emit
from engine.export.tosa.graph import Tensor, TosaGraph
from engine.export.tosa.schema import TosaOp
from engine.ops.elementwise import Add, Gelu, Mul, Sigmoid
from engine.ops.linear import Conv, Linear
from engine.ops.reduce import LayerNorm, ReduceMean, Softmax
from engine.program.types import Dequantise, Quantise
from engine.session import Session
from engine.simulate.ethos.forms import Writer, add_steps
from engine.simulate.ethos.images import Images
from engine.simulate.ethos.steps import Kind
from tests.engine.export.demos import opened

WRITTEN = {
    TosaOp.ADD: "sum",
    TosaOp.SUB: "sum",
    TosaOp.MUL: "product",
    TosaOp.MAXIMUM: "other",
    TosaOp.MINIMUM: "other",
    TosaOp.ARITHMETIC_RIGHT_SHIFT: "other",
    TosaOp.LOGICAL_LEFT_SHIFT: "other",
    TosaOp.ABS: "unary",
    TosaOp.CLZ: "unary",
    TosaOp.TABLE: "table",
    TosaOp.REDUCE_SUM: "total",
    TosaOp.REDUCE_MAX: "extreme",
    TosaOp.REDUCE_MIN: "extreme",
    TosaOp.CONV2D: "convolution",
    TosaOp.DEPTHWISE_CONV2D: "convolution",
}
"""TOSA operators that compute; casts and changes of scale run along with others."""
COUNTED = {
    Kind.MULTIPLY: "product",
    Kind.OTHER: "other",
    Kind.UNARY: "unary",
    Kind.TABLE8: "table",
    Kind.TABLE16: "table",
    Kind.SUM: "total",
    Kind.LARGEST: "extreme",
    Kind.SMALLEST: "extreme",
    Kind.CONVOLUTION: "convolution",
    Kind.DEPTHWISE: "convolution",
    Kind.ADD_SCALED: "sum",
}


@cache
def lowered(name: str) -> Session:
    session = opened(name)
    session.program()
    return session


def written(session: Session, unit: str) -> Counter[str]:
    """The operators that the export writes for a unit, its operands being inputs."""
    program = session.program()
    graph = TosaGraph()
    values: dict[str, Tensor] = {}

    def operand(name: str) -> Tensor:
        constant = program.constants.get(name)
        if constant is not None:
            return graph.constant(constant.array)  # type: ignore[arg-type]
        found = values.get(name)
        if found is None:
            kind = value_type(session.graph, program, name)
            found = values[name] = graph.input(kind.shape, kind.dtype)
        return found

    for item in program.instructions:
        if item.unit == unit and not isinstance(item.op, Quantise | Dequantise):
            results = emit(graph, item.op, [operand(name) for name in item.inputs])
            values.update(zip(item.outputs, results, strict=True))
    return Counter(WRITTEN[item.op] for item in graph.operators if item.op in WRITTEN)


def counted(session: Session, unit: str) -> Counter[str]:
    """The steps of the unit's first node."""
    graph = session.graph
    writer = Writer(graph, Images.of(graph), lambda name: 1, chains=False)
    add_steps(writer, graph.by_id[unit])
    return Counter(COUNTED[step.kind] for step in writer.steps.items if step.kind in COUNTED)


def units(session: Session, kind: type) -> list[str]:
    return [node.id for node in session.graph.nodes if isinstance(node.op, kind)]


@pytest.mark.parametrize(
    ("name", "kind", "parts"),
    [
        ("swin_fmnist", Softmax, ("product", "other", "unary", "table", "total", "extreme")),
        ("swin_fmnist", LayerNorm, ("unary", "table", "total", "extreme")),
        ("swin_fmnist", Gelu, ("table",)),
        ("swin_fmnist", Linear, ("convolution",)),
        ("swin_fmnist", ReduceMean, ("total",)),
        ("mobile_fmnist", Conv, ("convolution",)),
        ("mobile_fmnist", Sigmoid, ("table",)),
        ("mobile_fmnist", Mul, ("product",)),
        ("mobile_fmnist", Add, ("sum",)),
    ],
)
def test_steps_are_the_operators_of_the_export(name: str, kind: type, parts: tuple[str, ...]) -> None:
    session = lowered(name)
    chosen = units(session, kind)
    assert chosen
    for unit in chosen:
        there, here = written(session, unit), counted(session, unit)
        assert {part: here[part] for part in parts} == {part: there[part] for part in parts}, unit


def test_a_normalisation_has_the_steps_of_the_export_but_for_steep_channels() -> None:
    """The export splits the products with the channels' weights by shift, which depends on the calibration."""
    session = lowered("swin_fmnist")
    for unit in units(session, LayerNorm):
        there, here = written(session, unit), counted(session, unit)
        assert there["product"] >= here["product"] and there["sum"] >= 1
        assert abs(there["other"] - here["other"]) <= 2
