"""What the inspector says, as rows of text. Qt-free."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.reports import Interval, NodeDetail
from engine.reports_analysis import Cause, CauseShare, NodeExplanation, SampleError
from gui.panels import formats
from gui.panels.bounds import bound_of, bound_title
from gui.panels.facts import NodeFacts, is_markable, shape_text

PRECISIONS = ("auto", "int8", "int16", "lut", "float")


@dataclass(frozen=True)
class Row:
    """A label and its value; ``is_warning`` for what needs the user's eye. ``links`` are parts of the value that can be
    clicked, each with what it stands for."""

    label: str
    value: str
    tip: str = ""
    is_warning: bool = False
    links: tuple[tuple[str, str], ...] = ()


def short_name(name: str) -> str:
    """The last two parts of a node's id or a value's name: enough to know it by."""
    return "/".join(name.strip("/").split("/")[-2:])


def title_of(facts: Sequence[NodeFacts]) -> str:
    """What the panel shows: a node's name, or how many are selected."""
    if not facts:
        return "Nothing selected"
    return short_name(facts[0].info.id) if len(facts) == 1 else f"{len(facts):,} nodes"


def subtitle_of(facts: Sequence[NodeFacts]) -> str:
    """The operator and output shapes of one node; the operators of several, most frequent first."""
    if not facts:
        return "Click a node on the graph, in the table or in the hierarchy."
    if len(facts) == 1:
        info = facts[0].info
        return f"{info.op_type}   {', '.join(shape_text(shape) for shape in info.shapes)}"
    counts = Counter(item.info.op_type for item in facts).most_common()
    listed = [f"{count} × {name}" for name, count in counts[:4]]
    return ", ".join(listed) + (f" and {len(counts) - 4} more kinds" if len(counts) > 4 else "")


def common_request(facts: Iterable[NodeFacts]) -> str:
    """The precision asked for on all nodes; "" where they differ or there are none."""
    requests = {item.requested for item in facts}
    return requests.pop() if len(requests) == 1 else ""


def why_not_markable(facts: Sequence[NodeFacts]) -> str:
    """Why no precision can be asked for; "" when it can."""
    if not facts:
        return "Select a node first"
    if not any(is_markable(item.info) for item in facts):
        return "Inputs and outputs of the graph have no precision of their own"
    return ""


def quantisation_rows(facts: Sequence[NodeFacts], detail: NodeDetail | None) -> list[Row]:
    """Effective precision with its reason, and scales."""
    if len(facts) != 1:
        return _quantisation_summary(facts)
    node = facts[0]
    if node.info.problem:
        tip = "Nothing can be measured or exported while it is there"
        return [Row("Problem", node.info.problem, tip, is_warning=True)]
    if node.plan is None:
        return [Row("Effective", "not resolved yet")]
    dtype = "" if node.plan.dtype == node.plan.effective else f"   in {node.plan.dtype}"
    rows = [Row("Effective", f"{node.plan.effective}{dtype}", is_warning=node.is_refused)]
    if node.plan.reason:
        rows.append(Row("Reason", node.plan.reason, is_warning=node.is_refused))
    if node.plan.fused_into and node.plan.fused_into != node.info.id:
        rows.append(Row("Computed in", node.plan.fused_into, "The node whose kernel computes this one"))
    if node.plan.scale is not None:
        rows.append(Row("Output scale", formats.number(node.plan.scale), "Real value of one integer step"))
    if detail is not None:
        rows += [
            Row("Input scale", f"{formats.number(scale)}   {short_name(name)}", name)
            for name, scale in detail.scales.items()
            if name not in node.info.outputs or node.plan.scale is None
        ]
        rows += _accumulator_rows(detail)
    return rows


def _accumulator_rows(detail: NodeDetail) -> list[Row]:
    """How much of its accumulator the kernel's largest sum can fill."""
    found = detail.accumulator
    if found is None:
        return []
    if found.bits is None or found.headroom_bits is None:
        return [Row("Accumulator", "no proof", f"The sums of {found.instruction} have no bound", is_warning=True)]
    why = f"{found.stage}: at most {found.largest:,}, proved from the {found.proof}"
    return [Row("Accumulator", f"{found.bits} bits, {found.headroom_bits:.1f} to spare", why)]


