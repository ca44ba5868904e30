"""Resolution: from what the user asked for to what the target computes, each difference with its reason."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from engine.graph.graph import Graph, Node
from engine.ops.base import Op
from engine.ops.elementwise import Unary
from engine.ops.layout import Layout
from engine.ops.logic import Cast, Comparison, NumberTest
from engine.ops.other import Input, Unsupported
from engine.ops.reduce import ArgExtreme, AveragePool, MaxPool, ReduceMax, ReduceMin, Resize
from engine.plan.regions import RegionVerdict, UnitGraph, check_region, resolve_regions
from engine.plan.types import Effective, Plan, Resolution, Unit
from engine.plan.units import build_units, chains_of, is_scaling, unit_precision
from engine.precision import Precision
from engine.target.rules import Refusal, allowed, check_node
from engine.target.target import Target
from engine.target.values import foreign_value

PASSING = (Layout, ReduceMax, ReduceMin, MaxPool, AveragePool)
"""Operators whose output keeps the scale and type of their input (as a Resize to the nearest does)."""

DECIDING = (Comparison, NumberTest, ArgExtreme)
"""Operators that make truth values or indices of quantised values, in the precision that these have."""

_DTYPE = {
    Precision.INT8: "int8",
    Precision.LUT: "int8",
    Precision.INT16: "int16",
    Precision.FLOAT: "float32",
}
_PRECISION = {"int8": Precision.INT8, "int16": Precision.INT16}

Verdict = tuple[Precision, str]


def resolve(graph: Graph, plan: Plan, target: Target, lowers: Callable[[Op], bool]) -> Resolution:
    """Decide effective precision, unit and output type of every node, and which fusion regions are legal.

    ``lowers`` says whether the integer program has a form for an operator; what has none runs on the CPU in float.
    Keep a :class:`Resolver` instead where many plans of one graph are resolved.
    """
    return Resolver(graph, target, lowers).resolve(plan)


class Resolver:
    """Resolves plans of one graph for one target; an edit costs little more than what it changes.

    Nodes that may share a unit are a *chain* (:func:`engine.plan.units.chains_of`): what a chain becomes depends on
    what is asked for its own nodes, and on the types that it reads. A plan is resolved from the plan before it: chains
    whose choices changed, then those that read what changed.
    """

    def __init__(self, graph: Graph, target: Target, lowers: Callable[[Op], bool]) -> None:
        self._verdicts = _Verdicts(graph, target, lowers)
        self._graph = graph
        self._target = target
        self._chains = chains_of(graph)
        self._chain_of = {node.id: index for index, chain in enumerate(self._chains) for node in chain}
        self._order = {node.id: index for index, node in enumerate(graph.nodes)}
        self._units: UnitGraph | None = None
        self._newest: tuple[Plan, Resolution, list[tuple[Unit, ...]]] | None = None

    def resolve(self, plan: Plan) -> Resolution:
        """As :func:`resolve`."""
        if self._newest is None or self._newest[0].choices is not plan.choices:
            self._newest = self._resolved(plan)
        return self.with_regions(self._newest[1], plan)

    def with_regions(self, resolution: Resolution, plan: Plan) -> Resolution:
        """A resolution of this resolver with a plan's fusion regions."""
        return resolve_regions(self._graph, resolution, self._target, plan.regions, self.units(resolution))

    def check_region(self, resolution: Resolution, nodes: Sequence[str], name: str = "") -> RegionVerdict:
        """As :func:`engine.plan.regions.check_region`."""
        return check_region(self._graph, resolution, self._target, nodes, name, self.units(resolution))

    def units(self, resolution: Resolution) -> UnitGraph:
        """Who reads whom among the units of a resolution; remembered for the newest units."""
        self._units = self._units.under(resolution) if self._units else UnitGraph(self._graph, resolution)
        return self._units

    def _resolved(self, plan: Plan) -> tuple[Plan, Resolution, list[tuple[Unit, ...]]]:
        if self._newest is None:
            changed = set(range(len(self._chains)))
            resolution = _Resolution(self._graph, plan, self._verdicts, {}, {})
            units: list[tuple[Unit, ...]] = [()] * len(self._chains)
        else:
            before, known, units = self._newest
            changed = {self._chain_of[node] for node in _differences(before.choices, plan.choices)}
            resolution = _Resolution(self._graph, plan, self._verdicts, dict(known.dtypes), dict(known.effective))
            units = list(units)
        if not changed and self._newest is not None:
            return plan, self._newest[1], units
        self._settle(resolution, changed, units)
        joined = sorted((unit for chain in units for unit in chain), key=lambda unit: self._order[unit.nodes[-1]])
        effective, dtypes = MappingProxyType(resolution.effective), MappingProxyType(resolution.dtypes)
        return plan, Resolution(effective, tuple(joined), dtypes), units

    def _settle(self, resolution: _Resolution, changed: set[int], units: list[tuple[Unit, ...]]) -> None:
        """Work through the changed chains in graph order, and through those that read values whose type changed."""
        pending = [(self._order[self._chains[index][0].id], index) for index in changed]
        heapq.heapify(pending)
        asked = set(changed)
        while pending:
            _, index = heapq.heappop(pending)
            chain = self._chains[index]
            values = [value for node in chain for value in node.outputs if value]
            before = [resolution.dtypes.get(value) for value in values]
            found = resolution.settle(chain, units[index] if index not in changed else None)
            units[index] = units[index] if found == units[index] else found
            for value, dtype in zip(values, before, strict=True):
                if resolution.dtypes[value] != dtype:
                    for reader in self._graph.consumers.get(value, ()):
                        place = self._chain_of[reader.id]
                        if place not in asked:
                            asked.add(place)
                            heapq.heappush(pending, (self._order[self._chains[place][0].id], place))


