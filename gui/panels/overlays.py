"""The heat maps: where each takes its figures from, and on which scale they are painted. Qt-free."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from types import MappingProxyType

from gui.canvas.scene import HeatScale
from gui.document.document import Document
from gui.document.overlay import Overlay
from gui.document.results import Results
from gui.panels.bounds import BOUNDS, bound_of
from gui.panels.facts import is_markable

NONE = float("nan")

SQNR_SPAN_DB = 12.0
"""At least this much of the decibel axis is shown, so that small differences do not look dramatic."""

SQNR_CEILING_DB = 60.0
"""Nobody needs to tell apart what is better than this."""

MEDIANS_SHOWN = 2.0
"""How far the axis reaches, as a multiple of the way from the worst node to the median one: the median is in the
middle of the colours, so that the worst stand out however few nodes are very good."""

LATENCY_DECADES = 3.0


@dataclass(frozen=True)
class Heat:
    """A heat map: a value per node (nodes without one stay neutral), and how values become colours."""

    values: Mapping[str, float]
    scale: HeatScale | None = None
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """What each node counts for where the scale has categories, which have no order of their own."""


@dataclass(frozen=True)
class OverlaySpec:
    """One kind of heat map.

    ``includes_io`` is whether the graph's inputs and outputs take part: the time booked on them is what
    every inference costs at least, nothing that a choice on the graph could change, and it would drown
    all the rest.
    """

    overlay: Overlay
    title: str
    meaning: str
    includes_io: bool
    read: Callable[[Results, str], float]
    scale: Callable[[str, list[float]], HeatScale]
    weigh: Callable[[Results, str], float] | None = None


def _accumulated_db(results: Results, node_id: str) -> float:
    error = results.measured.nodes.get(node_id)
    return NONE if error is None or error.accumulated_db.mean is None else error.accumulated_db.mean


def _introduced_db(results: Results, node_id: str) -> float:
    error = results.measured.nodes.get(node_id)
    return NONE if error is None or error.introduced_db.mean is None else error.introduced_db.mean


def _sensitivity_db(results: Results, node_id: str) -> float:
    found = results.sensed.nodes.get(node_id)
    return NONE if found is None or found.output_db.mean is None else found.output_db.mean


def _latency_us(results: Results, node_id: str) -> float:
    time = results.timed.nodes.get(node_id)
    return NONE if time is None or time.latency_us <= 0 else time.latency_us


def _bound(results: Results, node_id: str) -> float:
    """The number of what bounds a node, in the order of the legend."""
    time = results.timed.nodes.get(node_id)
    bound = bound_of(time.bound) if time is not None and time.latency_us > 0 else None
    return NONE if bound is None else float(list(BOUNDS).index(bound.key))


def _bound_scale(label: str, values: list[float]) -> HeatScale:
    return HeatScale.of_categories(tuple(bound.title for bound in BOUNDS.values()), label, "bounds")


def _sqnr_scale(label: str, values: list[float]) -> HeatScale:
    """From the worst value to about twice as far as the median; lower is worse."""
    worst = math.floor(min(values))
    far_enough = worst + math.ceil(MEDIANS_SHOWN * (median(values) - worst))
    best = max(worst + SQNR_SPAN_DB, min(far_enough, math.ceil(max(values)), SQNR_CEILING_DB))
    return HeatScale(worst, best, label=label, unit="dB", higher_is_worse=False)


def _latency_scale(label: str, values: list[float]) -> HeatScale:
    """From the slowest down, three decades at most and the median in the middle at least, on a log axis: a few
    nodes that cost next to nothing do not make all others look slow. Higher is worse.
    """
    slowest = max(values)
    fastest = max(min(values), slowest / 10**LATENCY_DECADES, median(values) ** 2 / slowest)
    return HeatScale(fastest, slowest, log=True, label=label, unit="µs")


OVERLAYS: Mapping[Overlay, OverlaySpec] = {
    spec.overlay: spec
    for spec in (
        OverlaySpec(
            Overlay.ACCUMULATED,
            "Accumulated error",
            "Everything quantised as planned: this node's output against the float model's (SQNR, lower is worse)",
            True,
            _accumulated_db,
            _sqnr_scale,
        ),
        OverlaySpec(
            Overlay.INTRODUCED,
            "Introduced here",
            "Only what this node adds: integer node on the float model's inputs (SQNR, lower is worse)",
            True,
            _introduced_db,
            _sqnr_scale,
        ),
        OverlaySpec(
            Overlay.SENSITIVITY,
            "Sensitivity",
            "Only this node in integers, all else in float: the model's outputs against the float model's (SQNR, lower "
            "is worse); measured while it is shown",
            True,
            _sensitivity_db,
            _sqnr_scale,
        ),
        OverlaySpec(
            Overlay.LATENCY,
            "Latency",
            "Estimated time of the node on the target, log scale; fused nodes show their unit's time",
            False,
            _latency_us,
            _latency_scale,
        ),
        OverlaySpec(
            Overlay.BOUND,
            "Bound by",
            "What the node's time goes to; a module shows what most of its time goes to",
            False,
            _bound,
            _bound_scale,
            weigh=_latency_us,
        ),
    )
}


def heat_of(document: Document, overlay: Overlay) -> Heat:
    """The heat map of the open graph; without a scale where there is nothing to show."""
    spec = OVERLAYS.get(overlay)
    if spec is None or document.graph is None:
        return Heat({})
    shown = [info.id for info in document.graph.nodes if spec.includes_io or is_markable(info)]
    values = _with_units(document, {node_id: spec.read(document.results, node_id) for node_id in shown})
    known = {node_id: value for node_id, value in values.items() if not math.isnan(value)}
    if not known:
        return Heat({})
    return Heat(known, spec.scale(spec.title, list(known.values())), _weights(document, spec))


def _weights(document: Document, spec: OverlaySpec) -> Mapping[str, float]:
    """Only of nodes with a figure of their own: that of a unit counts once."""
    if spec.weigh is None:
        return {}
    found = {node_id: spec.weigh(document.results, node_id) for node_id in document.nodes}
    return {node_id: weight for node_id, weight in found.items() if not math.isnan(weight)}


def worst_first(heat: Heat) -> list[str]:
    """Ids of the nodes with a value, worst first."""
    if heat.scale is not None and heat.scale.categories:
        return sorted(heat.values, key=lambda node_id: -heat.weights.get(node_id, 0.0))
    sign = -1.0 if heat.scale is not None and heat.scale.higher_is_worse else 1.0
    return sorted(heat.values, key=lambda node_id: sign * heat.values[node_id])


def _with_units(document: Document, values: dict[str, float]) -> dict[str, float]:
    """Nodes without a value of their own take that of the unit they are fused into."""
    unit_of = document.results.resolved.unit
    of_unit: dict[str, float] = {}
    for node_id, value in values.items():
        if not math.isnan(value):
            of_unit.setdefault(unit_of(node_id), value)
    return {
        node_id: of_unit.get(unit_of(node_id), NONE) if math.isnan(value) else value
        for node_id, value in values.items()
    }
