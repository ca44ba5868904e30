# pyright: reportUnknownMemberType=false
"""Why a unit's results differ from the float model's: the introduced error taken apart by cause.

Causes are added one at a time to the unit in float arithmetic, fed the float model's values, in this order: inputs
clipped, inputs rounded, constants rounded, results clipped, results rounded, and at last the integer program itself.
Each step changes the results by some d_k; the sum of all d_k is the introduced error e. The share of a step is
<d_k, e> / <e, e>: the shares sum to 1 exactly, and what two steps have in common counts half to each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from engine.analyze.errors import interval_of
from engine.analyze.evaluator import Evaluator, Sample, Watch
from engine.analyze.float_units import FloatUnit
from engine.analyze.units import UnitWork
from engine.errors import Cancelled
from engine.program.types import (
    DivideScaled,
    IntegerLayerNorm,
    IntegerSoftmax,
    Logarithm,
    Program,
    ResizeLinear,
    SquareRoot,
    Table8,
    Table16,
)
from engine.reports import Interval
from engine.reports_analysis import Attribution, Cause, CauseShare

if TYPE_CHECKING:
    from engine.session import Session

APPROXIMATING = (
    Table8, Table16, IntegerSoftmax, IntegerLayerNorm, Logarithm, SquareRoot, DivideScaled, ResizeLinear,
)  # fmt: skip
"""Instructions that come near a function. Others are exact but for the rounding of their results."""

Values = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Decomposition:
    """The introduced error of one unit on one sample, as sums over elements.

    Attributes:
        error: <e, e>.
        reference: The float results' power.
        shared: <d_k, e> of each cause: these sum to ``error``.
        alone: <d_k, d_k> of each cause.
    """

    error: float
    reference: float
    shared: Mapping[Cause, float]
    alone: Mapping[Cause, float]


def decomposed(
    evaluator: Evaluator, program: Program, work: UnitWork, sample: Sample, reference: Values
) -> Decomposition:
    """The error that a unit introduces on one sample, by cause."""
    steps = _steps(evaluator, program, work, sample, reference)
    flat = [(cause, _flat(evaluator, program, work, values)) for cause, values in steps]
    start, last = flat[0][1], flat[-1][1]
    error = last - start
    changes: dict[Cause, torch.Tensor] = {}
    for (_, before), (cause, after) in pairwise(flat):
        change = after - before
        changes[cause] = changes[cause] + change if cause in changes else change
    return Decomposition(
        float(error @ error),
        float(start @ start),
        {cause: float(change @ error) for cause, change in changes.items()},
        {cause: float(change @ change) for cause, change in changes.items()},
    )


def _steps(
    evaluator: Evaluator, program: Program, work: UnitWork, sample: Sample, reference: Values
) -> Iterable[tuple[Cause, Values]]:
    """The unit's results with one cause more at each step, from the float model's own (whose cause means nothing)."""
    unit = FloatUnit.of(evaluator.model, program, work)
    inputs = {value: reference[value] for value in unit.inputs}
    yield Cause.CLIPPING, {value: reference[value] for value in work.results}
    yield Cause.CLIPPING, unit.run(unit.clipped(inputs), {})
    rounded = unit.rounded(inputs)
    yield Cause.INPUT, unit.run(rounded, {})
    results = unit.run(rounded, unit.integer_constants())
    yield Cause.WEIGHTS, results
    yield Cause.CLIPPING, unit.clipped(results)
    yield Cause.REQUANTISATION, unit.rounded(results)
    integers = evaluator.alone(program, work, sample, lambda: reference)
    approximates = any(isinstance(item.op, APPROXIMATING) for item in work.instructions)
    made = {value: integers[value].to(torch.float32) * program.types[value].scale for value in work.results}
    yield Cause.TABLE if approximates else Cause.REQUANTISATION, made


def _flat(evaluator: Evaluator, program: Program, work: UnitWork, values: Values) -> torch.Tensor:
    """All results that are numbers, behind each other, as errors see them."""
    parts = [evaluator.comparable(value, values[value], program.types[value]) for value in work.measured]
    return torch.cat([part.reshape(-1).double() for part in parts])


class CauseAnalysis:
    """Takes apart what chosen units introduce, sample after sample; a report can be asked for after each."""

    def __init__(self, evaluator: Evaluator, program: Program, nodes: Mapping[str, str]) -> None:
        """``nodes`` maps the id of each node that is asked about to its unit's."""
        self._evaluator = evaluator
        self._program = program
        self._nodes = nodes
        wanted = set(nodes.values())
        self._works = [w for w in evaluator.works(program) if w.unit in wanted and w.measured and not w.is_exact]
        self._found: dict[str, list[Decomposition]] = {work.unit: [] for work in self._works}
        self.samples = 0

    def add(self, sample: Sample, cancelled: Watch) -> None:
        """Measure one more sample. Raises Cancelled, leaving what was measured before as it was."""
        reference = self._evaluator.reference(sample)
        found: dict[str, Decomposition] = {}
        for work in self._works:
            if cancelled():
                raise Cancelled
            found[work.unit] = decomposed(self._evaluator, self._program, work, sample, reference)
        for unit, item in found.items():
            self._found[unit].append(item)
        self.samples += 1

    def report(self) -> tuple[Attribution, ...]:
        """One record for each node, in the order asked for; nodes that add no error have no causes."""
        return tuple(
            Attribution(node, self.samples, _introduced(items), _shares(items))
            for node, unit in self._nodes.items()
            for items in (self._found.get(unit, []),)
        )


def _introduced(items: Sequence[Decomposition]) -> Interval:
    return interval_of([_decibels(item.reference, item.error) for item in items])


def _shares(items: Sequence[Decomposition]) -> tuple[CauseShare, ...]:
    noisy = [item for item in items if item.error > 0.0]
    return tuple(
        CauseShare(
            cause,
            interval_of([item.shared.get(cause, 0.0) / item.error for item in noisy]),
            interval_of([_decibels(item.reference, item.alone.get(cause, 0.0)) for item in noisy]),
        )
        for cause in Cause
        if any(cause in item.shared for item in noisy)
    )


def _decibels(reference: float, error: float) -> float:
    if error == 0.0:
        return math.inf
    return 10.0 * math.log10(reference / error) if reference else -math.inf


def attribute(
    session: Session, nodes: Sequence[str] | None, samples: int, cancelled: Watch
) -> tuple[Attribution, ...]:
    """What each of the nodes (None: all) introduces on the session's first ``samples`` samples, by cause.

    Raises:
        CalibrationError, DataError: The session is not calibrated, or its samples cannot be read.
        Cancelled: ``cancelled()`` was true between two units.
    """
    units = session.resolve().unit_of
    chosen = [node.id for node in session.graph.nodes] if nodes is None else nodes
    analysis = CauseAnalysis(session.evaluator, session.program(), {node: units[node].anchor for node in chosen})
    for sample in session.samples(samples):
        analysis.add(sample, cancelled)
    return analysis.report()
