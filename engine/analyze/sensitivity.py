# pyright: reportUnknownMemberType=false
"""Sensitivity: the error at the model's outputs where only one unit is in integers, and all else in float.

The float model runs once for a sample. Then, for each unit, only what depends on it runs again; several units share one
walk over the graph, as rows of one batch (:mod:`engine.analyze.rows`), so that no weight is read once for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from engine.analyze.errors import interval_of
from engine.analyze.evaluator import Evaluator, Sample, Watch
from engine.analyze.float_units import FloatUnit
from engine.analyze.metrics import NO_SUMS, ErrorSums, error_sums
from engine.analyze.rows import RowModel, Rows, Stacking
from engine.analyze.units import UnitWork
from engine.errors import Cancelled
from engine.graph.graph import Graph
from engine.plan.types import Resolution
from engine.program.types import Program
from engine.reports import Interval
from engine.reports_analysis import NodeSensitivity, Part, Sensitivities

if TYPE_CHECKING:
    from engine.session import Session

_STACKED_ELEMENTS = 2 << 20
"""Of one value in all rows of a walk: 8 MB, which stay near the processor. Smaller walks read weights more often."""

Values = Mapping[str, torch.Tensor]
Variant = Callable[[Evaluator, Program, UnitWork, Sample, Values], Values]
"""A unit's results where a part of it is in integers, fed the float model's values: graph value -> values in float."""


@dataclass(frozen=True, eq=False)
class Perturbation:
    """One row of a walk: which sums it gives (``label``), where it enters, and the values that do."""

    label: bytes
    place: int
    values: Values


class SensitivityAnalysis:
    """Measures sensitivities of one program, sample after sample; a report can be asked for after each.

    ``stacking`` None: the units have a walk each.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        resolution: Resolution,
        program: Program,
        stacking: Stacking | None,
        parts: Collection[Part] = (Part.NODE,),
    ) -> None:
        self._evaluator = evaluator
        self._graph = evaluator.graph
        self._resolution = resolution
        self._program = program
        self.stacking = stacking
        self._rows = RowModel(evaluator.model, stacking)
        self._parts = tuple(parts)
        self._works = [work for work in evaluator.works(program) if work.results and not work.is_exact]
        self._outputs = [value for value in self._graph.outputs if self._graph.types[value].is_float]
        self._places = {node.id: place for place, node in enumerate(self._graph.nodes)}
        self._sizes = _sizes_from(evaluator)
        self._last_reads = _last_reads(evaluator)
        self._measured: dict[tuple[str, Part], list[ErrorSums]] = {}
        self.samples = 0

    def add(self, sample: Sample, cancelled: Watch) -> None:
        """Measure one more sample. Raises Cancelled, leaving what was measured before as it was."""
        for _ in self.steps(sample, cancelled):
            pass

    def steps(self, sample: Sample, cancelled: Watch) -> Iterator[None]:
        """Measure one more sample, a walk over the graph at each step; the sample counts once all are done."""
        labels = {
            (work.unit, part): self._evaluator.label("sensitivity", part, sample.digest, work.digest)
            for work in self._works
            for part in self._parts
        }
        sums = self._evaluator.sums
        missing = [
            (work, part) for work in self._works for part in self._parts if labels[work.unit, part] not in sums
        ]
        if missing:
            reference = self._evaluator.reference(sample)
            for group in self._groups(self._perturbations(sample, reference, missing, labels)):
                self._walk(group, reference, cancelled)
                yield
        for key, label in labels.items():
            found = sums.get(label)
            assert found is not None
            self._measured.setdefault(key, []).append(found)
        self.samples += 1
        yield

    def report(self) -> Sensitivities:
        rows: list[NodeSensitivity] = []
        for node in self._graph.nodes:
            unit = self._resolution.unit_of[node.id].anchor
            found = {part: self._measured[unit, part] for part in self._parts if (unit, part) in self._measured}
            if found:
                first = sum(next(iter(found.values())), NO_SUMS)
                rows.append(
                    NodeSensitivity(
                        id=node.id,
                        output_db=_interval(found.get(Part.NODE)),
                        noise=first.error_squared / max(first.reference_squared, 1e-300),
                        weights_db=_interval(found.get(Part.WEIGHTS)),
                        activations_db=_interval(found.get(Part.ACTIVATIONS)),
                    )
                )
        return Sensitivities(self.samples, tuple(rows))

    def _perturbations(
        self,
        sample: Sample,
        reference: Values,
        missing: Sequence[tuple[UnitWork, Part]],
        labels: Mapping[tuple[str, Part], bytes],
    ) -> Iterator[Perturbation]:
        """The rows to walk with, in the order of the graph. What changes nothing is measured at once."""
        places = {work.unit: self._places[self._graph.producer[work.results[0]].id] for work, _ in missing}
        for work, part in sorted(missing, key=lambda pair: places[pair[0].unit]):
            label = labels[work.unit, part]
            values = VARIANTS[part](self._evaluator, self._program, work, sample, reference)
            if all(torch.equal(values[value], reference[value]) for value in values):
                self._evaluator.sums.put(label, self._errors(reference, {}))
            else:
                yield Perturbation(label, places[work.unit], values)

    def _groups(self, perturbations: Iterator[Perturbation]) -> Iterator[list[Perturbation]]:
        """As many as one walk takes: values of all rows together are bounded in size."""
        group: list[Perturbation] = []
        for item in perturbations:
            is_full = (len(group) + 1) * self._sizes[item.place] > _STACKED_ELEMENTS or not self._rows.stacks
            if group and is_full:
                yield group
                group = []
            group.append(item)
        if group:
            yield group

    def _walk(self, group: Sequence[Perturbation], reference: Values, cancelled: Watch) -> None:
        """Run what depends on the perturbations, each of which enters as a row where its unit's last node is."""
        entering: dict[int, list[tuple[int, Perturbation]]] = {}
        for number, item in enumerate(group):
            entering.setdefault(item.place, []).append((number, item))
        changed: dict[str, Rows] = {}
        for place in range(group[0].place, len(self._graph.nodes)):
            if cancelled():
                raise Cancelled
            node = self._graph.nodes[place]
            if any(value in changed for value in node.inputs):
                changed.update(self._kept(self._rows.run(node, changed, reference), reference))
            for number, item in entering.get(place, ()):
                for value, tensor in item.values.items():
                    changed[value] = self._rows.joined(value, changed.get(value), number, tensor)
            for value in self._last_reads[place]:
                changed.pop(value, None)
        for number, item in enumerate(group):
            found = {
                value: self._rows.row(value, changed[value], number)
                for value in self._outputs
                if value in changed and number in changed[value].numbers
            }
            self._evaluator.sums.put(item.label, self._errors(reference, found))

    def _kept(self, results: Mapping[str, Rows], reference: Values) -> Mapping[str, Rows]:
        """Results that differ from the reference in some row: an index or a truth value seldom does."""
        return {
            value: rows
            for value, rows in results.items()
            if rows.tensor.is_floating_point()
            or any(not torch.equal(self._rows.row(value, rows, n), reference[value]) for n in rows.numbers)
        }

    def _errors(self, reference: Values, found: Values) -> ErrorSums:
        """Error over all outputs; those that are not in ``found`` are the reference's."""
        parts = (error_sums(reference[value], found.get(value, reference[value]), 1.0) for value in self._outputs)
        return sum(parts, NO_SUMS)


