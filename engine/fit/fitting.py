"""The fit of a target's figures to measurements, judged on families of models that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import MeasurementError
from engine.fit.measurements import Measurement
from engine.fit.parameters import Parameter, bounds, fitted_target, free_parameters, spreads
from engine.fit.schedules import Clocked, clocked_models
from engine.fit.search import minimum
from engine.precision import Precision
from engine.target.edit import with_stated_error
from engine.target.figures import Figure
from engine.target.target import StatedError, Target

Vector = NDArray[np.float64]
Progress = Callable[[int, int], None]

PRIOR_WEIGHT = 0.01
"""What the mean of the parameters' squared deviations, in standard deviations, counts beside the mean error."""

_ROUND = 0.05
"""Errors smaller than this count less and less: no measurement is that exact."""

_EVALUATIONS = 1500
_FOLD_EVALUATIONS = 450


@dataclass(frozen=True)
class Quantity:
    """One measured quantity of a row: ``kind`` is 'latency' (of a frame), 'throughput' or 'layer' (a kernel alone).

    ``counts``: whether the fit looks at it."""

    row: Measurement
    kind: str
    measured_us: float
    counts: bool


@dataclass(frozen=True)
class Errors:
    """Of estimates beside measurements. ``mean`` and ``largest`` are of |estimate / measurement - 1|; ``rank`` is
    Spearman's correlation (NaN for fewer than three)."""

    count: int
    mean: float
    largest: float
    rank: float

    @property
    def text(self) -> str:
        rank = "" if np.isnan(self.rank) else f", Spearman {self.rank:.3f}"
        return f"mean {self.mean:.1%}, largest {self.largest:.1%}{rank} ({self.count})"


@dataclass(frozen=True)
class Judged:
    """A measured quantity and its estimates: by the target as it was, by the fit to all rows, and by a fit that has
    not seen the row's family; microseconds a frame."""

    quantity: Quantity
    before_us: float
    fitted_us: float
    unseen_us: float


@dataclass(frozen=True)
class Fit:
    """A target fitted to measurements.

    Attributes:
        target: With its new figures, their sources, and the stated error.
        factors: Parameter to what its time was multiplied with.
        judged: Every measured quantity.
        families: In the order of their first rows.
    """

    target: Target
    factors: Mapping[str, float]
    judged: tuple[Judged, ...]
    families: tuple[str, ...]

    def errors(self, kind: str, estimate: Callable[[Judged], float], family: str | None = None) -> Errors:
        """Errors of one kind of quantity, of one family or all."""
        chosen = [
            item
            for item in self.judged
            if item.quantity.kind == kind and (family is None or item.quantity.row.family == family)
        ]
        return errors_of([estimate(item) for item in chosen], [item.quantity.measured_us for item in chosen])


def fit_target(
    target: Target, rows: Sequence[Measurement], table: Path, progress: Progress = lambda done, total: None
) -> Fit:
    """Fit the figures of a target that its maker did not publish.

    The loss is the mean of |log(estimate / measurement)|, rounded off at zero, and a pull towards the figures that the
    target had. Every family of models is judged by a fit to the others.

    Raises:
        MeasurementError: Fewer than two families, or a row names a node that takes no time.
        QuantscopeError: A model cannot be opened.
    """
    families = tuple(dict.fromkeys(row.family for row in rows))
    if len(families) < 2:
        text = f"holds one family of models, {', '.join(map(repr, families))}: nothing is left to judge a fit by"
        raise MeasurementError(text, path=table, hint="add others, or tell families apart in a column 'family'")
    parameters = free_parameters(target)
    fitter = _Fitter(target, rows, parameters)
    total = len(families) + 1
    progress(0, total)
    everything = np.ones(len(fitter.quantities), np.bool_)
    best = fitter.fit(everything, np.zeros(len(parameters)), _EVALUATIONS)
    unseen = np.zeros(len(fitter.quantities))
    for done, family in enumerate(families, 1):
        progress(done, total)
        inside = np.array([quantity.row.family == family for quantity in fitter.quantities])
        unseen[inside] = fitter.estimates(fitter.fit(~inside, best, _FOLD_EVALUATIONS), inside)[inside]
    progress(total, total)
    before, after = fitter.estimates(np.zeros(len(parameters))), fitter.estimates(best)
    columns = (before.tolist(), after.tolist(), unseen.tolist())
    judged = tuple(Judged(*item) for item in zip(fitter.quantities, *columns, strict=True))
    factors = {parameter.name: float(np.exp(x)) for parameter, x in zip(parameters, best, strict=True)}
    source = f"{len(rows)} measurements of {len(families)} families of models, by quantscope targets fit"
    fit = Fit(fitted_target(target, factors, source), factors, judged, families)
    return replace(fit, target=with_stated_error(fit.target, _stated(fit)))


