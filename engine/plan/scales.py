"""The scale of every value: chosen from calibration where a value is requantised, inherited where it is passed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from engine.calibrate.result import INT8_LEVELS, CalibrationResult, TensorRange, power_of_two_above, scale_of
from engine.errors import CalibrationError
from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Affine
from engine.ops.layout import Concat
from engine.ops.logic import Cast
from engine.ops.reduce import Softmax
from engine.plan.masks import mask_limits
from engine.plan.resolve import passes_through
from engine.plan.types import Plan, Resolution
from engine.plan.units import is_scaling
from engine.qtype import INTEGER_RANGE, QType, model_type

ScaleOf = Callable[[str, int], float]
"""(value name, largest integer) -> scale from the calibration's range for that value."""


def planned_scales(calibration: CalibrationResult, plan: Plan, corrected: Mapping[str, TensorRange]) -> ScaleOf:
    """The scale of a value whose largest integer is given: by the plan's threshold for it or, for 16 bits and without
    one, the calibration method. ``corrected`` are ranges that corrections changed.

    It raises CalibrationError for a value that was not calibrated. It knows no session: kept types would keep that too.
    """

    def scale_for(value: str, largest: int) -> float:
        threshold = plan.thresholds.get(value)
        if threshold is not None and largest == INT8_LEVELS:
            return scale_of(threshold, largest)
        found = corrected.get(value) or calibration.ranges.get(value)
        if found is None:
            raise CalibrationError(f"value '{value}' has no calibrated range", hint="calibrate again")
        return found.scale(plan.methods.get(value, plan.default_method), largest)

    return scale_for


@dataclass(frozen=True, eq=False)
class ValueTypes:
    """``types``: the program type of every value that some unit materialises. ``scales`` are what they were made with,
    for values that are quantised only at a seam."""

    types: Mapping[str, QType]
    scales: BoundedScales


def assign_types(graph: Graph, plan: Plan, resolution: Resolution, scale_of: ScaleOf) -> ValueTypes:
    """The program type of every value that some unit materialises.

    Softmax outputs never exceed 1, whatever a histogram's bin says; masks do not take the range of their logits.
    """
    scales = BoundedScales(graph, scale_of, plan.power_of_two)
    types: dict[str, QType] = {}
    for unit in resolution.units:
        node = graph.by_id[unit.last]
        for value in node.outputs:
            if value:
                types[value] = _type_of(graph, plan, resolution, scales, node, value, types)
    return ValueTypes(MappingProxyType(types), scales)


class BoundedScales:
    """The calibrated scales, but of attention masks and masked logits only as large as their softmax can tell; with
    ``power_of_two`` the power of two above.

    A :data:`ScaleOf` made from another; made from itself it changes nothing.
    """

    def __init__(self, graph: Graph, scale_of: ScaleOf, power_of_two: bool = False) -> None:
        self.power_of_two = power_of_two
        self._graph = graph
        self._scale_of = scale_of
        self._limits: dict[int, Mapping[str, float]] = {}

    def __call__(self, value: str, largest: int) -> float:
        scale, limit = self._scale_of(value, largest), self.limit(value, largest)
        scale = scale if limit is None else min(scale, limit / largest)
        return power_of_two_above(scale) if self.power_of_two else scale

    def calibrated(self, value: str, largest: int) -> float:
        """The scale that :meth:`__call__` bounds."""
        return self._scale_of(value, largest)

    def limit(self, value: str, largest: int) -> float | None:
        """The threshold that a mask or masked logits are clipped at; None for any other value."""
        if largest not in self._limits:
            self._limits[largest] = mask_limits(self._graph, lambda name: self._scale_of(name, largest) * largest)
        return self._limits[largest].get(value)


