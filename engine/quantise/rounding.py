# pyright: reportUnknownMemberType=false
"""Weights and biases of convolutions and fully connected layers, chosen for the outputs that they give."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import Cancelled
from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Add
from engine.ops.linear import Conv, Linear
from engine.plan.corrections import Correction
from engine.program.types import Instruction, Program
from engine.quantise import least_squares
from engine.quantise.least_squares import Integers, Rows
from engine.quantise.lockstep import Lockstep, live_bytes
from engine.quantise.places import MacOp, Shape, inputs_at, is_fittable, outputs_at, places_of

if TYPE_CHECKING:
    from engine.plan.types import Plan
    from engine.quantise.step import Work
    from engine.session import Session

_MEMORY_BYTES = 600 << 20
"""For the values of all samples: with larger ones, fewer samples are used."""

_HELD_SHARE = 4
"""One sample in so many chooses how far the float target may leave the model's own weights."""

_SEED = 20240


@dataclass(frozen=True)
class LayerwiseRounding:
    """Rounds weights so that each unit's output, on the integers that it is really fed, is closest to the float
    model's: :mod:`engine.quantise.least_squares`, unit by unit from the inputs on."""

    title: str = "Round weights for each layer's output"

    def __call__(self, session: Session, work: Work) -> Plan:
        """The plan with one correction on top. Raises Cancelled, and as :meth:`engine.session.Session.program`."""
        parts = tuple(_corrected(session, work))
        if not parts:
            return session.plan
        merged = Correction(
            kind="rounding",
            title=f"{self.title}: {len(parts)} layers",
            weights={name: array for part in parts for name, array in part.weights.items()},
            weight_scales={name: array for part in parts for name, array in part.weight_scales.items()},
            biases={name: array for part in parts for name, array in part.biases.items()},
        )
        return session.plan.with_correction(session.corrections.add(merged))


def _corrected(session: Session, work: Work) -> Iterator[Correction]:
    """A correction of one layer after the other, each made with those before it in place."""
    most = max(1, _MEMORY_BYTES // live_bytes(session.graph))
    samples = work.samples[:most]
    tried, program = session, session.program()
    walk = Lockstep(session.evaluator.model, program, samples)
    total = len(program.instructions)
    for place in range(total):
        if work.cancelled():
            raise Cancelled
        instruction = program.instructions[place]
        node = _fitted_node(session.graph, instruction)
        if node is None:
            walk.run_float(instruction)
        else:
            rows = _rows(walk, program, instruction, node, len(samples), place)
            correction = _fitted(session.graph, instruction, node, rows)
            yield correction
            tried = tried.with_plan(tried.plan.with_correction(session.corrections.add(correction)))
            program = tried.program()
            instruction = program.instructions[place]
        walk.run_integers(place, instruction)
        work.progress(place + 1, total)


def rounded_alone(session: Session, work: Work, nodes: Collection[str]) -> Iterator[tuple[str, Correction]]:
    """The correction of each of these nodes by itself, all other weights as the session's plan has them; in the order
    of the program. Raises as :class:`LayerwiseRounding`."""
    samples, program = work.samples[: max(1, _MEMORY_BYTES // live_bytes(session.graph))], session.program()
    walk, left = Lockstep(session.evaluator.model, program, samples), set(nodes)
    for place, instruction in enumerate(program.instructions):
        if work.cancelled():
            raise Cancelled
        node = _fitted_node(session.graph, instruction)
        if node is None or node.id not in left:
            walk.run_float(instruction)
        else:
            rows = _rows(walk, program, instruction, node, len(samples), place)
            yield node.id, _fitted(session.graph, instruction, node, rows)
            left.discard(node.id)
        if not left:
            return
        walk.run_integers(place, instruction)
        work.progress(place + 1, len(program.instructions))


def _fitted_node(graph: Graph, instruction: Instruction) -> Node | None:
    """The node whose weights the instruction multiplies with, where they can be chosen and are its own."""
    if not is_fittable(instruction.op):
        return None
    for name in instruction.nodes:
        node = graph.by_id[name]
        if isinstance(node.op, Conv | Linear):
            return node if len(graph.consumers[node.inputs[1]]) == 1 else None
    return None


def _rows(walk: Lockstep, program: Program, instruction: Instruction, node: Node, samples: int, place: int) -> Rows:
    """What the instruction reads and what the float model has for it, at random places of every sample."""
    op = cast("MacOp", instruction.op)
    (source,), (result,) = instruction.inputs, instruction.outputs
    beside = _skip(walk, program, node)
    generator = torch.Generator().manual_seed(_SEED + place)
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def look(sample: int, seen: Node, output: Tensor) -> None:
        if seen.id != node.id:
            return
        count = places_of(op, output)
        chosen = torch.randperm(count, generator=generator)[: Shape.of(op).rows(samples, count)]
        inputs.append(inputs_at(op, walk.integers(sample, source), tuple(output.shape), chosen))
        wanted = outputs_at(op, output, chosen)
        if beside is not None:
            wanted = wanted + outputs_at(op, walk.lost(sample, beside), chosen)
        outputs.append(wanted)

    walk.run_float(instruction, look)
    scale = program.types[result].scale
    held = sum(taken.shape[1] for taken in inputs[len(inputs) - len(inputs) // _HELD_SHARE :])
    x = torch.cat(inputs, 1).mul_(program.types[source].scale)
    return Rows(x, torch.cat(outputs, 1), op.output.low * scale, op.output.high * scale, held)


def _skip(walk: Lockstep, program: Program, node: Node) -> str | None:
    """What the node's output is added to, nothing between them, where that is there in integers: the sum is what
    counts, so the node's weights may make up for what the other side has lost."""
    readers = walk.graph.consumers.get(node.outputs[0], ())
    if len(readers) != 1 or not isinstance(readers[0].op, Add) or node.outputs[0] in walk.graph.outputs:
        return None
    others = [name for name in readers[0].inputs if name != node.outputs[0]]
    if len(others) != 1 or walk.graph.types[others[0]].shape != walk.graph.types[node.outputs[0]].shape:
        return None
    there = walk.is_there(others[0]) and program.types[others[0]].is_quantised
    return others[0] if there else None


def _fitted(graph: Graph, instruction: Instruction, node: Node, rows: Rows) -> Correction:
    op = cast("MacOp", instruction.op)
    shape = Shape.of(op)
    weight = np.array(graph.constants[node.inputs[1]].once(), dtype=np.float64)
    bias = _bias(graph, node, weight.shape[0])
    split = torch.from_numpy(weight).view(shape.groups, shape.outputs, shape.weights)
    found = least_squares.fit(rows, split, torch.from_numpy(bias).view(shape.groups, shape.outputs))
    return _correction(node, found, weight.shape)


def _correction(node: Node, found: Integers, shape: tuple[int, ...]) -> Correction:
    name = node.inputs[1]
    return Correction(
        kind="rounding",
        title=f"weights of {node.name} rounded for its output",
        weights={name: _array(found.weights).reshape(shape)},
        weight_scales={name: _array(found.scales).reshape(-1)},
        biases={node.id: _array(found.bias).reshape(-1)},
    )


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.double().numpy()


def _bias(graph: Graph, node: Node, channels: int) -> NDArray[np.float64]:
    if len(node.inputs) > 2 and node.inputs[2]:
        return np.array(graph.constants[node.inputs[2]].once(), dtype=np.float64).reshape(-1)
    return np.zeros(channels)
