"""Fusion regions: whether the units that a user draws a line around can run as one kernel, and if not, why.

Each condition is a small function whose docstring is the user's text. "Why not?" is a return value: the broken rule,
the nodes that break it, what was measured, the limit, and the nearest region that is legal.

Fusing is scheduling. A legal region changes when units run and where values lie between them, never a value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from engine.graph.graph import Graph, Node
from engine.ops.linear import Mac
from engine.ops.other import Input
from engine.plan.tiles import stripe_axes, tile_bytes, whole_values
from engine.plan.types import Region, Resolution, ResolvedRegion, Unit
from engine.precision import Precision
from engine.target.relations import tile_room_bytes
from engine.target.target import Target

_GREEDY_STARTS = 4
"""Last units of an illegal region from which a legal one is grown."""

_GREEDY_UNITS = 64
"""Units at which a grown region is large enough to be proposed."""

_NAMED = 4


@dataclass(frozen=True)
class Breach:
    """A broken rule: one line with the numbers, the nodes to point at, and what was compared (None: nothing)."""

    message: str
    nodes: tuple[str, ...]
    measured: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class RegionVerdict:
    """Whether nodes can run as one kernel.

    Attributes:
        nodes: The nodes asked about, in graph order (those that are in no graph last).
        rule: Name of the first broken rule; "" for a legal region.
        text: What that rule says.
        breach: What broke it; None for a legal region.
        nearest: Nodes of the nearest legal region, in graph order: those asked about completed to whole units or, where
            that is not enough, the largest legal part found. The region itself if legal; empty where there is none.
        units: The units of a legal region, in topological order.
        written: Values of a legal region that leave it: each is written in full.
    """

    nodes: tuple[str, ...]
    rule: str = ""
    text: str = ""
    breach: Breach | None = None
    nearest: tuple[str, ...] = ()
    units: tuple[Unit, ...] = ()
    written: tuple[str, ...] = ()

    @property
    def legal(self) -> bool:
        return self.breach is None

    @property
    def reason(self) -> str:
        """One line for a person; "" for a legal region."""
        return "" if self.breach is None else self.breach.message


@dataclass(frozen=True, eq=False)
class UnitGraph:
    """The units of a resolution by anchor, and who reads whom."""

    graph: Graph
    resolution: Resolution

    def under(self, resolution: Resolution) -> UnitGraph:
        """The same for another resolution; what is known is kept where its units are the same."""
        if resolution is self.resolution:
            return self
        found = UnitGraph(self.graph, resolution)
        if len(resolution.units) == len(self.resolution.units) and all(
            map(operator.is_, resolution.units, self.resolution.units)
        ):
            known = ("position", "order", "by_anchor", "before", "after", "unit_of")
            found.__dict__.update({name: self.__dict__[name] for name in known if name in self.__dict__})
        return found

    @cached_property
    def unit_of(self) -> Mapping[str, Unit]:
        """Node to its unit."""
        return self.resolution.unit_of

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Anchor to place in the order of units."""
        return {unit.anchor: index for index, unit in enumerate(self.resolution.units)}

    @cached_property
    def order(self) -> Mapping[str, int]:
        """Node to place in the graph."""
        return {node: index for index, node in enumerate(self.graph.by_id)}

    @cached_property
    def by_anchor(self) -> Mapping[str, Unit]:
        return {unit.anchor: unit for unit in self.resolution.units}

    @cached_property
    def before(self) -> Mapping[str, frozenset[str]]:
        """Anchor to the anchors of the units that it reads."""
        return {unit.anchor: frozenset(self._sources(unit)) for unit in self.resolution.units}

    @cached_property
    def after(self) -> Mapping[str, frozenset[str]]:
        """Anchor to the anchors of the units that read it."""
        found: dict[str, set[str]] = {unit.anchor: set() for unit in self.resolution.units}
        for anchor, sources in self.before.items():
            for source in sources:
                found[source].add(anchor)
        return {anchor: frozenset(readers) for anchor, readers in found.items()}

    def _sources(self, unit: Unit) -> Iterator[str]:
        for node_id in unit.nodes:
            for value in self.graph.activations(self.graph.by_id[node_id]):
                source = self.unit_of[self.graph.producer[value].id]
                if source.anchor != unit.anchor:
                    yield source.anchor

    def nodes_of(self, anchors: Iterable[str]) -> tuple[Node, ...]:
        """The nodes of units, in topological order."""
        ordered = sorted(anchors, key=self.position.__getitem__)
        return tuple(self.graph.by_id[node] for anchor in ordered for node in self.by_anchor[anchor].nodes)