def _differences(before: Mapping[str, Precision], after: Mapping[str, Precision]) -> Iterator[str]:
    """Nodes for which two plans ask for different precisions."""
    yield from (node for node, wanted in before.items() if after.get(node) is not wanted)
    yield from (node for node in after if node not in before)


def passes_through(node: Node, precision: Precision, requested: Precision) -> bool:
    """Whether the node's output keeps its input's integers (and, scaling aside, their scale)."""
    if precision is Precision.FLOAT:
        return False
    if isinstance(node.op, PASSING) or (isinstance(node.op, Resize) and node.op.mode == "nearest"):
        return True
    if isinstance(node.op, Cast) and node.op.between_floats:
        return True
    return is_scaling(node) and requested in (Precision.AUTO, Precision.INT8)


class _Verdicts:
    """What the target makes of each node alone, remembered."""

    def __init__(self, graph: Graph, target: Target, lowers: Callable[[Op], bool]) -> None:
        self.graph = graph
        self.target = target
        self.lowers = lowers
        self._known: dict[tuple[str, Precision], Verdict] = {}
        self._refusals: dict[tuple[str, Precision], Refusal | None] = {}

    def verdict(self, node: Node, requested: Precision) -> Verdict:
        """The precision that the node would have alone, and why it is not the one requested."""
        key = (node.id, requested)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._verdict(node, requested)
        return known

    def refusal(self, node: Node, precision: Precision) -> Refusal | None:
        """Why the target does not compute the node in a precision; None where it does."""
        key = (node.id, precision)
        if key not in self._refusals:
            self._refusals[key] = check_node(self.graph, node, precision, self.target)
        return self._refusals[key]

    def permits(self, node: Node, precision: Precision) -> bool:
        return self.refusal(node, precision) is None

    def _verdict(self, node: Node, requested: Precision) -> Verdict:
        if isinstance(node.op, Unsupported):
            return Precision.FLOAT, node.op.problem
        foreign = foreign_value(self.graph, node)
        if foreign:
            return Precision.FLOAT, foreign
        if requested is Precision.FLOAT:
            return Precision.FLOAT, ""
        if not isinstance(node.op, Input) and not self.lowers(node.op):
            return Precision.FLOAT, f"{node.op.type_name} has no integer form; it runs on the CPU"
        wanted = self._preferences(node, requested)
        refusals: list[str] = []
        for precision in wanted:
            refusal = self.refusal(node, precision)
            if refusal is None:
                return precision, self._reason(node, requested, precision, refusals)
            refusals.append(refusal.message)
        reason = refusals[0] if refusals else f"{self.target.name} has no unit for {node.op.type_name}"
        return Precision.FLOAT, reason

    def _preferences(self, node: Node, requested: Precision) -> tuple[Precision, ...]:
        """Integer precisions to try, best first: the request, then the target's own order."""
        offered = tuple(p for p in allowed(node.op, self.target) if p is not Precision.FLOAT)
        if isinstance(node.op, Input):
            offered = (Precision.INT8, Precision.INT16)
        if isinstance(node.op, Unary) and requested is Precision.INT8:
            requested = Precision.LUT
        return (requested, *offered) if requested in offered else offered

    def _reason(self, node: Node, requested: Precision, precision: Precision, refusals: list[str]) -> str:
        if refusals:
            return refusals[0]
        if requested in (Precision.AUTO, precision):
            return ""
        if requested is Precision.LUT:
            return f"{node.op.type_name} is not an elementwise function of one tensor"
        if requested is Precision.INT8 and precision is Precision.LUT:
            return f"an int8 {node.op.type_name} is a 256-entry table"
        return f"{self.target.name} computes {node.op.type_name} in {precision} only"


