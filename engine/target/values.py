"""Which element types beside floating point an operator computes with on a chip.

Floating-point values are quantised. Truth values and int32 are what they are, where an operator has a form for them;
other integers, int64 above all, are computed on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.graph.graph import Graph, Node
from engine.ops.base import Behaviour, Op
from engine.ops.elementwise import Where
from engine.ops.layout import Layout, LookUp
from engine.ops.logic import Cast, Comparison, Equal, Logic, NumberTest
from engine.ops.reduce import ArgExtreme


@dataclass(frozen=True)
class WholeValues:
    """Element types, other than floating point, of an operator's activations and of its outputs."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


WHOLE_VALUES: Behaviour[Callable[[Op], WholeValues]] = Behaviour("values that are not quantised")
"""Operators that compute with such values; all others take and make floating point only."""


@WHOLE_VALUES.register(Layout)
def _layout(op: Op) -> WholeValues:
    return WholeValues(("bool", "int32"), ("bool", "int32"))


@WHOLE_VALUES.register(LookUp)
def _look_up(op: Op) -> WholeValues:
    """Indices, which stay below the number of rows."""
    return WholeValues(("int32", "int64"), ())


@WHOLE_VALUES.register(Comparison)
def _comparison(op: Op) -> WholeValues:
    return WholeValues(("bool", "int32") if isinstance(op, Equal) else ("int32",), ("bool",))


@WHOLE_VALUES.register(Logic)
def _logic(op: Op) -> WholeValues:
    return WholeValues(("bool",), ("bool",))


@WHOLE_VALUES.register(NumberTest)
def _number_test(op: Op) -> WholeValues:
    return WholeValues((), ("bool",))


@WHOLE_VALUES.register(Where)
def _where(op: Op) -> WholeValues:
    return WholeValues(("bool",), ())


@WHOLE_VALUES.register(Cast)
def _cast(op: Op) -> WholeValues:
    return WholeValues(("bool", "int32"), ("bool",))


@WHOLE_VALUES.register(ArgExtreme)
def _arg_extreme(op: Op) -> WholeValues:
    return WholeValues((), ("int64",))


def foreign_value(graph: Graph, node: Node) -> str:
    """What the node reads or makes that no chip computes with, as the end of a sentence; "" for nothing."""
    found = WHOLE_VALUES.find(node.op)
    known = WholeValues() if found is None else found(node.op)
    values = (
        *(("computes", graph.types[value], known.outputs) for value in node.outputs if value),
        *(("reads", graph.types[value], known.inputs) for value in graph.activations(node)),
    )
    for verb, kind, allowed in values:
        if not kind.is_float and kind.dtype not in allowed:
            return f"{verb} {kind.dtype} values, which are not quantised"
    return ""