@dataclass(frozen=True, eq=False)
class Draft:
    """The question that a rule answers: these nodes (in graph order) as one kernel, on this target.

    Nodes that do not exist are in ``unknown``. ``taken`` names the legal region that a unit is already in; units of one
    region run at once, so for the order of kernels they are one.
    """

    units: UnitGraph
    target: Target
    nodes: tuple[str, ...]
    unknown: tuple[str, ...]
    taken: Mapping[str, str]

    @staticmethod
    def asked(units: UnitGraph, target: Target, nodes: Sequence[str], taken: Mapping[str, str]) -> Draft:
        """The question about nodes that may not exist, in any order."""
        distinct = dict.fromkeys(nodes)
        unknown = tuple(node for node in distinct if node not in units.order)
        known = tuple(sorted((node for node in distinct if node in units.order), key=units.order.__getitem__))
        return Draft(units, target, known, unknown, taken)

    def of(self, anchors: Iterable[str]) -> Draft:
        """The same question about whole units."""
        return Draft.asked(self.units, self.target, [node.id for node in self.units.nodes_of(anchors)], self.taken)

    @property
    def graph(self) -> Graph:
        return self.units.graph

    @cached_property
    def anchors(self) -> frozenset[str]:
        """The units that the nodes belong to."""
        return frozenset(self.units.unit_of[node].anchor for node in self.nodes)

    @cached_property
    def members(self) -> tuple[Node, ...]:
        """All nodes of these units, in topological order."""
        return self.units.nodes_of(self.anchors)

    @cached_property
    def stripes(self) -> tuple[int, ...]:
        """Axes along which the units can run stripe by stripe."""
        return stripe_axes(self.graph, self.members)

    @cached_property
    def kernels(self) -> Mapping[str, tuple[str, ...]]:
        """Region name to the anchors of its units."""
        found: dict[str, list[str]] = {}
        for anchor, name in self.taken.items():
            found.setdefault(name, []).append(anchor)
        return {name: tuple(anchors) for name, anchors in found.items()}


RuleCheck = Callable[[Draft], Breach | None]


@dataclass(frozen=True)
class RegionRule:
    """One condition; ``text`` is what a person reads about it."""

    name: str
    text: str
    check: RuleCheck


REGION_RULES: dict[str, RegionRule] = {}
"""Rules by name, in the order in which they are asked: each may rely on those before it."""


def _rule(check: RuleCheck) -> RuleCheck:
    """Register a check under its function's name, with its docstring as text."""
    name = check.__name__
    REGION_RULES[name] = RegionRule(name, " ".join((check.__doc__ or "").split()), check)
    return check


def check_region(
    graph: Graph,
    resolution: Resolution,
    target: Target,
    nodes: Sequence[str],
    name: str = "",
    units: UnitGraph | None = None,
) -> RegionVerdict:
    """Whether the nodes can run as one kernel beside the legal regions of the resolution.

    ``units`` is that of an earlier resolution of the graph, where there is one: a question then costs little.
    ``name`` is the region that the nodes are (to be), if it has one: it does not stand in its own way.
    """
    others = (region for region in resolution.regions if region.legal and region.name != name)
    taken = {unit.anchor: region.name for region in others for unit in region.units}
    draft = Draft.asked(units.under(resolution) if units else UnitGraph(graph, resolution), target, nodes, taken)
    broken = _first_breach(draft)
    asked = (*draft.nodes, *draft.unknown)
    if broken is None:
        return RegionVerdict(asked, nearest=draft.nodes, units=_units(draft), written=_written(draft))
    rule, breach = broken
    return RegionVerdict(asked, rule.name, rule.text, breach, _nearest(draft))


def resolve_regions(
    graph: Graph,
    resolution: Resolution,
    target: Target,
    regions: Sequence[Region],
    known: UnitGraph | None = None,
) -> Resolution:
    """The resolution with the plan's regions; of two that share a node, the first counts. ``known`` as for
    :func:`check_region`."""
    if not regions:
        return replace(resolution, regions=()) if resolution.regions else resolution
    units = known.under(resolution) if known else UnitGraph(graph, resolution)
    taken: dict[str, str] = {}
    resolved: list[ResolvedRegion] = []
    for region in regions:
        draft = Draft.asked(units, target, region.nodes, taken)
        broken = _first_breach(draft)
        if broken is None:
            taken |= dict.fromkeys(draft.anchors, region.name)
            resolved.append(ResolvedRegion(region.name, _units(draft), True, ""))
        else:
            resolved.append(ResolvedRegion(region.name, (), False, broken[1].message))
    return replace(resolution, regions=tuple(resolved))


