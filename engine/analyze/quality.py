# pyright: reportUnknownMemberType=false
"""How close a plan comes to the float model at the model's outputs: what every search is judged by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from engine.analyze.errors import interval_of
from engine.analyze.evaluator import Evaluator, Sample
from engine.analyze.felt import felt_values
from engine.analyze.metrics import ErrorSums
from engine.errors import Cancelled
from engine.reports import Interval

if TYPE_CHECKING:
    from engine.session import Session

EXACT_DB = 120.0
"""What an output without any error counts as: beyond all that 16 bits reach."""


@dataclass(frozen=True)
class Quality:
    """The error at the model's outputs, sample by sample.

    ``sums`` has one entry a sample, over all outputs of numbers; ``agreement`` the fraction of predictions (arg max
    over the first output's last axis) that are the float model's, None where that output has no classes. Plans are told
    apart by ``felt``: the same at the values ``places``, in front of a last softmax or sigmoid
    (:mod:`engine.analyze.felt`). Behind it a few samples whose classes flip drown all others. Without places, the
    outputs are meant.
    """

    sums: tuple[ErrorSums, ...]
    agreement: float | None
    felt: tuple[ErrorSums, ...] = ()
    places: tuple[str, ...] = ()

    @cached_property
    def per_sample_db(self) -> tuple[float, ...]:
        """Signal to noise of each sample's outputs, within ±:data:`EXACT_DB`."""
        return _decibels(self.sums)

    @cached_property
    def felt_db(self) -> tuple[float, ...]:
        """The same where it is felt."""
        return _decibels(self.felt) if self.places else self.per_sample_db

    @property
    def output_db(self) -> Interval:
        """Mean over samples, with its 95 % interval."""
        return interval_of(list(self.per_sample_db))

    @property
    def mean_db(self) -> float:
        """Mean over samples of the signal to noise at the outputs."""
        return math.fsum(self.per_sample_db) / max(1, len(self.sums))

    @property
    def loss(self) -> float:
        """To minimise: the mean over samples of log10(noise / signal) where it is felt."""
        return -math.fsum(self.felt_db) / (10.0 * max(1, len(self.sums)))

    def gains_over(self, other: Quality) -> tuple[float, ...]:
        """By how many dB this is better where it is felt, sample by sample; both are over the same samples. Where one
        of two programs does not make the value in front of the softmax: at the outputs."""
        comparable = self.places == other.places
        mine, theirs = (item.felt_db if comparable else item.per_sample_db for item in (self, other))
        return tuple(a - b for a, b in zip(mine, theirs, strict=True))

    def gain_over(self, other: Quality) -> Interval:
        """The mean of these gains, with its 95 % interval."""
        return interval_of(list(self.gains_over(other)))


def _decibels(sums: Sequence[ErrorSums]) -> tuple[float, ...]:
    return tuple(max(-EXACT_DB, min(item.sqnr_db, EXACT_DB)) for item in sums)


def measure(
    session: Session, samples: int | Sequence[Sample] | None = None, cancelled: Callable[[], bool] = lambda: False
) -> Quality:
    """The quality of the session's plan on calibration samples: the first ``samples`` of them (None: all), or those
    given, against the model as imported. What the evaluator has kept of other plans is not computed again.

    Raises:
        CalibrationError, DataError: The session is not calibrated, or has no samples.
        Cancelled: ``cancelled()``, asked before every sample.
    """
    evaluator, program = session.evaluator, session.program()
    chosen = samples if isinstance(samples, Sequence) else session.samples(samples)
    felt = felt_values(session.graph, program.value_of)
    places = tuple(name for name in felt if name not in session.graph.outputs) and felt

    def results() -> Iterator[tuple[Sample, Mapping[str, torch.Tensor]]]:
        for sample in chosen:
            if cancelled():
                raise Cancelled
            outputs = evaluator.outputs(program, sample)
            yield sample, {**{name: evaluator.value(program, sample, name) for name in places}, **outputs}

    return quality_of(session.source_evaluator, results(), places)


def quality_of(
    evaluator: Evaluator,
    results: Iterable[tuple[Sample, Mapping[str, torch.Tensor]]],
    places: tuple[str, ...] = (),
) -> Quality:
    """The quality of a program whose outputs are known: each sample with its outputs by name, and with the values at
    ``places`` as floats."""
    sums: list[ErrorSums] = []
    felt: list[ErrorSums] = []
    agreed: list[float] = []
    for sample, outputs in results:
        sums.append(evaluator.output_error(sample, outputs))
        if places:
            felt.append(evaluator.output_error(sample, outputs, places))
        agreement = _agreement(evaluator, sample, outputs)
        if agreement is not None:
            agreed.append(agreement)
    return Quality(tuple(sums), math.fsum(agreed) / len(agreed) if agreed else None, tuple(felt), places)


def joined(qualities: Sequence[Quality]) -> Quality:
    """The quality of one program over the samples of several."""
    agreements = [quality.agreement for quality in qualities]
    known = [value for value in agreements if value is not None]
    agreement = math.fsum(known) / len(known) if known and len(known) == len(agreements) else None
    sums = tuple(sums for quality in qualities for sums in quality.sums)
    felt = tuple(sums for quality in qualities for sums in quality.felt)
    return Quality(sums, agreement, felt, qualities[0].places if qualities else ())


def _agreement(evaluator: Evaluator, sample: Sample, outputs: Mapping[str, torch.Tensor]) -> float | None:
    first = evaluator.graph.outputs[0]
    kind = evaluator.graph.types[first]
    if not kind.is_float or len(kind.shape) < 2 or kind.shape[-1] < 2:
        return None
    expected, found = (tensor.argmax(-1) for tensor in (evaluator.reference_outputs(sample)[first], outputs[first]))
    return float((expected == found).double().mean())
