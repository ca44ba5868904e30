"""The compiler's options and answers without Qt."""

from __future__ import annotations

from dataclasses import dataclass

from engine.plan.compile_options import Goal, Level
from engine.reports import Compilation, PassReport
from gui.document.document import Document
from gui.panels import formats
from gui.panels.inspector.model import Row
from gui.panels.regions import state_text


@dataclass(frozen=True)
class Option:
    """A value to choose, with its button's text and tool tip."""

    value: str
    title: str
    tip: str


GOALS = (
    Option(Goal.LATENCY, "Latency", "Where time and DDR traffic disagree, take less time"),
    Option(Goal.BALANCED, "Balanced", "Weigh time against DDR traffic"),
    Option(Goal.BANDWIDTH, "Bandwidth", "Where time and DDR traffic disagree, move fewer bytes"),
)
LEVELS = (
    Option(Level.O0, "O0", "Every unit as it stands, from and to DDR"),
    Option(Level.O1, "O1", "Remove data movement, keep values on the chip"),
    Option(Level.O2, "O2", "O1, and fuse units into kernels"),
    Option(Level.O3, "O3", "O2, and search fusions and memory plans"),
)

_UNITS = {"B": "bytes", "us": "µs"}


def weight_text(weight: float) -> str:
    """What the slider says: how much each side counts."""
    percent = round(100 * weight)
    return f"time {100 - percent} %, DDR traffic {percent} %"


def status_text(document: Document) -> str:
    """Why there is nothing to see, or that it is about an older plan; "" for neither."""
    if not document.is_open:
        return "Open a model to see what the compiler makes of it."
    compiled = document.results.compiled
    if document.is_compiled:
        return f"The model cannot be compiled: {compiled.problem}" if compiled.problem else ""
    return "Compiling …" if compiled.compilation is None else "Being updated: the figures are of the plan before."


def totals_rows(compilation: Compilation) -> list[Row]:
    """What the compiled model costs, and how well its memory is planned."""
    memory = compilation.memory
    before, after = compilation.layout_bytes
    rows = [
        Row("Latency", formats.number(compilation.latency_ms, "ms"), compilation.stated_error),
        Row("Throughput", f"{formats.number(compilation.throughput_fps)} frames/s", compilation.stated_error),
        Row("DDR traffic", formats.size(compilation.ddr_bytes), "Bytes moved to and from DDR in one frame"),
        Row("Data movement", _change(before, after, "B"), "Bytes that layout operators read and write"),
        Row(
            "On-chip peak",
            f"{formats.size(memory.peak_bytes)} of {formats.size(memory.capacity_bytes)}",
            f"Planned by {memory.planner}",
            memory.peak_bytes > memory.capacity_bytes,
        ),
    ]
    if memory.lower_bound_bytes:
        ratio = memory.peak_bytes / memory.lower_bound_bytes
        bound = formats.size(memory.lower_bound_bytes)
        rows.append(Row("Peak ÷ bound", f"{ratio:.2f}", f"No plan needs less than {bound}"))
    rows.append(Row("Stated error", compilation.stated_error, "How far this target's times are known to be off"))
    return rows


def pass_rows(compilation: Compilation) -> list[Row]:
    """What each pass did, in the order in which they ran."""
    return [Row(report.name.capitalize(), _pass_text(report), report.text) for report in compilation.passes]


def region_rows(document: Document) -> list[Row]:
    """The fusion regions of the plan, and whether each takes effect on this target with these options."""
    resolved = document.results.resolved.regions
    rows: list[Row] = []
    for name, nodes in document.plan.regions:
        region = resolved.get(name)
        state = state_text(region, None)
        rows.append(Row(name, f"{len(nodes)} nodes, {state}", "", region is not None and not region.legal))
    return rows


def _pass_text(report: PassReport) -> str:
    if report.after is None or report.before is None:
        return report.text
    return f"{report.text}\n{_change(report.before, report.after, report.unit)}"


def _change(before: float, after: float, unit: str) -> str:
    """Before → after, with the change as a percentage where there is one."""
    text = f"{_figure(before, unit)} → {_figure(after, unit)}"
    if not before or before == after:
        return text
    percent = 100 * (after - before) / before
    return f"{text}  ({'+' if percent > 0 else '−'}{abs(percent):.0f}\u00a0%)"


def _figure(value: float, unit: str) -> str:
    if unit == "B" or unit.startswith("B "):
        return f"{formats.size(value)}{unit[1:]}"
    return formats.number(value, _UNITS.get(unit, unit))