def _units(draft: Draft) -> tuple[Unit, ...]:
    ordered = sorted(draft.anchors, key=draft.units.position.__getitem__)
    return tuple(draft.units.by_anchor[anchor] for anchor in ordered)


def _first_breach(draft: Draft) -> tuple[RegionRule, Breach] | None:
    for rule in REGION_RULES.values():
        breach = rule.check(draft)
        if breach is not None:
            return rule, breach
    return None


def _written(draft: Draft) -> tuple[str, ...]:
    members = {node.id for node in draft.members}
    graph = draft.graph
    return tuple(value for node in draft.members for value in node.outputs if value and _leaves(graph, value, members))


def _leaves(graph: Graph, value: str, members: set[str]) -> bool:
    readers = graph.consumers.get(value, ())
    return value in graph.outputs or not readers or any(reader.id not in members for reader in readers)


def _listed(nodes: Sequence[str]) -> str:
    """The first few nodes by name."""
    named = ", ".join(f"'{node}'" for node in nodes[:_NAMED])
    return named if len(nodes) <= _NAMED else f"{named} and {len(nodes) - _NAMED} more"


# -- rules ---------------------------------------------------------------------------------------------------


@_rule
def nodes_exist(draft: Draft) -> Breach | None:
    """A region consists of nodes of the model."""
    if draft.unknown:
        return Breach(f"the model has no {_listed(draft.unknown)}", draft.unknown)
    return None


@_rule
def on_the_chip(draft: Draft) -> Breach | None:
    """A kernel runs on the chip: a region holds no model input and no node that the CPU computes."""
    inputs = tuple(node for node in draft.nodes if isinstance(draft.graph.by_id[node].op, Input))
    if inputs:
        return Breach(f"{_listed(inputs)} is a model input: it is there before any kernel runs", inputs)
    effective = draft.units.resolution.effective
    floats = tuple(node for node in draft.nodes if effective[node].precision is Precision.FLOAT)
    if floats:
        return Breach(f"the CPU computes {_listed(floats)}", floats, len(floats), 0)
    return None


@_rule
def in_no_other_region(draft: Draft) -> Breach | None:
    """A node is in one region at the most."""
    unit_of = draft.units.unit_of
    shared = tuple(node for node in draft.nodes if unit_of[node].anchor in draft.taken)
    if shared:
        name = draft.taken[unit_of[shared[0]].anchor]
        return Breach(f"{_listed(shared)} is in the region '{name}' already; dissolve that first", shared)
    return None


@_rule
def whole_units(draft: Draft) -> Breach | None:
    """Nodes that are quantised together stay together: a region consists of whole units."""
    asked = set(draft.nodes)
    missing = tuple(node.id for node in draft.members if node.id not in asked)
    if missing:
        unit = draft.units.unit_of[missing[0]]
        partner = next(node for node in unit.nodes if node in asked)
        message = f"{_listed(missing)} is missing: it is computed together with '{partner}'"
        return Breach(message, missing, len(missing), 0)
    return None


@_rule
def at_least_two_units(draft: Draft) -> Breach | None:
    """There is something to fuse: a region has two units or more."""
    count = len(draft.anchors)
    if count < 2:
        text = "these nodes are one kernel already" if count else "no node is given"
        return Breach(f"{text}; a region has two units or more", draft.nodes, count, 2)
    return None


@_rule
def connected(draft: Draft) -> Breach | None:
    """A region is connected: each of its units passes values to or from another of them."""
    last = max(draft.anchors, key=draft.units.position.__getitem__)
    reached, pending = {last}, [last]
    while pending:
        anchor = pending.pop()
        near = (draft.units.before[anchor] | draft.units.after[anchor]) & draft.anchors
        pending += near - reached
        reached |= near
    apart = draft.units.nodes_of(draft.anchors - reached)
    if apart:
        nodes = tuple(node.id for node in apart)
        return Breach(f"{_listed(nodes)} exchanges no values with the rest of the region", nodes)
    return None


@_rule
def convex(draft: Draft) -> Breach | None:
    """A region is convex: no path leaves it and comes back, or the kernel would wait for itself."""
    between = _between(draft)
    if between:
        nodes = tuple(node.id for node in draft.units.nodes_of(between))
        return Breach(f"a path leaves the region and comes back through {_listed(nodes)}", nodes, len(nodes), 0)
    return None


