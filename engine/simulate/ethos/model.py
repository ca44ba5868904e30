"""The cost of a unit on an Ethos-U: its passes one after the other, and where its time goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from engine.graph.graph import Graph
from engine.ops.elementwise import Clip, Relu
from engine.simulate.ethos.cost import PassCost, pass_cost
from engine.simulate.ethos.forms import Writer, add_steps
from engine.simulate.ethos.images import Images, is_window
from engine.simulate.ethos.lowering import LOWERINGS
from engine.simulate.ethos.npu import U55, U85, Memory, Npu
from engine.simulate.ethos.passes import Pass
from engine.simulate.ethos.steps import Value
from engine.simulate.ethos.weights import Statistics, statistics
from engine.simulate.placement import Placement, is_absorbed
from engine.simulate.work import dtype_bytes
from engine.target.target import EthosU, Target

ENGINES: Mapping[str, type[U55] | type[U85]] = {"ethos-u55-256": U55, "ethos-u85-1024": U85}
"""Name of the engine in a target to its generation."""


def npu_of(target: Target, found: EthosU) -> Npu:
    """The engine of a target, with its memories in cycles."""
    hertz = target.clock.frequency.value
    latency = target.dma.latency.value * hertz
    near = Memory(
        bytes_per_cycle=target.sram.bandwidth.value / hertz,
        burst_bytes=int(target.sram.access.value),
        read_latency=found.sram_read_latency.value,
        write_latency=found.sram_write_latency.value,
        reads=found.sram_reads.value,
        writes=found.sram_writes.value,
    )
    far = Memory(
        bytes_per_cycle=target.dma.bandwidth.value / hertz,
        burst_bytes=int(target.dma.burst.value),
        read_latency=latency,
        write_latency=found.off_chip_write_latency.value,
        reads=found.off_chip_reads.value,
        writes=found.off_chip_writes.value,
    )
    staging = int(target.sram.capacity.value)
    return ENGINES[found.engine](near, far, staging, hertz * 1e3)


@dataclass(frozen=True)
class UnitCost:
    """What a unit costs: its passes and what each does."""

    passes: tuple[Pass, ...]
    costs: tuple[PassCost, ...]

    @property
    def near_bytes(self) -> int:
        """To and from SRAM, in whole bursts."""
        return sum(cost.near.total_bytes for cost in self.costs)

    @property
    def far_bytes(self) -> int:
        """To and from the memory off the chip, in whole bursts."""
        return sum(cost.far.total_bytes for cost in self.costs)


@dataclass
class EthosModel:
    """Costs units of one graph on an Ethos-U; what does not depend on the plan is found out once."""

    graph: Graph
    npu: Npu
    _statistics: dict[str, Statistics] = field(default_factory=dict[str, Statistics])

    @staticmethod
    def of(graph: Graph, target: Target) -> EthosModel | None:
        """The model for a target, None where it is no Ethos-U."""
        return None if target.ethos_u is None else EthosModel(graph, npu_of(target, target.ethos_u))

    @cached_property
    def _images(self) -> Images:
        return Images.of(self.graph)

    def cost(self, unit: Placement, near: Mapping[str, bool]) -> UnitCost:
        """Cost of a unit on the chip; ``near`` says which values of its border lie in SRAM."""
        types = dict(zip(unit.frame.values, unit.types, strict=True))

        def width(name: str) -> int:
            return dtype_bytes(types[name]) if name in types else 1

        writer = Writer(self.graph, self._images, width, self.npu.chains)
        previous = None
        for node in unit.frame.nodes:
            if is_absorbed(node, previous):
                writer.give(node, writer.values.get(node.inputs[0]) or writer.operand(node, node.inputs[0]))
            else:
                add_steps(writer, node)
            previous = node
        names = {writer.values[name].key: name for name in unit.frame.writes if name in writer.values}
        places = _Places(self, near)
        lowering = LOWERINGS[type(self.npu)](self.npu, names, places, self._is_brick, self._statistics_of)
        passes = lowering.passes(writer.steps)
        return UnitCost(passes, tuple(pass_cost(item, self.npu) for item in passes))

    def _is_brick(self, name: str) -> bool:
        return self._images.is_brick(self.graph, name, chains=self.npu.chains)

    def is_striped(self, name: str) -> bool:
        """Whether one window makes the value for another alone: then it passes by stripes, however large it is."""
        producer = self._images.producers.get(name)
        while producer is not None and isinstance(producer.op, Relu | Clip):
            producer = self._images.producers.get(producer.inputs[0])
        readers = self.graph.consumers.get(name, ())
        return producer is not None and len(readers) == 1 and is_window(producer) and is_window(readers[0])

    def _statistics_of(self, name: str) -> Statistics:
        found = self._statistics.get(name)
        if found is None:
            found = self._statistics[name] = statistics(self.graph.constants[name].once())
        return found


@dataclass
class _Places:
    """Where the values of one unit lie, decided one after the other.

    What only the unit knows goes to SRAM if it fits beside the one before it.
    """

    model: EthosModel
    near: Mapping[str, bool]
    _known: dict[int, bool] = field(default_factory=dict[int, bool])
    _held_bytes: int = 0

    def __call__(self, value: Value, name: str) -> bool:
        npu = self.model.npu
        if value.is_constant:
            return False
        if npu.far.is_read_only:
            return True
        if name in self.near:
            return self.near[name] or self.model.is_striped(name)
        found = self._known.get(value.key)
        if found is None:
            found = value.size_bytes + self._held_bytes <= npu.staging_bytes
            self._known[value.key] = found
            self._held_bytes = value.size_bytes if found else 0
        return found
