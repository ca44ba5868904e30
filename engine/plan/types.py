"""What the user asks for (the plan) and what the target makes of it (the resolution)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from engine.plan.compile_options import CompileOptions
from engine.precision import Precision


@dataclass(frozen=True)
class Region:
    """Nodes that the user wants computed as one fused kernel."""

    name: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The user's choices. Immutable: an edit makes a new plan, so undo is the old object.

    ``choices`` maps node id to requested precision (absent: auto); ``methods`` value name to calibration method
    (absent: ``default_method``); ``compile`` is what is asked of the compiler. ``thresholds`` maps value name to the
    magnitude that the largest of 8-bit levels stands for, before any method; ``corrections`` are digests of
    :class:`engine.plan.corrections.Correction`, in the order of their application.
    With ``power_of_two`` every scale of a value or weight is a power of two.
    """

    choices: Mapping[str, Precision] = field(default_factory=lambda: MappingProxyType({}))
    methods: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    default_method: str = "mse"
    regions: tuple[Region, ...] = ()
    compile: CompileOptions = field(default_factory=CompileOptions)
    thresholds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    corrections: tuple[str, ...] = ()
    power_of_two: bool = False

    def with_region(self, region: Region) -> Plan:
        """The plan with a region added, or put in the place of the one of its name."""
        names = [known.name for known in self.regions]
        if region.name not in names:
            return replace(self, regions=(*self.regions, region))
        changed = (region if known.name == region.name else known for known in self.regions)
        return replace(self, regions=tuple(changed))

    def without_region(self, name: str) -> Plan:
        """The plan without the region of that name."""
        return replace(self, regions=tuple(region for region in self.regions if region.name != name))

    def with_correction(self, digest: str) -> Plan:
        """The plan with one more correction, applied after the others (again, if it is one of them)."""
        return replace(self, corrections=(*(known for known in self.corrections if known != digest), digest))

    def with_thresholds(self, thresholds: Mapping[str, float]) -> Plan:
        """The plan with thresholds for some values; those of others stay."""
        return replace(self, thresholds=MappingProxyType({**self.thresholds, **thresholds}))

    def requested(self, node_id: str) -> Precision:
        return self.choices.get(node_id, Precision.AUTO)

    def mark(self, node_ids: tuple[str, ...], precision: Precision) -> Plan:
        """The plan with ``precision`` requested for the nodes (``AUTO`` removes the choice)."""
        choices = {key: value for key, value in self.choices.items() if key not in set(node_ids)}
        if precision is not Precision.AUTO:
            choices |= dict.fromkeys(node_ids, precision)
        return replace(self, choices=MappingProxyType(choices))


@dataclass(frozen=True)
class Effective:
    """What becomes of one node.

    ``precision`` is never ``AUTO``; ``dtype`` is the type of the node's outputs (``int8``, ``int16``, ``float32``, or
    the graph's own type for indices and booleans); ``reason`` says why it differs from the request ("" if it does not);
    ``unit`` is the id of the unit that computes the node.
    """

    precision: Precision
    dtype: str
    reason: str
    unit: str


@dataclass(frozen=True)
class Unit:
    """Nodes computed as one kernel, in topological order. Only the last node's outputs are materialised.

    ``anchor`` is the node that gives the unit its id and that its time is booked on (the MAC node, or the last).
    """

    anchor: str
    nodes: tuple[str, ...]

    @property
    def last(self) -> str:
        return self.nodes[-1]


@dataclass(frozen=True)
class ResolvedRegion:
    """What becomes of one fusion region of the plan.

    ``units`` are those that it consists of, in topological order; none where it is not ``legal``. Such a region stays
    in the plan and has no effect; ``reason`` says why ("" for a legal one).
    """

    name: str
    units: tuple[Unit, ...]
    legal: bool
    reason: str


@dataclass(frozen=True)
class Resolution:
    """Effective choices for every node, the units in topological order, the dtype of every value, and the regions in
    the order of the plan. Regions only schedule units together: no value depends on them.
    """

    effective: Mapping[str, Effective]
    units: tuple[Unit, ...]
    dtypes: Mapping[str, str]
    regions: tuple[ResolvedRegion, ...] = ()

    @cached_property
    def unit_of(self) -> Mapping[str, Unit]:
        return {node: unit for unit in self.units for node in unit.nodes}
