"""Resolution: from what the user asked for to what the target computes, each difference with its reason."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from engine.graph.graph import Graph, Node
from engine.ops.base import Op
from engine.ops.elementwise import Unary
from engine.ops.layout import Layout
from engine.ops.logic import Cast, Comparison, NumberTest
from engine.ops.other import Input, Unsupported
from engine.ops.reduce import ArgExtreme, AveragePool, MaxPool, ReduceMax, ReduceMin, Resize
from engine.plan.regions import resolve_regions
from engine.plan.types import Effective, Plan, Resolution, Unit
from engine.plan.units import build_units, is_scaling, unit_precision
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
    """Resolves plans of one graph for one target; what a node alone may be is asked once."""

    def __init__(self, graph: Graph, target: Target, lowers: Callable[[Op], bool]) -> None:
        self._verdicts = _Verdicts(graph, target, lowers)
        self._graph = graph
        self._target = target

    def resolve(self, plan: Plan) -> Resolution:
        """As :func:`resolve`."""
        found = _Resolution(self._graph, plan, self._verdicts).run()
        return resolve_regions(self._graph, found, self._target, plan.regions)


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
    """One resolution in the making."""

    def __init__(self, graph: Graph, plan: Plan, verdicts: _Verdicts) -> None:
        self.graph = graph
        self.plan = plan
        self.verdicts = verdicts
        self.dtypes: dict[str, str] = {}
        self.effective: dict[str, Effective] = {}

    def run(self) -> Resolution:
        requested, verdict = self.plan.requested, self.verdicts.verdict
        verdicts = {node.id: verdict(node, requested(node.id)) for node in self.graph.nodes}
        chosen = {node_id: verdict[0] for node_id, verdict in verdicts.items()}
        units = build_units(self.graph, self.plan, chosen, self.verdicts.permits)
        for unit in units:
            self._settle(unit, verdicts, chosen)
        return Resolution(MappingProxyType(self.effective), units, MappingProxyType(self.dtypes))

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
        self.effective[node.id] = Effective(own, dtype, self._difference(unit, node, own, refusal), unit.anchor)

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
