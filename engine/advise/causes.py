# pyright: reportUnknownMemberType=false
"""Why a unit loses, in words with numbers: read off its float values on one sample, and the scale they were given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.advise.remedies import Site
from engine.analyze.evaluator import Sample
from engine.analyze.metrics import ErrorSums
from engine.precision import Precision
from engine.qtype import INTEGER_RANGE, QType
from engine.reports_advice import Cause, CauseKind

_SMALLEST_SHARE = 0.05
"""Of the error that a unit adds: smaller causes are not named."""

_UNEVEN_CHANNELS = 6.0
"""How many times the median channel's reach the largest one's must be to be named."""

_FEW_LEVELS = 6.0
"""Steps that a typical value (root mean square) has; below this the rounding shows."""

_OUTLIER = 25.0
"""How many times the root mean square the range must be to be laid on outliers."""


@dataclass(frozen=True)
class Evidence:
    """What a unit makes on one sample: its float values, the type they are given, and the error that it adds (mean
    square; None: it adds none)."""

    site: Site
    values: NDArray[np.float64]
    qtype: QType
    added: float | None

    @property
    def threshold(self) -> float:
        return self.qtype.scale * INTEGER_RANGE[self.qtype.dtype][1]

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(self.values**2))) if self.values.size else 0.0

    def share(self, mean_square: float) -> float | None:
        """A mean square as a share of what the unit adds."""
        return min(1.0, mean_square / self.added) if self.added else None

    @property
    def clipped(self) -> NDArray[np.float64]:
        """By how much each value lies beyond the range."""
        return np.maximum(np.abs(self.values) - self.threshold, 0.0)


Look = Callable[[Evidence], Iterator[Cause]]

_LOOKS: list[Look] = []
"""What is looked for, in this order."""


def _look(look: Look) -> Look:
    _LOOKS.append(look)
    return look


def causes_of(site: Site, sample: Sample, added: ErrorSums | None) -> tuple[Cause, ...]:
    """The causes found for a unit, those with the largest share first; none where its output is no quantised value."""
    evaluator, program = site.session.evaluator, site.session.program()
    value = next(iter(site.outputs), "")
    qtype = program.types.get(value)
    if qtype is None or not qtype.is_quantised:
        return ()
    reference = evaluator.comparable(value, evaluator.reference(sample)[value], qtype).detach().numpy()
    return look_for(Evidence(site, reference.astype(np.float64), qtype, added.mse if added is not None else None))


def look_for(evidence: Evidence) -> tuple[Cause, ...]:
    """What the evidence shows, the largest share first."""
    found = [cause for look in _LOOKS for cause in look(evidence)]
    return tuple(sorted(found, key=lambda cause: -(cause.share or 0.0)))


@_look
def _clipping(evidence: Evidence) -> Iterator[Cause]:
    beyond = evidence.clipped
    fraction, lost = float((beyond > 0).mean()), float(np.mean(beyond**2))
    share = evidence.share(lost)
    if fraction and (share or 0.0) >= _SMALLEST_SHARE:
        reach = float(np.abs(evidence.values).max())
        text = f"clips {_percent(fraction)} of its values at ±{evidence.threshold:.3g} (they reach {reach:.3g})"
        yield Cause(CauseKind.CLIPPING, text, share)


@_look
def _requantisation(evidence: Evidence) -> Iterator[Cause]:
    """Rounding to the output's steps alone: a twelfth of a step squared where values are spread over the steps."""
    scale = evidence.qtype.scale
    rounded = evidence.values - np.rint(np.clip(evidence.values / scale, -1e9, 1e9)) * scale
    share = evidence.share(float(np.mean(rounded[evidence.clipped == 0] ** 2)) if evidence.values.size else 0.0)
    if (share or 0.0) >= _SMALLEST_SHARE:
        steps = evidence.rms / scale
        few = f"; a typical value is {steps:.1f} steps" if steps < _FEW_LEVELS else ""
        text = f"rounding of its output to steps of {scale:.3g}{few}"
        yield Cause(CauseKind.REQUANTISATION, text, share)


@_look
def _before_the_output(evidence: Evidence) -> Iterator[Cause]:
    """What neither clipping nor rounding at the output explains came in with weights and inputs, or from a table."""
    scale = evidence.qtype.scale
    at_output = np.clip(np.rint(evidence.values / scale), *INTEGER_RANGE[evidence.qtype.dtype]) * scale
    explained = evidence.share(float(np.mean((evidence.values - at_output) ** 2)))
    if explained is None or 1.0 - explained < _SMALLEST_SHARE:
        return
    site, rest = evidence.site, 1.0 - explained
    if site.session.resolve().effective[site.unit.last].precision is Precision.LUT:
        yield Cause(CauseKind.TABLE, f"its table: {_table_text(evidence)}", rest)
    elif len(site.node.inputs) > 1 and site.node.inputs[1] in site.graph.constants:
        yield Cause(CauseKind.WEIGHTS, "rounding of its weights and of what it reads", rest)
    else:
        yield Cause(CauseKind.INPUT, "rounding of what it reads, amplified", rest)


def _table_text(evidence: Evidence) -> str:
    inputs = evidence.site.inputs
    scale = evidence.site.session.program().types[inputs[0]].scale if inputs else 0.0
    return f"an entry every {scale:.3g} of its input is too coarse for its steepest part"


@_look
def _channels(evidence: Evidence) -> Iterator[Cause]:
    """One scale for all channels leaves few levels to those that are much smaller than the largest."""
    reach = _reach_by_channel(evidence.values)
    if reach is None or len(reach) < 4:
        return
    median, largest = float(np.median(reach)), int(np.argmax(reach))
    if median <= 0.0 or reach[largest] < _UNEVEN_CHANNELS * median:
        return
    levels = min(median, evidence.threshold) / evidence.qtype.scale
    text = (
        f"channel {largest} reaches {reach[largest] / median:.0f}× the median channel (±{reach[largest]:.3g} against "
        f"±{median:.3g}): half of the channels have {levels:.0f} levels or fewer"
    )
    yield Cause(CauseKind.CHANNELS, text)


@_look
def _outliers(evidence: Evidence) -> Iterator[Cause]:
    rms = evidence.rms
    if rms > 0.0 and evidence.threshold > _OUTLIER * rms:
        times = evidence.threshold / rms
        text = f"its range ±{evidence.threshold:.3g} is {times:.0f}× a typical value: outliers set it"
        yield Cause(CauseKind.OUTLIERS, text)


def _reach_by_channel(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The largest magnitude of each channel: of axis 1 of pictures [N, C, H, W], else of the last axis."""
    if values.ndim < 2:
        return None
    axis = 1 if values.ndim in (4, 5) else values.ndim - 1
    others = tuple(index for index in range(values.ndim) if index != axis)
    return np.abs(values).max(axis=others) if values.size else None


def _percent(fraction: float) -> str:
    percent = 100.0 * fraction
    digits = max(0, min(4, 1 - math.floor(math.log10(percent)))) if percent > 0 else 0
    return f"{percent:.{digits}f} %"
