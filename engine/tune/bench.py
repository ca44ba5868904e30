"""Where a plan is tried: one open session that measures trials, each on as little as it takes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from engine.analyze.evaluator import Sample
from engine.analyze.quality import Quality, quality_of
from engine.errors import CalibrationError, Cancelled, GraphError, PlanError
from engine.plan.compile_options import CompileOptions
from engine.plan.data import PlanData, plan_of
from engine.tune.records import Measured, Trial

if TYPE_CHECKING:
    import torch

    from engine.session import Session

Watch = Callable[[], bool]
Outputs = Mapping[str, "torch.Tensor"]

ROWS = 8
"""Samples that run through the model together, where its batch dimension is symbolic."""

_REMEMBERED = 4096
_KEPT_BYTES = 256 << 20
"""Samples that are kept between trials; more are read again each time."""


def open_bench(project: Path) -> Bench:
    """A bench for a project file. Raises what :meth:`engine.session.Session.open` raises."""
    from engine.session import Session

    return Bench(Session.open(project))


class Bench:
    """Measures trials on one session, whose own plan stays as it is. Not thread-safe.

    Plans that differ in what is asked of the compiler alone share one measurement of their accuracy. Samples go through
    the integer program several at a time where the model allows it: the integers do not depend on the batch.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._together = session.batched(ROWS) if session.graph.symbolic_batch else None
        self._total = session.sample_count(_ALL)
        self._groups: dict[int, Sequence[_Group]] = {}
        self._known: OrderedDict[bytes, Quality] = OrderedDict()
        if self._total == 0:
            raise CalibrationError("the session has no samples", hint="calibrate it with data first")

    def measure(self, trial: Trial, cancelled: Watch) -> Measured:
        """What comes of a trial; a plan that has no program comes back with its ``problem``.

        Raises:
            CalibrationError, DataError: The session is not calibrated, or its samples cannot be read.
            Cancelled: ``cancelled()``, asked before each group of samples.
        """
        try:
            twin = self._session.with_plan(plan_of(trial.plan))
            quality = self._quality(twin, trial, cancelled)
        except (PlanError, GraphError) as error:
            return Measured(problem=str(error))
        if not trial.is_timed:
            return Measured(quality.per_sample_db, quality.agreement)
        timing = twin.estimate()
        return Measured(quality.per_sample_db, quality.agreement, timing.latency_ms, timing.ddr_bytes)

    def _quality(self, twin: Session, trial: Trial, cancelled: Watch) -> Quality:
        key = accuracy_key(trial)
        found = self._known.get(key)
        if found is None:
            found = quality_of(twin.source_evaluator, self._results(twin, trial.samples, cancelled))
            self._known[key] = found
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found

    def _results(self, twin: Session, count: int, cancelled: Watch) -> Iterator[tuple[Sample, Outputs]]:
        """The integer outputs of ``count`` samples (0: all)."""
        program, together = twin.program(), None
        if self._together is not None:
            # What runs where is decided for the model's own batch: limits on sizes do not look at the other one.
            together = self._together.with_plan(twin.plan, twin.resolve())
        for group in self._chosen(count):
            if cancelled():
                raise Cancelled
            if together is None or group.joined is None:
                yield from ((sample, twin.evaluator.outputs(program, sample)) for sample in group.samples)
                continue
            outputs = together.evaluator.outputs(together.program(), group.joined)
            for row, sample in enumerate(group.samples):
                yield sample, {name: tensor[row : row + 1] for name, tensor in outputs.items()}

    def _chosen(self, count: int) -> Iterator[_Group]:
        """Samples spread evenly over all of them, in groups; kept where they are few."""
        chosen = self._total if count == 0 else min(count, self._total)
        if chosen in self._groups:
            yield from self._groups[chosen]
            return
        stride = self._total // chosen
        samples = islice(self._session.samples(), 0, stride * chosen, stride)
        kept: list[_Group] = []
        kept_bytes = 0
        while group := tuple(islice(samples, ROWS)):
            kept_bytes += 2 * sum(array.nbytes for sample in group for array in sample.inputs.values())
            made = _Group(group, _joined(group) if self._together is not None and len(group) == ROWS else None)
            if kept_bytes <= _KEPT_BYTES:
                kept.append(made)
            yield made
        if kept_bytes <= _KEPT_BYTES:
            self._groups[chosen] = tuple(kept)


_ALL = 1 << 60


class _Group:
    """Samples, and all of them as one (None: they run one by one)."""

    def __init__(self, samples: Sequence[Sample], joined: Sample | None) -> None:
        self.samples = samples
        self.joined = joined


def _joined(samples: Sequence[Sample]) -> Sample:
    names = samples[0].inputs
    return Sample.of({name: np.concatenate([sample.inputs[name] for sample in samples]) for name in names})


def accuracy_key(trial: Trial) -> bytes:
    """The same for trials that differ in nothing that the accuracy depends on: fusion regions and the compiler's
    options schedule the same program."""
    plan = msgspec.structs.replace(trial.plan, regions=(), compile=CompileOptions())
    return msgspec.msgpack.encode((plan_text(plan), trial.samples))


def plan_text(plan: PlanData) -> bytes:
    """The content of a plan in one form, whatever the order in which its choices were made."""
    return msgspec.json.encode(plan, order="deterministic")
