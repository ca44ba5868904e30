"""Which sums of a program are proved to fit their accumulators, and by how much."""

from __future__ import annotations

import math

from engine.graph.graph import Graph
from engine.program.bounds import Bound, bounds_of
from engine.program.shapes import ValueShapes
from engine.program.types import Instruction, Program
from engine.reports import Accumulator


def describe_accumulators(graph: Graph, program: Program, unit: str | None = None) -> tuple[Accumulator, ...]:
    """The sum with the least headroom of every unit that adds values up (or of one): those without a proof first, then
    the tightest ones."""
    items = [item for item in program.instructions if unit in (None, item.unit)]
    shapes = ValueShapes(program.instructions, graph.types, program.types, program.constants)
    tightest: dict[str, tuple[Instruction, Bound | None]] = {}
    for item, bound in bounds_of(items, program.types, program.constants, shapes):
        known = tightest.get(item.unit)
        if known is None or _headroom(bound) < _headroom(known[1]):
            tightest[item.unit] = (item, bound)
    found = sorted(tightest.values(), key=lambda pair: _headroom(pair[1]))
    return tuple(_record(graph, item, bound) for item, bound in found)


def _headroom(bound: Bound | None) -> float:
    return -math.inf if bound is None else bound.headroom_bits


def _record(graph: Graph, item: Instruction, bound: Bound | None) -> Accumulator:
    op_type, kind = graph.by_id[item.unit].op.type_name, type(item.op).__name__
    if bound is None:
        return Accumulator(item.unit, op_type, kind)
    return Accumulator(
        item.unit, op_type, kind, bound.stage, bound.proof, bound.bits, bound.largest, bound.headroom_bits
    )
