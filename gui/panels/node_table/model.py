"""The node table without Qt: columns, filter and sort order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.reports import Interval
from gui.panels import formats
from gui.panels.bounds import bound_title
from gui.panels.facts import NodeFacts, shape_text
from gui.panels.matching import Query, parse

SortKey = float | str | None


@dataclass(frozen=True)
class Column:
    """A column: what it shows of a node, and by what it sorts (None: no value, always last)."""

    key: str
    title: str
    tip: str
    text: Callable[[NodeFacts], str]
    sort_key: Callable[[NodeFacts], SortKey]
    is_numeric: bool = False
    width_characters: int = 12


def _mean(interval: Interval | None) -> float | None:
    """An exact value is the best there is, so it sorts above every other."""
    if interval is None:
        return None
    return math.inf if interval.mean is None else interval.mean


def _introduced_text(facts: NodeFacts) -> str:
    return formats.decibels(facts.error.introduced_db if facts.error else None, exact="adds none")


def _introduced_key(facts: NodeFacts) -> SortKey:
    return _mean(facts.error.introduced_db) if facts.error else None


def _text_column(key: str, title: str, tip: str, read: Callable[[NodeFacts], str], width_characters: int) -> Column:
    return Column(key, title, tip, read, lambda facts: read(facts).lower() or None, width_characters=width_characters)


def _bound(facts: NodeFacts) -> str:
    return bound_title(facts.time.bound) if facts.time else ""


COLUMNS: tuple[Column, ...] = (
    _text_column("name", "Node", "The node's id: its modules and its name", lambda f: f.info.id.lstrip("/"), 34),
    _text_column("op_type", "Operator", "Operator type", lambda f: f.info.op_type, 13),
    _text_column("requested", "Requested", "The precision you asked for", lambda f: f.requested, 11),
    _text_column("effective", "Effective", "What the target makes of it", lambda f: f.effective, 10),
    Column(
        "accumulated",
        "Accumulated dB",
        "SQNR of this node's output with everything quantised as planned, with its 95 % interval",
        lambda f: formats.decibels(f.error.accumulated_db if f.error else None),
        lambda f: _mean(f.error.accumulated_db) if f.error else None,
        is_numeric=True,
        width_characters=15,
    ),
    Column(
        "introduced",
        "Introduced dB",
        "SQNR of what only this node adds, with its 95 % interval",
        _introduced_text,
        _introduced_key,
        is_numeric=True,
        width_characters=15,
    ),
    Column(
        "sensitivity",
        "Sensitivity dB",
        "SQNR of the model's outputs where only this node is in integers, with its 95 % interval; measured while the "
        "overlay of sensitivity is shown (5)",
        lambda f: formats.decibels(f.sensitivity.output_db if f.sensitivity else None, exact="no effect"),
        lambda f: _mean(f.sensitivity.output_db) if f.sensitivity else None,
        is_numeric=True,
        width_characters=15,
    ),
    Column(
        "cosine",
        "Cosine",
        "Cosine between this node's output and the float model's",
        lambda f: formats.cosine(f.error.cosine if f.error else None),
        lambda f: f.error.cosine if f.error else None,
        is_numeric=True,
        width_characters=10,
    ),
    Column(
        "mse",
        "MSE",
        "Mean square error of this node's output",
        lambda f: formats.scientific(f.error.mse if f.error else None),
        lambda f: f.error.mse if f.error else None,
        is_numeric=True,
        width_characters=10,
    ),
    Column(
        "latency",
        "Latency µs",
        "Estimated time on the target; a fused node's time is booked on its unit's anchor",
        lambda f: formats.number(f.time.latency_us if f.time else None),
        lambda f: f.time.latency_us if f.time else None,
        is_numeric=True,
        width_characters=11,
    ),
    _text_column("bound", "Bound by", "What the time goes to", _bound, 9),
    Column(
        "dma",
        "DMA",
        "Bytes moved to and from memory",
        lambda f: formats.size(f.time.dma_bytes if f.time else None),
        lambda f: f.time.dma_bytes if f.time else None,
        is_numeric=True,
        width_characters=10,
    ),
    _text_column("reason", "Reason", "Why effective differs from requested", lambda f: f.reason, 40),
)


class NodeTable:
    """The rows that show, in the order in which they show. ``rows`` are indices into the node ids."""

    def __init__(self) -> None:
        self.ids: tuple[str, ...] = ()
        self.rows: list[int] = []
        self._read: Callable[[str], NodeFacts] = _no_facts
        self._query: Query = parse("")
        self._column: int | None = None
        self._is_descending = False

    @property
    def problem(self) -> str:
        """Why the filter cannot be used; "" when it can."""
        return self._query.problem

    def set_nodes(self, ids: Sequence[str], read: Callable[[str], NodeFacts]) -> None:
        """Show other nodes; ``read`` gives the facts of one."""
        self.ids = tuple(ids)
        self._read = read
        self.arrange()

    def set_filter(self, text: str) -> None:
        self._query = parse(text)
        self.arrange()

    def set_sort(self, column: int | None, is_descending: bool) -> None:
        """Sort by a column; None is the graph's order."""
        self._column, self._is_descending = column, is_descending
        self.arrange()

    @property
    def sorts_by_results(self) -> bool:
        """Whether fresh results can change which rows show, or their order."""
        return self._column is not None or not self._query.is_empty

    def facts(self, row: int) -> NodeFacts:
        return self._read(self.ids[self.rows[row]])

    def node_id(self, row: int) -> str:
        return self.ids[self.rows[row]]

    def row_of(self) -> dict[str, int]:
        """Where each node that shows is."""
        return {self.ids[index]: row for row, index in enumerate(self.rows)}

    def arrange(self) -> None:
        """Filter and sort anew, after the nodes' figures changed."""
        rows = list(range(len(self.ids)))
        if not self._query.is_empty:
            rows = [row for row in rows if self._query.matches(_filtered_text(self._read(self.ids[row])))]
        self.rows = rows if self._column is None else self._sorted(rows, COLUMNS[self._column])

    def _sorted(self, rows: list[int], column: Column) -> list[int]:
        keys = {row: column.sort_key(self._read(self.ids[row])) for row in rows}
        known = [row for row in rows if keys[row] is not None]
        missing = [row for row in rows if keys[row] is None]
        known.sort(key=lambda row: _ordered(keys[row]), reverse=self._is_descending)
        return known + missing


def _ordered(key: SortKey) -> tuple[float, str]:
    """Numbers and texts in one type that can be compared; a column has only one of them."""
    return (0.0, key) if isinstance(key, str) else (key or 0.0, "")


def _no_facts(node_id: str) -> NodeFacts:
    raise KeyError(node_id)


def _filtered_text(facts: NodeFacts) -> str:
    """What the filter looks at."""
    shapes = " ".join(shape_text(shape) for shape in facts.info.shapes)
    parts = (facts.info.id, facts.info.op_type, shapes, facts.requested, facts.effective, _bound(facts), facts.reason)
    return " ".join(parts)
