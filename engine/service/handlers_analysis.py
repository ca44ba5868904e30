"""The window asks for sensitivities, and why a node errs: work in the background, which live errors come before."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Protocol, TypeVar

from engine.analyze.evaluator import Sample, Watch
from engine.analyze.explain import NodeStory
from engine.analyze.sensitivity import SensitivityAnalysis, analysis_of
from engine.errors import Cancelled
from engine.service.messages import Done, Explain, Explained, Sense, Sensed
from engine.service.worker import Worker, handles


class _Analysis(Protocol):
    """Anything that is fed one sample after the other."""

    @property
    def samples(self) -> int: ...

    def steps(self, sample: Sample, cancelled: Watch) -> Iterator[None]: ...


A = TypeVar("A", bound=_Analysis)


@handles(Sense)
def sense(worker: Worker, request: Sense) -> None:
    def tell(analysis: SensitivityAnalysis, is_final: bool) -> None:
        found = analysis.report()
        worker.send(Sensed(id=request.id, revision=request.revision, sensitivities=found, final=is_final))

    worker.background[request.id] = _refining(worker, request, lambda: analysis_of(worker.opened()), tell)


@handles(Explain)
def explain(worker: Worker, request: Explain) -> None:
    def tell(story: NodeStory, is_final: bool) -> None:
        worker.send(Explained(id=request.id, revision=request.revision, explanation=story.report()))

    worker.background[request.id] = _refining(worker, request, lambda: NodeStory(worker.opened(), request.node), tell)


def _refining(
    worker: Worker, request: Sense | Explain, begin: Callable[[], A], tell: Callable[[A, bool], None]
) -> Generator[None, None, None]:
    """Told after the first sample, each doubling, and the last. Another plan ends it: what was measured for
    this one is kept by content, so asking again goes on from there.

    Raises:
        Cancelled: Another plan is there, or the window has no more use for it.
    """
    session = worker.opened()
    plan, target = session.plan, session.target

    def superseded() -> bool:
        worker.answer_waiting()
        return worker.inbox.supersedes_live_work() or worker.inbox.is_cancelled(request.id)

    analysis = begin()
    total = session.sample_count(request.samples)
    for sample in session.samples(total):
        for _ in analysis.steps(sample, superseded):
            yield
            if session.plan is not plan or session.target is not target or worker.session is not session:
                raise Cancelled
        is_final = analysis.samples == total
        if is_final or analysis.samples & (analysis.samples - 1) == 0:
            tell(analysis, is_final)
    worker.send(Done(id=request.id, revision=request.revision))