def whole_unit(
    evaluator: Evaluator, program: Program, work: UnitWork, sample: Sample, reference: Values
) -> Values:
    """The unit in integers, fed the float model's values quantised, its results in float."""
    values = evaluator.alone(program, work, sample, lambda: reference)
    return {value: _as_float(program, value, values[value], reference[value]) for value in work.results}


def weights_alone(
    evaluator: Evaluator, program: Program, work: UnitWork, sample: Sample, reference: Values
) -> Values:
    """The unit in float with its constants as the integer program has them."""
    unit = FloatUnit.of(evaluator.model, program, work)
    constants = unit.integer_constants()
    if not constants:
        return {value: reference[value] for value in work.results}
    return unit.run({value: reference[value] for value in unit.inputs}, constants)


def activations_alone(
    evaluator: Evaluator, program: Program, work: UnitWork, sample: Sample, reference: Values
) -> Values:
    """The unit in float, its inputs and results rounded to their integers."""
    unit = FloatUnit.of(evaluator.model, program, work)
    return unit.rounded(unit.run(unit.rounded({value: reference[value] for value in unit.inputs}), {}))


VARIANTS: Mapping[Part, Variant] = {
    Part.NODE: whole_unit,
    Part.WEIGHTS: weights_alone,
    Part.ACTIVATIONS: activations_alone,
}