@_rule
def products_in_stripes(draft: Draft) -> Breach | None:
    """Several products (convolutions, linear layers, matrix products) are one kernel only as a cascade by stripes:
    along one axis, a stripe of the results needs a limited number of rows, halo included, of all that they pass on.
    """
    products = tuple(node.id for node in draft.members if isinstance(node.op, Mac))
    if len(products) < 2 or draft.stripes:
        return None
    nodes = _blocking(draft)
    message = f"{len(products)} products, and all rows of what they make are needed at once by {_listed(nodes)}"
    return Breach(message, nodes, len(products), 1)


def _blocking(draft: Draft) -> tuple[str, ...]:
    """The nodes that keep a region from running in stripes along the axis that comes nearest to it."""
    made = {value for node in draft.members for value in node.outputs if value}
    rank = max(len(draft.graph.types[value].shape) for value in made)
    found: list[tuple[str, ...]] = []
    for axis in range(max(rank, 1)):
        whole = whole_values(draft.graph, draft.members, axis) & made
        readers = (node.id for node in draft.members if whole.intersection(draft.graph.activations(node)))
        found.append(tuple(readers))
    return min(found, key=len)


@_rule
def tile_fits(draft: Draft) -> Breach | None:
    """At least one tile of everything that the kernel reads, makes and writes fits the part of the on-chip memory that
    is kept for tiles.
    """
    limit = tile_room_bytes(draft.target)
    alignment = int(draft.target.mac.output_channel_alignment.value)
    cascade = sum(isinstance(node.op, Mac) for node in draft.members) > 1
    axes = draft.stripes if cascade else None
    measured = tile_bytes(draft.graph, draft.units.resolution, draft.members, alignment, axes)
    if measured > limit:
        message = f"its smallest tile takes {measured:,} B; {draft.target.name} keeps {limit:,} B on the chip for tiles"
        return Breach(message, tuple(node.id for node in draft.members), measured, limit)
    return None


def _between(draft: Draft) -> set[str]:
    """Anchors outside the region that read from it and that it reads, other regions' units taken as one."""
    position = draft.units.position
    last = max(position[anchor] for anchor in (*draft.anchors, *draft.taken))
    down = _reached(draft, draft.units.after, lambda anchor: position[anchor] < last)
    return down & _reached(draft, draft.units.before, down.__contains__)


def _reached(draft: Draft, step: Mapping[str, frozenset[str]], near: Callable[[str], bool]) -> set[str]:
    """Anchors outside that are reached from the region; ``near`` bounds the search to those that matter."""
    reached: set[str] = set()
    pending = list(draft.anchors)
    while pending:
        for anchor in step[pending.pop()]:
            name = draft.taken.get(anchor)
            for member in (anchor,) if name is None else draft.kernels[name]:
                if member not in draft.anchors and member not in reached and near(member):
                    reached.add(member)
                    pending.append(member)
    return reached


# -- the nearest legal region --------------------------------------------------------------------------------


def _nearest(draft: Draft) -> tuple[str, ...]:
    """Nodes of the nearest legal region, or nothing."""
    completed = draft.of(draft.anchors)
    if _first_breach(completed) is None:
        return completed.nodes
    position = draft.units.position
    usable = frozenset(anchor for anchor in draft.anchors if _is_usable(draft.of((anchor,))))
    sinks = sorted((anchor for anchor in usable if not draft.units.after[anchor] & usable), key=position.__getitem__)
    grown = [_grown(draft, usable, sink) for sink in reversed(sinks[-_GREEDY_STARTS:])]
    best = max(grown, key=len, default=frozenset[str]())
    return draft.of(best).nodes if len(best) > 1 else ()


def _is_usable(draft: Draft) -> bool:
    """Whether a unit may be in a new region at all."""
    return on_the_chip(draft) is None and in_no_other_region(draft) is None


def _grown(draft: Draft, usable: frozenset[str], sink: str) -> frozenset[str]:
    """The sink and, nearest first, whatever unit can join without breaking a rule."""
    region = frozenset((sink,))
    grew = True
    while grew and len(region) < _GREEDY_UNITS:
        grew = False
        for anchor in _border(draft.units, region, usable):
            if _first_breach(draft.of(region | {anchor})) is None:
                region, grew = region | {anchor}, True
    return region


def _border(units: UnitGraph, region: frozenset[str], usable: frozenset[str]) -> list[str]:
    """Usable units that exchange values with the region, the last in order first."""
    near: set[str] = set()
    for anchor in region:
        near |= units.before[anchor] | units.after[anchor]
    return sorted((near - region) & usable, key=units.position.__getitem__, reverse=True)