def region_row(region: str, count: int, state: str, is_legal: bool) -> Row:
    """The fusion region that the node is in, whether it takes effect, and what it saves."""
    return Row("Region", f"{region}, {count} nodes, {state}", "Nodes that run as one kernel", not is_legal)


def error_rows(facts: Sequence[NodeFacts], is_calibrated: bool) -> list[Row]:
    """Errors with their intervals; over several nodes, the worst."""
    if not is_calibrated:
        return [Row("Not measured", "calibrate the model to see errors")]
    measured = [item for item in facts if item.error is not None]
    if not measured:
        return [Row("Not measured", "no errors for this selection yet")]
    if len(facts) > 1:
        return _error_summary(measured)
    error = measured[0].error
    assert error is not None
    rows = [
        Row(
            "Accumulated",
            formats.decibels(error.accumulated_db, unit="dB"),
            "Everything quantised as planned: this node's output against the float model's",
        ),
        Row(
            "Introduced here",
            formats.decibels(error.introduced_db, exact="adds none", unit="dB"),
            "Only what this node adds: integer node on the float model's inputs",
        ),
        *_sensitivity_rows(measured[0]),
        Row("Cosine", formats.cosine(error.cosine)),
        Row("MSE", formats.scientific(error.mse)),
        Row("Largest error", formats.number(error.max_abs)),
    ]
    if error.introduced_mse is not None:
        rows.append(Row("MSE introduced", formats.scientific(error.introduced_mse)))
    return rows


def _sensitivity_rows(facts: NodeFacts) -> list[Row]:
    if facts.sensitivity is None:
        return []
    text = formats.decibels(facts.sensitivity.output_db, exact="no effect", unit="dB")
    return [Row("Sensitivity", text, "Only this node in integers, all else in float: error at the model's outputs")]


CAUSES = {
    Cause.CLIPPING: ("Clipping", "Inputs and results beyond what the largest integer stands for"),
    Cause.INPUT: ("Rounded inputs", "Inputs rounded to their integers"),
    Cause.WEIGHTS: ("Rounded weights", "Weights, biases and constant operands rounded"),
    Cause.REQUANTISATION: ("Rounded result", "The result rounded to its integers"),
    Cause.TABLE: ("Table", "A function by a table, or by other arithmetic that comes near it"),
}
"""What causes are called, and what they mean."""

WORST_SAMPLES = 3


def cause_rows(explanation: NodeExplanation) -> list[Row]:
    """Why the node adds an error, the largest share first, and on which samples its output is worst."""
    found = sorted(explanation.attribution.causes, key=lambda item: -(item.share.mean or 0.0))
    rows = [_cause_row(item) for item in found if item.alone_db.mean is not None]
    if not rows:
        rows = [Row("Introduced here", "nothing: the node adds no error")]
    if explanation.samples:
        worst = explanation.samples[:WORST_SAMPLES]
        links = tuple((f"{item.sample} ({_level(item)})", str(item.sample)) for item in worst)
        tip = "Calibration samples on which this node's output is furthest from the float model's; click to see one"
        text = ", ".join(text for text, _ in links)
        rows.append(Row("Worst samples", text, tip, links=links))
    return rows


def _cause_row(item: CauseShare) -> Row:
    title, meaning = CAUSES[item.cause]
    alone = formats.decibels(item.alone_db, unit="dB")
    return Row(title, _share_text(item.share), f"{meaning}. Alone it leaves {alone}")


def _share_text(share: Interval) -> str:
    if share.mean is None:
        return formats.MISSING
    text = f"{100 * share.mean:.0f}".replace("-0", "0").replace("-", "−")
    return f"{text} %" if share.half_width is None else f"{text} ± {100 * share.half_width:.0f} %"


def _level(item: SampleError) -> str:
    return "exact" if item.sqnr_db is None else f"{item.sqnr_db:.1f} dB".replace("-", "−")


