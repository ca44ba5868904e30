"""Per-node errors over several samples, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.analyze.evaluator import Evaluator, Sample, Watch
from engine.analyze.metrics import NO_SUMS, ErrorSums
from engine.analyze.streaming import Stream
from engine.graph.graph import Graph
from engine.plan.types import Resolution
from engine.program.types import Program
from engine.reports import Errors, Interval, NodeError

_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""Student's t, 97.5 % quantile, for 1 to 15 degrees of freedom; 1.96 beyond is within 8 %."""


def interval_of(values: list[float]) -> Interval:
    """Mean and 95 % half width of values in decibels; infinite ones (exact, or a vanished reference) are left out."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Interval(None)
    mean = math.fsum(finite) / len(finite)
    if len(finite) == 1:
        return Interval(mean)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in finite) / (len(finite) - 1))
    width = relative_half_width(len(finite))
    return Interval(mean, None if width is None else width * deviation)


def relative_half_width(count: int) -> float | None:
    """Half of the 95 % interval of a mean of ``count`` values, in their standard deviations; None for one value."""
    if count < 2:
        return None
    quantile = _T_975[count - 2] if count - 1 <= len(_T_975) else 1.96
    return quantile / math.sqrt(count)


@dataclass
class NodeRecord:
    """What was measured of one node, a sample at a time."""

    accumulated_db: list[float] = field(default_factory=list[float])
    introduced_db: list[float] = field(default_factory=list[float])
    accumulated: ErrorSums = NO_SUMS
    introduced: ErrorSums = NO_SUMS

    def add(self, accumulated: ErrorSums, introduced: ErrorSums | None) -> None:
        self.accumulated_db.append(accumulated.sqnr_db)
        self.accumulated = self.accumulated + accumulated
        if introduced is not None:
            self.introduced_db.append(introduced.sqnr_db)
            self.introduced = self.introduced + introduced

    def report(self, node_id: str) -> NodeError:
        added = bool(self.introduced_db)
        return NodeError(
            id=node_id,
            accumulated_db=interval_of(self.accumulated_db),
            introduced_db=interval_of(self.introduced_db),
            cosine=self.accumulated.cosine,
            mse=self.accumulated.mse,
            max_abs=self.accumulated.max_abs,
            introduced_mse=self.introduced.mse if added else None,
        )


class ErrorAnalysis:
    """Accumulates errors of one program, sample after sample; a report can be asked for after each.

    ``samples`` is how many there are going to be, if that is known. Where they are more than the evaluator keeps, what
    is computed of them is not kept: the errors are.
    """

    def __init__(
        self, evaluator: Evaluator, resolution: Resolution, program: Program, samples: int | None = None
    ) -> None:
        self._evaluator = evaluator
        is_kept = samples is None or evaluator.keeps(samples)
        self._stream = None if is_kept else Stream(evaluator, program)
        self._graph: Graph = evaluator.graph
        self._resolution = resolution
        self._program = program
        self._records: dict[str, NodeRecord] = {}
        self._output_db: list[float] = []
        self.samples = 0

    @property
    def keeps(self) -> bool:
        """Whether what is computed of samples is kept."""
        return self._stream is None

    def add(self, sample: Sample, cancelled: Watch) -> None:
        """Measure one more sample. Raises Cancelled, leaving what was measured before as it was."""
        accumulated, introduced = self._measured(sample, cancelled)
        outputs = [accumulated[value] for value in self._graph.outputs if value in accumulated]
        for node in self._graph.nodes:
            unit = self._resolution.unit_of[node.id]
            values = [value for value in self._graph.by_id[unit.last].outputs if value in accumulated]
            if values:
                record = self._records.setdefault(node.id, NodeRecord())
                record.add(sum((accumulated[value] for value in values), NO_SUMS), introduced.get(unit.anchor))
        if outputs:
            self._output_db.append(sum(outputs, NO_SUMS).sqnr_db)
        self.samples += 1

    def _measured(
        self, sample: Sample, cancelled: Watch
    ) -> tuple[Mapping[str, ErrorSums], Mapping[str, ErrorSums]]:
        """Accumulated errors by value, introduced ones by unit."""
        if self._stream is not None:
            return self._stream.measure(sample, cancelled)
        accumulated = self._evaluator.accumulated(self._program, sample, cancelled)
        return accumulated, self._evaluator.introduced(self._program, sample, cancelled)

    def report(self) -> Errors:
        nodes = tuple(record.report(node_id) for node_id, record in self._records.items())
        return Errors(self.samples, interval_of(self._output_db), nodes)
