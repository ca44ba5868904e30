# pyright: reportUnknownMemberType=false
"""Errors sample by sample, output by output and channel by channel, and where two runs part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from engine.analyze.causes import CauseAnalysis
from engine.analyze.errors import interval_of
from engine.analyze.evaluator import Evaluator, Sample, Watch
from engine.analyze.metrics import NO_SUMS, ErrorSums, error_sums
from engine.errors import Cancelled, PlanError
from engine.plan.types import Resolution
from engine.reports_analysis import (
    ChannelErrors,
    NodeExplanation,
    NodeGap,
    OutputError,
    Parting,
    SampleError,
)

if TYPE_CHECKING:
    from engine.session import Session

EXACT_DB = 120.0
"""What no difference counts as where differences are compared: beyond all that 16 bits reach."""


class NodeStory:
    """What is known of one node's error, sample after sample; see :class:`NodeExplanation`."""

    def __init__(self, session: Session, node: str) -> None:
        """Raises PlanError where the model has no such node, CalibrationError where there is no program."""
        resolution = session.resolve()
        if node not in session.graph.by_id:
            raise PlanError(f"the model has no node '{node}'", hint="list the nodes with `quantscope check`")
        self._evaluator, self._program = session.evaluator, session.program()
        self._node = node
        self._values = _values_of(self._evaluator, resolution, node)
        unit = resolution.unit_of[node].anchor
        self._causes = CauseAnalysis(self._evaluator, self._program, {node: unit})
        self._errors: list[float] = []

    @property
    def samples(self) -> int:
        return len(self._errors)

    def add(self, sample: Sample, cancelled: Watch) -> None:
        """Measure one more sample. Raises Cancelled, leaving what was measured before as it was."""
        accumulated = self._evaluator.accumulated(self._program, sample, cancelled)
        self._causes.add(sample, cancelled)
        self._errors.append(_joined(accumulated, self._values).sqnr_db)

    def steps(self, sample: Sample, cancelled: Watch) -> Iterator[None]:
        """As :meth:`add`, in one step."""
        self.add(sample, cancelled)
        yield

    def report(self) -> NodeExplanation:
        (attribution,) = self._causes.report()
        return NodeExplanation(self._node, attribution, worst_first(self._errors))


def worst_first(errors: Sequence[float]) -> tuple[SampleError, ...]:
    """Samples by their SQNR, the lowest first; of equal ones the earlier."""
    order = sorted(range(len(errors)), key=lambda index: errors[index])
    return tuple(SampleError(i, errors[i] if math.isfinite(errors[i]) else None) for i in order)


def output_errors(session: Session, samples: int, cancelled: Watch) -> tuple[OutputError, ...]:
    """The error of each of the model's outputs that is a number.

    Raises:
        CalibrationError, DataError: The session is not calibrated, or its samples cannot be read.
        Cancelled: ``cancelled()``, asked before every sample.
    """
    evaluator, program, graph = session.evaluator, session.program(), session.graph
    names = [name for name in graph.outputs if graph.types[name].is_float]
    found: dict[str, list[float]] = {name: [] for name in names}
    for sample in _watched(session.samples(samples), cancelled):
        reference, outputs = evaluator.reference_outputs(sample), evaluator.outputs(program, sample)
        for name in names:
            found[name].append(error_sums(reference[name], outputs[name], 1.0).sqnr_db)
    return tuple(
        OutputError(name, graph.producer[name].id if name in graph.producer else "", interval_of(db), worst_first(db))
        for name, db in found.items()
    )


def channel_errors(session: Session, node: str, samples: int, cancelled: Watch) -> ChannelErrors:
    """The accumulated error of each channel of a node's first output: its second axis, or the last one of three
    (tokens), or of what has two at the most.

    Raises:
        PlanError: The model has no such node, or it makes no numbers of its own.
        CalibrationError, DataError: The session is not calibrated, or its samples cannot be read.
        Cancelled: ``cancelled()``, asked before every sample.
    """
    evaluator, program = session.evaluator, session.program()
    if node not in session.graph.by_id:
        raise PlanError(f"the model has no node '{node}'", hint="list the nodes with `quantscope check`")
    values = _values_of(evaluator, session.resolve(), node)
    if not values or values[0] not in program.value_of:
        raise PlanError("makes no numbers that can be compared", node=node)
    value = values[0]
    axis = channel_axis(len(session.graph.types[value].shape))
    noise: list[NDArray[np.float64]] = []
    power: list[NDArray[np.float64]] = []
    for sample in _watched(session.samples(samples), cancelled):
        qtype = program.types[value]
        tensors = (evaluator.reference(sample)[value], evaluator.value(program, sample, value))
        expected, found = (_channels(evaluator.comparable(value, tensor, qtype), axis) for tensor in tensors)
        noise.append(((found - expected) ** 2).sum(axis=1))
        power.append((expected**2).sum(axis=1))
    totals = zip(np.sum(power, axis=0), np.sum(noise, axis=0), strict=True)
    return ChannelErrors(node, axis, len(noise), tuple(_decibels(float(p), float(n)) for p, n in totals))


