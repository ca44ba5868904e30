"""What the adviser on accuracy answers, as plain typed records: where the output error comes from, which remedies were
tried on it with what effect and cost, and whether post-training quantisation is enough.

Not to be confused with :class:`engine.reports.Advice`, which is about what a target refuses. Import-light, as
:mod:`engine.reports`.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from engine.reports import Interval


class CauseKind(StrEnum):
    """Where the error that a node adds comes from."""

    CLIPPING = "clipping"
    INPUT = "input"
    WEIGHTS = "weights"
    TABLE = "table"
    REQUANTISATION = "requantisation"
    CHANNELS = "channels"
    OUTLIERS = "outliers"
    FEW_LEVELS = "few levels"


class Cause(msgspec.Struct, frozen=True):
    """One cause in words, with its numbers. ``share`` is its part of the error that the node adds (None: not known)."""

    kind: CauseKind
    text: str
    share: float | None = None


class Bounds(msgspec.Struct, frozen=True):
    """A measured figure with its 95 % confidence bounds."""

    value: float
    low: float
    high: float


class Effect(msgspec.Struct, frozen=True):
    """What a plan changes against the present one, over ``samples`` samples: none of those that it was chosen by, once
    it is measured on more.

    ``gain_db`` is the mean of the differences sample by sample, with their confidence interval; ``agreement`` the part
    of predictions that are the float model's (None: the output is no choice of classes), ``agreement_change`` what that
    gained. ``top1_change`` is what it gains on labelled data, in right predictions (None: not counted), over
    ``top1_samples``. ``change_us`` and ``change_bytes`` are of latency and DDR traffic, as estimated.
    """

    samples: int
    gain_db: Interval
    output_db: Interval
    agreement: float | None = None
    agreement_change: Bounds | None = None
    change_us: float = 0.0
    change_bytes: int = 0
    top1_change: Bounds | None = None
    top1_samples: int = 0


class Trial(msgspec.Struct, frozen=True):
    """A remedy as it was tried: ``remedy`` is its name in the registry, ``title`` one line for the user, ``site`` the
    node that it is for ("" for the whole model), ``nodes`` those whose choices it changes.

    ``is_offered``: its gain is beyond chance, with all that was tried taken into account, and worth a row;
    ``is_final``: it is measured on all samples.
    """

    key: int
    remedy: str
    title: str
    site: str
    nodes: tuple[str, ...]
    effect: Effect
    is_offered: bool
    is_final: bool


class Diagnosis(msgspec.Struct, frozen=True):
    """A node that matters: ``share`` is its part of the output error that was traced to nodes (None: asked for by the
    user, and not ranked), ``causes`` the largest first. For the whole model ``node`` is ""."""

    node: str
    op_type: str
    effective: str
    share: float | None
    introduced_db: Interval
    causes: tuple[Cause, ...]


class Metric(StrEnum):
    """What a verdict goes by."""

    TOP1 = "top-1"
    AGREEMENT = "agreement"
    SQNR = "output SQNR"


class Aim(msgspec.Struct, frozen=True):
    """What is good enough: a loss of ``max_drop`` points (percent of predictions), or an output error of ``min_db``
    where the output is no choice of classes or the user asks for it."""

    max_drop: float = 0.5
    min_db: float | None = None


class Standing(msgspec.Struct, frozen=True):
    """Where a plan stands: ``figure`` is what it loses in points (or its output SQNR in dB, where the verdict goes by
    that), with the cost against the present plan."""

    title: str
    figure: Bounds
    output_db: Interval
    change_us: float = 0.0
    change_bytes: int = 0


class Answer(StrEnum):
    """Whether post-training quantisation is enough."""

    ENOUGH = "PTQ is enough"
    WITH_REMEDIES = "PTQ with remedies is enough"
    WITH_INT16 = "PTQ with int16 is enough"
    TRAIN = "QAT needed"
    UNDECIDED = "not enough samples to tell"


class Verdict(msgspec.Struct, frozen=True):
    """The answer, in one word and in one sentence with its numbers.

    ``present`` is the plan as it is, ``best`` the best combination of remedies, ``floor`` all that the target has at
    int16. ``samples`` were counted; ``samples_needed`` would decide (None: as many as one likes would not, or it is
    decided).
    """

    answer: Answer
    text: str
    metric: Metric
    aim: Aim
    samples: int
    present: Standing
    best: Standing | None = None
    floor: Standing | None = None
    samples_needed: int | None = None


class Combination(msgspec.Struct, frozen=True):
    """Remedies applied one after another: their titles, and what all together do. ``reaches``: the aim is met."""

    titles: tuple[str, ...]
    nodes: tuple[str, ...]
    effect: Effect
    reaches: bool


class AccuracyAdvice(msgspec.Struct, frozen=True):
    """All of it: nodes by what they cost at the output, the remedies tried, the best combination, the verdict."""

    samples: int
    present_db: Interval
    diagnoses: tuple[Diagnosis, ...]
    trials: tuple[Trial, ...]
    combination: Combination | None = None
    verdict: Verdict | None = None
