"""The engine's latest answers about the open model, each tagged with the revision it belongs to. Qt-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from engine.reports import Compilation, Errors, NodeError, NodePlan, NodeTime, Refusal, RegionPlan, Timing
from engine.reports_analysis import NodeSensitivity, Sensitivities

NO_REVISION = -1


@dataclass(frozen=True)
class Resolved:
    """What the target makes of the plan."""

    revision: int = NO_REVISION
    nodes: Mapping[str, NodePlan] = field(default_factory=lambda: MappingProxyType({}))
    refusals: tuple[Refusal, ...] = ()
    cpu_nodes: int = 0
    regions: Mapping[str, RegionPlan] = field(default_factory=lambda: MappingProxyType({}))
    cores: int = 1
    """Of the target."""

    @staticmethod
    def of(
        revision: int,
        nodes: tuple[NodePlan, ...],
        refusals: tuple[Refusal, ...],
        cpu_nodes: int,
        regions: tuple[RegionPlan, ...] = (),
        cores: int = 1,
    ) -> Resolved:
        by_name = {region.name: region for region in regions}
        return Resolved(revision, {node.id: node for node in nodes}, refusals, cpu_nodes, by_name, cores)

    def unit(self, node_id: str) -> str:
        """The id of the node whose kernel computes this one: its own where it is not fused."""
        plan = self.nodes.get(node_id)
        return plan.fused_into if plan is not None and plan.fused_into else node_id


@dataclass(frozen=True)
class Timed:
    """The latency map."""

    revision: int = NO_REVISION
    timing: Timing | None = None
    nodes: Mapping[str, NodeTime] = field(default_factory=lambda: MappingProxyType({}))

    @staticmethod
    def of(revision: int, timing: Timing) -> Timed:
        return Timed(revision, timing, {node.id: node for node in timing.nodes})


@dataclass(frozen=True)
class Measured:
    """The error maps. ``is_final`` once all samples were seen."""

    revision: int = NO_REVISION
    errors: Errors | None = None
    nodes: Mapping[str, NodeError] = field(default_factory=lambda: MappingProxyType({}))
    is_final: bool = False

    @staticmethod
    def of(revision: int, errors: Errors, is_final: bool) -> Measured:
        return Measured(revision, errors, {node.id: node for node in errors.nodes}, is_final)


@dataclass(frozen=True)
class SensedMap:
    """The sensitivities, measured while they are shown. ``is_final`` once all samples were seen."""

    revision: int = NO_REVISION
    sensitivities: Sensitivities | None = None
    nodes: Mapping[str, NodeSensitivity] = field(default_factory=lambda: MappingProxyType({}))
    is_final: bool = False

    @staticmethod
    def of(revision: int, found: Sensitivities, is_final: bool) -> SensedMap:
        return SensedMap(revision, found, {node.id: node for node in found.nodes}, is_final)


@dataclass(frozen=True)
class Compiled:
    """The compiled model, or the ``problem`` for which there is none."""

    revision: int = NO_REVISION
    compilation: Compilation | None = None
    problem: str = ""


@dataclass(frozen=True)
class Results:
    """Everything the engine said last. Older results stay until newer ones replace them, so nothing
    flickers.
    """

    resolved: Resolved = field(default_factory=Resolved)
    timed: Timed = field(default_factory=Timed)
    measured: Measured = field(default_factory=Measured)
    sensed: SensedMap = field(default_factory=SensedMap)
    compiled: Compiled = field(default_factory=Compiled)
