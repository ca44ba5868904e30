"""What the table view says in words. Qt-free."""

from __future__ import annotations

from engine.reports import Interval
from engine.reports_distribution import NodeDistribution, TableCurve
from gui.panels import formats
from gui.panels.histogram.model import percentage

NO_TABLE = "This node is not computed by a look-up table. Select an elementwise function, such as Gelu or Sigmoid."

_NOTHING = 1e-14
"""Of the signal's power: what float arithmetic leaves."""


def why_empty(found: NodeDistribution) -> str:
    return "" if found.table is not None else NO_TABLE


def headline(table: TableCurve) -> str:
    """What the table is."""
    return f"{table.function}: {table.entries} entries, {table.input_dtype} → {table.output_dtype}"


def cost(table: TableCurve) -> str:
    """What the table costs at the model's output, and what it clips."""
    output = formats.decibels(table.output_db, unit="dB")
    ends = f"{formats.number(table.low)} and {formats.number(table.high)}"
    clipped = f"clips {percentage(table.clipped)} of its inputs, at {ends}"
    return f"model output with only this table in integers: {output}; {clipped}"


def parts(table: TableCurve) -> tuple[tuple[str, str], ...]:
    """The parts of the error at the table's output, in the order in which they arise: name, and share of the values."""
    rows = (
        ("clipped inputs", table.clipping_power),
        ("rounded inputs", table.rounding_power),
        ("entries and output", table.entries_power),
    )
    return tuple((name, _relative(power, table.signal_power)) for name, power in rows)


def parts_text(table: TableCurve) -> str:
    """All parts in one line."""
    return "Error at its output, of its values: " + ", ".join(f"{name} {text}" for name, text in parts(table))


def _relative(power: Interval, signal: Interval) -> str:
    """A noise as a percentage of the signal's root mean square, with its interval."""
    if not power.mean or not signal.mean or power.mean / signal.mean < _NOTHING:
        return "none"
    root = 100.0 * (power.mean / signal.mean) ** 0.5
    half = None if power.half_width is None else 0.5 * root * power.half_width / power.mean
    return percentage(Interval(root, half))