def threshold_names(graph: Graph, plan: Plan, resolution: Resolution, values: ValueTypes) -> Mapping[str, str]:
    """Materialised 8-bit value -> the value whose calibrated threshold makes its scale.

    Absent are those whose scale is inherited, fixed, or bounded by something else than their threshold.
    """
    found: dict[str, str] = {}
    for unit in resolution.units:
        node = graph.by_id[unit.last]
        for value in node.outputs:
            if not value or not _is_byte(values.types[value]):
                continue
            name = _joined(graph, resolution, value)
            own = not _inherits(graph, plan, resolution, values.scales, node, value)
            if own and values.types[value].scale == values.scales.calibrated(name, INTEGER_RANGE["int8"][1]):
                found[value] = name
    return found


def _is_byte(qtype: QType) -> bool:
    return qtype.is_quantised and qtype.dtype == "int8"


def quantised_type(graph: Graph, scale_of: ScaleOf, value: str, dtype: str) -> QType:
    """The type that a float value is quantised to at a seam in front of an integer unit."""
    return QType(dtype, scale_of(value, INTEGER_RANGE[dtype][1]))


def _type_of(
    graph: Graph,
    plan: Plan,
    resolution: Resolution,
    scales: BoundedScales,
    node: Node,
    value: str,
    types: Mapping[str, QType],
) -> QType:
    dtype = resolution.dtypes[value]
    if not graph.types[value].is_float or dtype not in INTEGER_RANGE:
        return model_type(dtype)
    largest = INTEGER_RANGE[dtype][1]
    if _inherits(graph, plan, resolution, scales, node, value):
        (source,) = graph.activations(node)
        incoming = types[source]
        if not incoming.is_quantised:
            incoming = quantised_type(graph, scales, source, dtype)
        factor = node.op.multiplier if isinstance(node.op, Affine) and is_scaling(node) else 1.0
        return QType(incoming.dtype, incoming.scale * factor)
    scale = scales(_joined(graph, resolution, value), largest)
    if isinstance(node.op, Softmax):
        # As a power of two the next one below: 1 is clipped by one step of a hundred, twice the step would cost more.
        one = 1.0 / (largest + 1) if scales.power_of_two else 1.0 / largest
        scale = min(scale, one)
    if isinstance(node.op, Cast) and node.op.source == "bool":
        scale = 1.0 / largest  # so that 1 is exact
        scale = power_of_two_above(scale) if scales.power_of_two else scale
    return QType(dtype, scale)


def _inherits(
    graph: Graph, plan: Plan, resolution: Resolution, scales: BoundedScales, node: Node, value: str
) -> bool:
    """Whether an integer value has the scale of the one that the node moves, or a fixed multiple of it."""
    alone = len(resolution.unit_of[node.id].nodes) == 1
    if not alone or len(graph.activations(node)) != 1 or _adds_values(node):
        return False
    if is_scaling(node) and scales.limit(value, INTEGER_RANGE[resolution.dtypes[value]][1]) is not None:
        return False  # (m - 1) * 1e9: a scale of its own, and a table
    if scales.power_of_two and is_scaling(node) and isinstance(node.op, Affine):
        factor = node.op.multiplier
        if power_of_two_above(factor) != factor:
            return False  # its fixed multiple would be none
    return passes_through(node, resolution.effective[node.id].precision, plan.requested(node.id))


def _joined(graph: Graph, resolution: Resolution, value: str) -> str:
    """The value that ``value`` is concatenated into, if nothing else reads it and the types agree; else itself.

    Quantised at once with the concatenation's scale, it is not rounded a second time, and joining is mere movement.
    """
    while value not in graph.outputs:
        readers = graph.consumers.get(value, ())
        if len(readers) != 1 or not isinstance(readers[0].op, Concat):
            return value
        target = readers[0].outputs[0]
        if resolution.dtypes[target] != resolution.dtypes[value]:
            return value
        value = target
    return value


def _adds_values(node: Node) -> bool:
    """Whether constants join the values that the node passes on (a class token before the patches)."""
    return isinstance(node.op, Concat) and len(node.inputs) > 1
