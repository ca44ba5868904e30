"""What a search of plans is asked for and what it finds, as plain records. Import-light: the window reads them."""

from __future__ import annotations

import math

import msgspec

from engine.plan.data import PlanData
from engine.reports import Interval


class TuneSettings(msgspec.Struct, frozen=True):
    """What bounds a search, and what is chosen of its front.

    Attributes:
        max_drop: Largest drop of the task metric, in points; None for no such bound.
        max_latency_ms: Longest time of an inference.
        max_ddr_bytes: Most DDR traffic of an inference.
        minutes: Wall-clock limit; None ends once nothing is gained any more.
        trials: Most plans that are measured; None for no limit.
        samples: Calibration samples that a plan is tried on (spread over all of them); the front is confirmed on all.
        seed: Of everything that is drawn. Same seed, same plans in the same order; the clock decides only where it
            ends.
    """

    max_drop: float | None = None
    max_latency_ms: float | None = None
    max_ddr_bytes: int | None = None
    minutes: float | None = None
    trials: int | None = None
    samples: int = 16
    seed: int = 0


class Trial(msgspec.Struct, frozen=True):
    """A plan to be measured on ``samples`` calibration samples (0: on all). ``is_timed``: estimated too; where its
    costs are known already, that is not done again and the answer has none."""

    plan: PlanData
    samples: int
    is_timed: bool = True


class Measured(msgspec.Struct, frozen=True):
    """What came of a trial.

    ``per_sample_db`` is the signal to noise at the model's outputs of each sample, ``agreement`` the fraction of
    predictions that are the float model's (None: the output has no classes), ``ddr_bytes`` and ``latency_ms`` those of
    one inference. ``problem`` says why the plan has no program ("" for one that has): it then has no other figures.
    ``is_lost``: that came of the workers, not of the plan, and may go well another time.
    """

    per_sample_db: tuple[float, ...] = ()
    agreement: float | None = None
    latency_ms: float = 0.0
    ddr_bytes: int = 0
    problem: str = ""
    is_lost: bool = False

    @property
    def loss(self) -> float:
        """To minimise: the mean over samples of log10(noise / signal)."""
        return -math.fsum(self.per_sample_db) / (10.0 * max(1, len(self.per_sample_db)))


class Answer(msgspec.Struct, frozen=True):
    """What a worker process says: ``measured``, or None where ``failure`` says what every trial would fail with ("" in
    its first answer: the project is open)."""

    measured: Measured | None = None
    failure: str = ""


class TaskDrop(msgspec.Struct, frozen=True):
    """What a plan loses of the task metric on labelled data, in points with the half width of its 95 % interval."""

    samples: int
    float_top1: float
    top1: float
    drop: float
    half_width: float


class TunePoint(msgspec.Struct, frozen=True):
    """A plan that was measured.

    Attributes:
        number: Its place among all that were measured, from 0: what it is called.
        origin: The heuristic or the step of the search that it came from.
        samples: How many it was measured on.
        output_db: Signal to noise at the model's outputs, mean over samples with its 95 % interval.
        agreement: Fraction of predictions that are the float model's; None where the output has no classes.
        int16_nodes, float_nodes: How many nodes compute in 16 bits, and in float on the CPU.
        is_heuristic: Whether it is one of the plans that the search begins with.
        like: ``number`` of the nearest point of the front that is not dearer and does not differ from it
            significantly (95 %, sample by sample); None where the difference is significant.
        task: Its drop on labelled data, where that was measured.
    """

    number: int
    plan: PlanData
    origin: str
    samples: int
    output_db: Interval
    agreement: float | None
    latency_ms: float
    ddr_bytes: int
    int16_nodes: int
    float_nodes: int
    is_heuristic: bool = False
    like: int | None = None
    task: TaskDrop | None = None


class TuneReport(msgspec.Struct, frozen=True):
    """A finished (or stopped) search.

    Attributes:
        front: Points that no other one beats in accuracy, latency and DDR traffic together, fastest first.
        heuristics: What the search began with, as confirmed; each is beaten or equalled by some point of the front.
        chosen: ``number`` of the point that the bounds ask for; None where no point keeps them.
        verdict: One line about the choice.
        measured: Plans that were measured, of which ``known`` were found in the journal.
        ended: Why it ended: ``converged``, ``time``, ``trials``, ``stopped``, or the line of a failure.
        seconds: Wall-clock time.
    """

    front: tuple[TunePoint, ...]
    heuristics: tuple[TunePoint, ...]
    chosen: int | None
    verdict: str
    measured: int
    known: int
    ended: str
    seconds: float