class _Fitter:
    def __init__(self, target: Target, rows: Sequence[Measurement], parameters: tuple[Parameter, ...]) -> None:
        self.models: dict[tuple[str, Precision], Clocked] = clocked_models(rows, target, parameters)
        self.quantities = tuple(_quantities(rows))
        self.measured_us = np.array([quantity.measured_us for quantity in self.quantities])
        self.low, self.high = bounds(target, parameters)
        self.spreads = spreads(parameters)

    def estimates(self, x: Vector, chosen: NDArray[np.bool_] | None = None) -> Vector:
        """Microseconds of each chosen quantity where times are multiplied by exp(x); 0 for the others."""
        factors = np.exp(x)
        found = np.zeros(len(self.quantities))
        for key, model in self.models.items():
            places = [
                place
                for place, quantity in enumerate(self.quantities)
                if (quantity.row.model, quantity.row.precision) == key and (chosen is None or chosen[place])
            ]
            if places:
                schedule = model.at(factors)
                for place in places:
                    quantity = self.quantities[place]
                    if quantity.row.node:
                        found[place] = model.kernel_us(schedule, quantity.row.node)
                    elif quantity.kind == "throughput":
                        found[place] = model.period_us(schedule)
                    else:
                        found[place] = model.latency_us(schedule)
        return found

    def fit(self, chosen: NDArray[np.bool_], start: Vector, evaluations: int) -> Vector:
        counted = chosen & np.array([quantity.counts for quantity in self.quantities])

        def loss(x: Vector) -> float:
            ratio = np.log(self.estimates(x, counted)[counted] / self.measured_us[counted])
            return float(np.hypot(ratio, _ROUND).mean() + PRIOR_WEIGHT * np.mean((x / self.spreads) ** 2))

        return minimum(loss, start, self.low, self.high, evaluations)


def _unseen_us(item: Judged) -> float:
    return item.unseen_us


def _quantities(rows: Iterable[Measurement]) -> Iterable[Quantity]:
    for row in rows:
        if row.latency_us is not None:
            yield Quantity(row, "layer" if row.node else "latency", row.latency_us, counts=True)
        if row.throughput_fps is not None:
            yield Quantity(row, "throughput", 1e6 / row.throughput_fps, counts=not row.doubt)


def errors_of(estimated: Sequence[float], measured: Sequence[float]) -> Errors:
    """Errors of estimates; all NaN where there are none."""
    if not measured:
        return Errors(0, np.nan, np.nan, np.nan)
    off = np.abs(np.asarray(estimated) / np.asarray(measured) - 1.0)
    rank = _spearman(estimated, measured) if len(measured) > 2 else np.nan
    return Errors(len(measured), float(off.mean()), float(off.max()), rank)


def _spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Correlation of ranks, equal values sharing the mean of theirs."""
    ranks = [_ranks(np.asarray(values)) for values in (first, second)]
    spread = [float(rank.std()) for rank in ranks]
    if min(spread) == 0.0:
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: NDArray[np.float64]) -> Vector:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2.0)[place]


def _stated(fit: Fit) -> StatedError:
    """How far estimates of models are from measurements that the fit has not seen."""
    stated: dict[str, Figure] = {}
    notes: list[str] = []
    for kind in ("throughput", "latency"):
        judged = [item for item in fit.judged if item.quantity.kind == kind]
        if judged:
            errors = fit.errors(kind, _unseen_us)
            text = f"fitted: mean absolute error over {errors.count} models, each predicted without its family"
            stated[kind] = Figure(float(f"{100.0 * errors.mean:.2g}"), "%", text)
            worst = max(judged, key=lambda item: abs(item.unseen_us / item.quantity.measured_us - 1.0))
            rank = "" if np.isnan(errors.rank) else f", Spearman {errors.rank:.2f}"
            notes.append(f"{kind} at most {errors.largest:.0%} off ({worst.quantity.row.model}){rank}")
    if not notes:
        return StatedError(note="Fitted to single layers; never compared with whole models.")
    return StatedError(**stated, note=f"Each model predicted without its family: {'; '.join(notes)}.")