def sensitivity(
    session: Session, samples: int, cancelled: Watch, parts: Collection[Part] = (Part.NODE,)
) -> Sensitivities:
    """Sensitivity of every node of the session's plan over its first ``samples`` calibration samples.

    Raises:
        CalibrationError, DataError: The session is not calibrated, or its samples cannot be read.
        Cancelled: ``cancelled()`` was true between two nodes.
    """
    analysis = analysis_of(session, parts)
    for sample in session.samples(samples):
        analysis.add(sample, cancelled)
    return analysis.report()


def refined(
    session: Session, samples: int, cancelled: Watch, parts: Collection[Part] = (Part.NODE,)
) -> Iterator[Sensitivities]:
    """Sensitivities over 1, 2, 4, ... and at last ``samples`` samples; see :func:`sensitivity`."""
    analysis = analysis_of(session, parts)
    total = session.sample_count(samples)
    for sample in session.samples(total):
        analysis.add(sample, cancelled)
        if analysis.samples == total or analysis.samples & (analysis.samples - 1) == 0:
            yield analysis.report()


def analysis_of(session: Session, parts: Collection[Part] = (Part.NODE,)) -> SensitivityAnalysis:
    """An analysis of the session's plan, to be fed samples one by one. Raises CalibrationError."""
    evaluator = session.evaluator
    stacking = evaluator.stacking(partial(_doubled, session))
    return SensitivityAnalysis(evaluator, session.resolve(), session.program(), stacking, parts)


def _doubled(session: Session) -> Graph | None:
    """The model bound to twice its batch; None where it cannot be."""
    sizes = {session.graph.types[name].shape[:1] for name in session.graph.inputs}
    batch = sizes.pop() if len(sizes) == 1 else ()
    return session.batched_graph(2 * batch[0]) if batch else None


def _as_float(program: Program, value: str, tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A value of the program as the float model would have it."""
    qtype = program.types[value]
    return (tensor.to(torch.float32) * qtype.scale if qtype.is_quantised else tensor).to(like.dtype)


def _interval(sums: list[ErrorSums] | None) -> Interval:
    return Interval(None) if sums is None else interval_of([item.sqnr_db for item in sums])


def _sizes_from(evaluator: Evaluator) -> list[int]:
    """For each place in the graph, the elements of the largest value that is made there or later."""
    graph = evaluator.graph
    sizes = [max((graph.types[v].element_count for v in node.outputs if v), default=0) for node in graph.nodes]
    for place in reversed(range(len(sizes) - 1)):
        sizes[place] = max(sizes[place], sizes[place + 1])
    return sizes


def _last_reads(evaluator: Evaluator) -> list[list[str]]:
    """For each place in the graph, the values that nothing reads after it, model outputs left out."""
    graph = evaluator.graph
    last = {value: place for place, node in enumerate(graph.nodes) for value in (*node.inputs, *node.outputs)}
    found: list[list[str]] = [[] for _ in graph.nodes]
    for value, place in last.items():
        if value not in graph.outputs:
            found[place].append(value)
    return found