def latency_rows(facts: Sequence[NodeFacts], total_us: float | None) -> list[Row]:
    """Time, share of the model, and what bounds it."""
    timed = [item.time for item in facts if item.time is not None]
    if not timed:
        return [Row("Not estimated", "no timing for this selection yet")]
    latency_us = sum(time.latency_us for time in timed)
    rows = [Row("Estimated", formats.number(latency_us, "µs"))]
    if total_us:
        rows.append(Row("Share of model", formats.percent(latency_us / total_us)))
    if len(timed) == 1:
        bound = timed[0].bound
        found = bound_of(bound)
        rows.append(Row("Bound by", bound_title(bound) or formats.MISSING, found.meaning if found is not None else ""))
        if timed[0].why:
            rows.append(Row("Why", timed[0].why))
    rows.append(Row("Moved by DMA", formats.size(sum(time.dma_bytes for time in timed))))
    rows.append(Row("MACs", formats.count(sum(time.macs for time in timed))))
    return rows


def source_rows(facts: Sequence[NodeFacts]) -> list[Row]:
    """Identity, attributes, tensors and provenance of one node."""
    if len(facts) != 1:
        return [
            Row("Nodes", ", ".join(short_name(item.info.id) for item in facts[:40]) + (" …" if len(facts) > 40 else ""))
        ]
    info = facts[0].info
    rows = [Row("Id", info.id), Row("Operator", info.op_type)]
    if info.namespace:
        rows.append(Row("Module", " / ".join(info.namespace)))
    rows += [Row("Input", name) for name in info.inputs if name]
    rows += [
        Row("Output", f"{name}   {shape_text(shape)} {dtype}")
        for name, shape, dtype in zip(info.outputs, info.shapes, info.dtypes, strict=False)
    ]
    rows += [Row(name, value) for name, value in info.attributes.items()]
    rows += [Row("Made from", source, "Nodes of the source file") for source in info.provenance]
    return rows


def tensor_rows(detail: NodeDetail) -> list[Row]:
    """The range of the node's output on the inspected sample."""
    low, high = detail.float_range
    return [
        Row("Float range", f"{formats.number(low)} … {formats.number(high)}"),
        *_threshold_rows(detail),
    ]


def _threshold_rows(detail: NodeDetail) -> list[Row]:
    rows: list[Row] = []
    if detail.threshold is not None and not math.isnan(detail.threshold):
        rows.append(Row("Clipping at", f"±{formats.number(detail.threshold)}"))
        rows.append(
            Row(
                "Clipped",
                formats.percent(detail.clipped_fraction),
                "Share of the float values beyond what the integers can hold",
                is_warning=detail.clipped_fraction > 0.01,
            )
        )
    return rows


def _quantisation_summary(facts: Sequence[NodeFacts]) -> list[Row]:
    effective = Counter(item.effective or "unknown" for item in facts).most_common()
    rows = [Row("Effective", ", ".join(f"{count} × {name}" for name, count in effective))]
    stopped = [item for item in facts if item.info.problem]
    if stopped:
        names = ", ".join(short_name(item.info.id) for item in stopped[:5]) + (" …" if len(stopped) > 5 else "")
        rows.append(Row("Cannot run", f"{len(stopped)}: {names}", is_warning=True))
    refused = [item for item in facts if item.is_refused]
    if refused:
        names = ", ".join(short_name(item.info.id) for item in refused[:5]) + (" …" if len(refused) > 5 else "")
        rows.append(Row("Not as requested", f"{len(refused)}: {names}", is_warning=True))
    return rows


def _error_summary(measured: Sequence[NodeFacts]) -> list[Row]:
    rows: list[Row] = []
    errors = [(short_name(item.info.id), item.error) for item in measured if item.error is not None]
    accumulated = [
        (e.accumulated_db.mean, name, e.accumulated_db) for name, e in errors if e.accumulated_db.mean is not None
    ]
    introduced = [
        (e.introduced_db.mean, name, e.introduced_db) for name, e in errors if e.introduced_db.mean is not None
    ]
    if accumulated:
        _, name, interval = min(accumulated, key=lambda item: item[0])
        rows.append(Row("Worst accumulated", f"{formats.decibels(interval, unit='dB')}   {name}"))
    if introduced:
        _, name, interval = min(introduced, key=lambda item: item[0])
        rows.append(Row("Worst introduced", f"{formats.decibels(interval, unit='dB')}   {name}"))
    rows.append(Row("Lowest cosine", formats.cosine(min(e.cosine for _, e in errors))))
    return rows