def _channels(tensor: torch.Tensor, axis: int) -> NDArray[np.float64]:
    """[channels, elements of each]; a number by itself is one channel."""
    array = np.atleast_1d(tensor.double().numpy())
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)


def channel_axis(rank: int) -> int:
    """Where channels are in a value of that rank: [N, C, ...] of pictures, the last axis of tokens and vectors."""
    return 1 if rank > 3 else max(rank - 1, 0)


def parting(session: Session, other: Session, samples: int, cancelled: Watch) -> Parting:
    """Where the integer programs of two sessions of one model part, on the first one's samples.

    Raises:
        PlanError: The sessions are not of one model.
        CalibrationError, DataError: One is not calibrated, or the samples cannot be read.
        Cancelled: ``cancelled()``, asked before every sample.
    """
    if session.graph.digest != other.graph.digest:
        hint = "compare two projects of one model"
        raise PlanError(f"'{session.graph.name}' and '{other.graph.name}' are different models", hint=hint)
    graph = session.graph
    runs = [(each.evaluator, each.program()) for each in (session, other)]
    values = {
        node.id: value
        for node in graph.nodes
        for value in node.outputs[:1]
        if value and graph.types[value].is_float and all(value in program.value_of for _, program in runs)
    }
    gains: dict[str, list[float]] = {node: [] for node in values}
    between: dict[str, list[float]] = {node: [] for node in values}
    count = 0
    for sample in _watched(session.samples(samples), cancelled):
        count += 1
        errors = [evaluator.accumulated(program, sample, cancelled) for evaluator, program in runs]
        for node, value in values.items():
            gains[node].append(_bounded(errors[0][value]) - _bounded(errors[1][value]))
            first, second = (evaluator.value(program, sample, value) for evaluator, program in runs)
            between[node].append(_bounded(error_sums(first, second, 1.0)))
    gaps = tuple(
        NodeGap(node, interval_of(gains[node]), interval_of([db for db in between[node] if db < EXACT_DB]))
        for node in values
    )
    levels = {node: math.fsum(db) / max(count, 1) for node, db in between.items()}
    return Parting(count, _first(levels), _largest(session, levels), gaps)


def _first(levels: Mapping[str, float]) -> str:
    return next((node for node, level in levels.items() if level < EXACT_DB), "")


def _largest(session: Session, levels: Mapping[str, float]) -> str:
    """The node at which the SQNR between the runs falls most below the worst of what it reads."""
    graph = session.graph
    worst, found = 0.0, ""
    for node, level in levels.items():
        sources = (graph.producer[value].id for value in graph.activations(graph.by_id[node]))
        before = min((levels[source] for source in sources if source in levels), default=EXACT_DB)
        if before - level > worst:
            worst, found = before - level, node
    return found


def _values_of(evaluator: Evaluator, resolution: Resolution, node: str) -> list[str]:
    """The numbers that the unit of a node makes."""
    graph = evaluator.graph
    last = graph.by_id[resolution.unit_of[node].last]
    return [value for value in last.outputs if value and graph.types[value].is_float]


def _joined(accumulated: Mapping[str, ErrorSums], values: Iterable[str]) -> ErrorSums:
    return sum((accumulated[value] for value in values if value in accumulated), NO_SUMS)


def _bounded(sums: ErrorSums) -> float:
    return max(-EXACT_DB, min(sums.sqnr_db, EXACT_DB))


def _decibels(power: float, noise: float) -> float | None:
    return 10.0 * math.log10(power / noise) if power > 0.0 and noise > 0.0 else None


def _watched(samples: Iterator[Sample], cancelled: Watch) -> Iterator[Sample]:
    for sample in samples:
        if cancelled():
            raise Cancelled
        yield sample
