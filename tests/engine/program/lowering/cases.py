"""A graph lowered with ranges from its own float run, and how far its integers are from the float operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph
from engine.ops.other import Input
from engine.plan.resolve import resolve
from engine.plan.scales import ScaleOf, assign_types
from engine.plan.types import Plan, Resolution
from engine.precision import Precision
from engine.program.executor import run_program
from engine.program.lowering.assemble import UnitCache, has_lowering, lower
from engine.program.types import Instruction, Program
from engine.qtype import INTEGER_RANGE
from engine.target.target import Target, load_target


def _roomy(target: Target) -> Target:
    """The target with memory for a tile of anything: what is lowered here is to run on the chip."""
    capacity = msgspec.structs.replace(target.sram.capacity, value=1 << 28)
    return msgspec.structs.replace(target, sram=msgspec.structs.replace(target.sram, capacity=capacity))


TARGET = _roomy(load_target("generic-int8"))
Feeds = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Case:
    """``values`` are the program's, as real numbers; ``reference`` the float model's on the quantised inputs."""

    program: Program
    values: Mapping[str, NDArray[np.float64]]
    reference: Mapping[str, NDArray[np.float64]]

    def steps(self, value: str = "y") -> float:
        """Largest distance from the reference (limited to the value's range) in steps of the value's scale."""
        qtype = self.program.types[value]
        low, high = (bound * qtype.scale for bound in INTEGER_RANGE[qtype.dtype])
        return float(np.abs(self.values[value] - self.reference[value].clip(low, high)).max() / qtype.scale)

    def sqnr_db(self, value: str = "y") -> float:
        error = self.values[value] - self.reference[value]
        return float(10.0 * np.log10((self.reference[value] ** 2).sum() / (error**2).sum()))


def lowered_with(
    graph: Graph, plan: Plan, resolution: Resolution, scale_of: ScaleOf, cache: UnitCache | None = None
) -> Program:
    """The program with scales from a function instead of a calibration."""
    return lower(graph, resolution, assign_types(graph, plan, resolution, scale_of), cache)


def lowered(graph: Graph, feeds: Feeds, marks: Mapping[str, Precision] | None = None) -> Program:
    """The program with scales from the largest magnitude of each value."""
    plan = Plan(MappingProxyType(dict(marks or {})))
    values = FloatModel(graph).run(feeds, keep=[value for node in graph.nodes for value in node.outputs])
    peaks = {name: float(tensor.abs().max()) or 1.0 for name, tensor in values.items() if tensor.is_floating_point()}
    resolution = resolve(graph, plan, TARGET, has_lowering)
    return lowered_with(graph, plan, resolution, lambda value, largest: peaks[value] / largest)


def compared(graph: Graph, feeds: Feeds, marks: Mapping[str, Precision] | None = None) -> Case:
    """Run the lowered graph, and the float graph on the same quantised inputs."""
    program = lowered(graph, feeds, marks)
    tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
    names = {value: name for value, name in program.value_of.items() if program.types[name].is_quantised}
    found: dict[str, torch.Tensor] = {}

    def visit(item: Instruction, _: object, outputs: Sequence[torch.Tensor]) -> None:
        found.update((name, tensor.clone()) for name, tensor in zip(item.outputs, outputs, strict=True))

    run_program(program, tensors, visit=visit)
    values = {value: found[name].numpy() * program.types[name].scale for value, name in names.items()}
    inputs = {name: values[name].astype(np.float32) if name in values else feeds[name] for name in graph.inputs}
    reference = FloatModel(graph).run(inputs, keep=list(names))
    return Case(program, values, {name: tensor.double().numpy() for name, tensor in reference.items()})


def everywhere(graph: Graph, dtype: str) -> dict[str, Precision]:
    """Marks that ask for int16 at every node, or none for int8."""
    if dtype == "int8":
        return {}
    return {node.id: Precision.INT16 for node in graph.nodes}


def inputs_of(graph: Graph, seed: int = 0, low: float = -2.0, high: float = 2.0) -> dict[str, NDArray[np.float32]]:
    """Random samples for every input."""
    rng = np.random.default_rng(seed)
    names = [node.outputs[0] for node in graph.nodes if isinstance(node.op, Input)]
    return {name: rng.uniform(low, high, graph.types[name].shape).astype(np.float32) for name in names}
