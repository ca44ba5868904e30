"""The table of comparisons without Qt: its rows, and the sentence above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.reports import Agreement, Comparison, Mismatch, Verification
from gui.panels import formats

MOST_VALUES = 200
"""Values listed below a comparison; ``quantscope verify --json`` has all."""

COLUMNS = ("Stage", "Compared with", "Of", "Result", "Values", "Elements", "Differ", "Worst", "First node")
NUMERIC = frozenset({4, 5, 6, 7})
RESULT = 3
WIDTHS = (12, 30, 30, 13, 8, 13, 11, 15, 30)
"""Of the columns, in characters."""

_RESULTS = {
    Agreement.SAME: "✓ same bits",
    Agreement.WITHIN: "✓ within",
    Agreement.DIFFERS: "✗ differs",
    Agreement.UNAVAILABLE: "not compared",
    Agreement.FAILED: "! failed",
}


@dataclass(frozen=True)
class Row:
    """A comparison, or (below it) a value that differs. ``node`` is what a click selects, "" for nothing."""

    texts: tuple[str, ...]
    tip: str
    node: str
    agreement: Agreement
    values: tuple[Row, ...] = ()


def rows_of(found: Verification) -> tuple[Row, ...]:
    """A row for each comparison, with the values that differ below it."""
    return tuple(_row(item, _belonging(item, found.mismatches)) for item in found.comparisons)


def _belonging(comparison: Comparison, mismatches: Sequence[Mismatch]) -> list[Mismatch]:
    """The values of one comparison; where it fails, only those beyond the tolerance."""
    key = comparison.stage, comparison.party, comparison.what
    mine = [item for item in mismatches if (item.stage, item.party, item.what) == key]
    if comparison.agreement is Agreement.DIFFERS:
        return [item for item in mine if item.beyond]
    return mine


def _row(item: Comparison, mismatches: Sequence[Mismatch]) -> Row:
    is_made = item.agreement not in (Agreement.UNAVAILABLE, Agreement.FAILED)
    counts = (item.values, item.elements, item.differing)
    texts = (
        item.stage.value,
        item.party,
        item.what,
        _RESULTS[item.agreement],
        *(formats.count(count if is_made else None) for count in counts),
        _worst(item.worst, item.unit) if is_made else formats.MISSING,
        item.node.lstrip("/") if is_made else item.text,
    )
    values = tuple(_value_row(mismatch, item.agreement) for mismatch in mismatches[:MOST_VALUES])
    return Row(texts, _tip(item), item.node, item.agreement, values)


def _tip(item: Comparison) -> str:
    return f"{item.text}\nfirst: {item.value}" if item.value else item.text


def _value_row(item: Mismatch, agreement: Agreement) -> Row:
    worst = _worst(item.worst, item.unit)
    counts = (formats.count(item.elements), formats.count(item.differing))
    return Row(("", "", item.value, "", "", *counts, worst, item.node.lstrip("/")), item.value, item.node, agreement)


def _worst(value: float, unit: str) -> str:
    if not value:
        return "0"
    text = formats.scientific(value) if value < 1e-3 else formats.number(value)
    return f"{text} {unit.removesuffix('s') if value == 1 else unit}".rstrip()


def summary_of(found: Verification) -> str:
    """One sentence: whether all agree, and if not, where they part first."""
    absent = sum(item.agreement in (Agreement.UNAVAILABLE, Agreement.FAILED) for item in found.comparisons)
    made = _counted(len(found.comparisons) - absent, "comparison")
    on = f"on {_counted(found.samples, 'sample')}"
    left = f"; {absent} could not be made" if absent else ""
    if not found.first_stage:
        return f"No stage differs: {made} {on}{left}."
    where = f" at {found.first_node}" if found.first_node else ""
    return f"The first stage that differs is {found.first_stage}{where} ({made} {on}{left})."


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
