# pyright: reportUnknownMemberType=false
"""Why a unit loses, in words with numbers: the shares of :mod:`engine.analyze.causes` with what one sample shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from engine.advise.remedies import Site
from engine.analyze.evaluator import Sample
from engine.qtype import INTEGER_RANGE, QType
from engine.quantise.causes import ChannelCauses
from engine.reports_advice import Cause, CauseKind
from engine.reports_analysis import Attribution
from engine.reports_analysis import Cause as Step

_SMALLEST_SHARE = 0.05
"""Of the error that a unit adds: smaller causes are not named."""

_FEW_LEVELS = 6.0
"""Steps that a typical value (root mean square) has; below this the rounding shows."""

_OUTLIER = 25.0
"""How many times the root mean square the range must be to be laid on outliers."""


@dataclass(frozen=True)
class Evidence:
    """What a unit makes on one sample: its float values and the type they are given, and the scale of what it reads."""

    values: NDArray[np.float64]
    qtype: QType
    in_scale: float | None = None

    @property
    def threshold(self) -> float:
        return self.qtype.scale * INTEGER_RANGE[self.qtype.dtype][1]

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(self.values**2))) if self.values.size else 0.0


def causes_of(site: Site, sample: Sample, attribution: Attribution, channels: ChannelCauses) -> tuple[Cause, ...]:
    """The causes of what a unit adds, those with the largest share first, then what its channels and outliers show."""
    evidence = evidence_of(site, sample)
    if evidence is None:
        return ()
    shares = {item.cause: item.share.mean or 0.0 for item in attribution.causes}
    found = [in_words(step, share, evidence) for step, share in shares.items() if share >= _SMALLEST_SHARE]
    found.sort(key=lambda cause: -(cause.share or 0.0))
    shown = channels.of(site.unit.anchor)
    return (*found, *shown, *(() if shown else outliers(evidence)))


def evidence_of(site: Site, sample: Sample) -> Evidence | None:
    """What a sample shows of a unit; None where its output is no quantised value."""
    evaluator, types = site.session.evaluator, site.session.program().types
    value = next(iter(site.outputs), "")
    qtype = types.get(value)
    if qtype is None or not qtype.is_quantised:
        return None
    reference = evaluator.comparable(value, evaluator.reference(sample)[value], qtype).detach().numpy()
    read = types.get(site.inputs[0]) if site.inputs else None
    return Evidence(reference.astype(np.float64), qtype, None if read is None else read.scale)


def in_words(step: Step, share: float, evidence: Evidence) -> Cause:
    """A cause with its numbers."""
    kind, text = _WORDS[step]
    return Cause(kind, text(evidence), share)


def _clipping(evidence: Evidence) -> str:
    beyond = np.abs(evidence.values) > evidence.threshold
    if not beyond.any():
        return "clips what it reads"
    reach = float(np.abs(evidence.values).max())
    return f"clips {_percent(float(beyond.mean()))} of its values at ±{evidence.threshold:.3g} (they reach {reach:.3g})"


def _input(evidence: Evidence) -> str:
    steps = "" if evidence.in_scale is None else f" to steps of {evidence.in_scale:.3g}"
    return f"rounding of what it reads{steps}"


def _weights(evidence: Evidence) -> str:
    return "rounding of its weights"


def _requantisation(evidence: Evidence) -> str:
    scale = evidence.qtype.scale
    steps = evidence.rms / scale
    few = f"; a typical value is {steps:.1f} steps" if steps < _FEW_LEVELS else ""
    return f"rounding of its output to steps of {scale:.3g}{few}"


def _table(evidence: Evidence) -> str:
    if evidence.in_scale is None:
        return "its table is too coarse"
    return f"its table: an entry every {evidence.in_scale:.3g} of its input is too coarse where it is steep"


_WORDS: Mapping[Step, tuple[CauseKind, Callable[[Evidence], str]]] = MappingProxyType(
    {
        Step.CLIPPING: (CauseKind.CLIPPING, _clipping),
        Step.INPUT: (CauseKind.INPUT, _input),
        Step.WEIGHTS: (CauseKind.WEIGHTS, _weights),
        Step.REQUANTISATION: (CauseKind.REQUANTISATION, _requantisation),
        Step.TABLE: (CauseKind.TABLE, _table),
    }
)


def outliers(evidence: Evidence) -> tuple[Cause, ...]:
    """Single values that set the range of all others."""
    rms = evidence.rms
    if rms == 0.0 or evidence.threshold <= _OUTLIER * rms:
        return ()
    times = evidence.threshold / rms
    text = f"its range ±{evidence.threshold:.3g} is {times:.0f}× a typical value: outliers set it"
    return (Cause(CauseKind.OUTLIERS, text),)


def _percent(fraction: float) -> str:
    percent = 100.0 * fraction
    digits = max(0, min(4, 1 - math.floor(math.log10(percent)))) if percent > 0 else 0
    return f"{percent:.{digits}f} %"