class _Resolution:
    """One resolution in the making; ``dtypes`` and ``effective`` are what is known of it."""

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        verdicts: _Verdicts,
        dtypes: dict[str, str],
        effective: dict[str, Effective],
    ) -> None:
        self.graph = graph
        self.plan = plan
        self.verdicts = verdicts
        self.dtypes = dtypes
        self.effective = effective

    def settle(self, chain: Sequence[Node], units: tuple[Unit, ...] | None) -> tuple[Unit, ...]:
        """Fix the types of a chain's nodes; ``units`` are its units where these are known."""
        requested, verdict = self.plan.requested, self.verdicts.verdict
        verdicts = {node.id: verdict(node, requested(node.id)) for node in chain}
        chosen = {node_id: verdict[0] for node_id, verdict in verdicts.items()}
        found = units or build_units(self.graph, chain, self.plan, chosen, self.verdicts.permits)
        for unit in found:
            self._settle(unit, verdicts, chosen)
        return found

    def _settle(self, unit: Unit, verdicts: dict[str, Verdict], chosen: dict[str, Precision]) -> None:
        """Fix the unit's output type, following the inputs where the unit only passes integers on."""
        precision = unit_precision(unit, self.plan, chosen)
        node = self.graph.by_id[unit.last]
        refusals = {node_id: verdicts[node_id][1] for node_id in unit.nodes}
        if len(unit.nodes) == 1 and self._follows(node, precision):
            precision, refusals[node.id] = self._followed(node)
        for node_id in unit.nodes:
            self._record(unit, self.graph.by_id[node_id], precision, refusals[node_id])

    def _follows(self, node: Node, precision: Precision) -> bool:
        """Whether the precision is that of the inputs: values passed on, or a decision about quantised ones."""
        if isinstance(node.op, DECIDING) and precision is not Precision.FLOAT:
            return any(self.dtypes.get(value) in _PRECISION for value in self.graph.activations(node))
        return passes_through(node, precision, self.plan.requested(node.id))

    def _followed(self, node: Node) -> Verdict:
        """The widest integer type among the inputs; a float input is quantised to int8 at the seam."""
        dtypes = {self.dtypes.get(value, "float32") for value in self.graph.activations(node)}
        precision = Precision.INT16 if "int16" in dtypes else Precision.INT8
        refusal = self.verdicts.refusal(node, precision)
        if refusal is not None and not isinstance(node.op, Unary):
            return Precision.FLOAT, refusal.message
        does = "decides and takes" if isinstance(node.op, DECIDING) else "passes values on and keeps"
        return precision, f"{node.op.type_name} {does} its input's precision"

    def _record(self, unit: Unit, node: Node, precision: Precision, refusal: str) -> None:
        for value in node.outputs:
            if value:
                kind = self.graph.types[value]
                self.dtypes[value] = _DTYPE[precision] if kind.is_float else kind.dtype
        own = self._own_precision(unit, node, precision)
        dtype = self.dtypes[node.outputs[0]]
        made = Effective(own, dtype, self._difference(unit, node, own, refusal), unit.anchor)
        if self.effective.get(node.id) != made:
            self.effective[node.id] = made

    def _own_precision(self, unit: Unit, node: Node, precision: Precision) -> Precision:
        """What the unit's precision is called for one of its nodes: an elementwise int8 function is a table."""
        if precision not in (Precision.INT8, Precision.LUT):
            return precision
        if not isinstance(node.op, Unary) or self._is_clamp(unit, node):
            return Precision.INT8
        alone = len(unit.nodes) == 1
        passed_on = alone and passes_through(node, precision, self.plan.requested(node.id))
        return Precision.INT8 if passed_on else Precision.LUT

    def _is_clamp(self, unit: Unit, node: Node) -> bool:
        """Whether the node is the clamp of another node's requantisation."""
        return unit.anchor != node.id and not isinstance(self.graph.by_id[unit.anchor].op, Unary)

    def _difference(self, unit: Unit, node: Node, own: Precision, refusal: str) -> str:
        """Why the node does not get what was asked for; "" if it does."""
        requested = self.plan.requested(node.id)
        if requested is own:
            return ""
        if requested is Precision.AUTO:
            refused = own is Precision.FLOAT or (own is Precision.INT16 and not self._passes(unit, node, own))
            return refusal if refused else ""
        if self._is_clamp(unit, node):
            return f"computed inside '{unit.anchor}'"
        return refusal or f"computed together with '{unit.anchor}'"

    def _passes(self, unit: Unit, node: Node, own: Precision) -> bool:
        return len(unit.nodes) == 1 and passes_through(node, own, Precision.AUTO)
