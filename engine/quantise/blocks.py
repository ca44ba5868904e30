"""A program cut into blocks: stretches of it between the values that all of it passes through."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from engine.graph.graph import Graph
from engine.ops.linear import Conv, ConvTranspose, Linear
from engine.plan.types import Resolution, Unit
from engine.program.executor import last_uses
from engine.program.types import Instruction, Program
from engine.train.forward import Step, steps_of

FEWEST_LAYERS = 2
"""Stretches are joined until they have so many layers of weights."""

MOST_LAYERS = 24
"""A longer stretch is taken unit by unit."""

_LAYERS = (Conv, ConvTranspose, Linear)


@dataclass(frozen=True)
class Block:
    """Units in order, by their anchors; all their nodes; and the float values that others read of them."""

    units: tuple[str, ...]
    nodes: tuple[str, ...]
    outputs: tuple[str, ...]

    def has(self, instruction: Instruction) -> bool:
        """Whether the instruction is one of the block's."""
        return instruction.unit in self.units

    def steps(self, program: Program, known: Collection[str]) -> tuple[Step, ...]:
        """Its steps in a program, but for seams whose results are known."""
        own = (step for step in steps_of(program) if self.has(step.instructions[0]))
        return tuple(step for step in own if step.is_unit or step.instructions[0].outputs[0] not in known)


@dataclass
class _Stretch:
    """Units so far, and how many of them are layers of weights."""

    units: list[Unit] = field(default_factory=list[Unit])
    layers: int = 0


def blocks_of(graph: Graph, resolution: Resolution, program: Program) -> tuple[Block, ...]:
    """The blocks of a program, in order; together they have all of its units.

    A block ends where a single value is all that later units read of what was computed, once it has two layers of
    weights: around a residual connection, an attention, parallel branches. Where such values are too far apart, each
    unit is a block.
    """
    found: list[list[Unit]] = []
    stretch = _Stretch()
    waists = _waists(program)
    for unit in resolution.units:
        stretch.units.append(unit)
        stretch.layers += any(isinstance(graph.by_id[node].op, _LAYERS) for node in unit.nodes)
        if unit.anchor in waists and stretch.layers >= FEWEST_LAYERS:
            found += _divided(stretch)
            stretch = _Stretch()
    found += _divided(stretch)
    return tuple(_block(graph, units) for units in found)


def _divided(stretch: _Stretch) -> list[list[Unit]]:
    if stretch.layers > MOST_LAYERS:
        return [[unit] for unit in stretch.units]
    return [stretch.units] if stretch.units else []


def _waists(program: Program) -> frozenset[str]:
    """Units after which one value alone is still to be read."""
    live: set[str] = set(program.inputs.values())
    after: dict[str, int] = {}
    for instruction, released in zip(program.instructions, last_uses(program), strict=True):
        live |= {name for name in instruction.outputs if name}
        live -= set(released)
        after[instruction.unit] = len({name.partition("@")[0] for name in live})
    return frozenset(unit for unit, count in after.items() if count == 1)


def _block(graph: Graph, units: Sequence[Unit]) -> Block:
    nodes = tuple(node for unit in units for node in unit.nodes)
    made = [value for node in nodes for value in graph.by_id[node].outputs if value and graph.types[value].is_float]
    inside = set(nodes)
    read = [value for value in made if {item.id for item in graph.consumers.get(value, ())} - inside]
    wanted = [value for value in made if value in read or value in graph.outputs]
    return Block(tuple(unit.anchor for unit in units), nodes, tuple(wanted))
