"""The window asks for a preset: steps in the background, which every other request comes between."""

from __future__ import annotations

from collections.abc import Generator

from engine.plan.data import data_of
from engine.quantise.presets import quantising, steps_of
from engine.quantise.registry import STEPS
from engine.quantise.step import Work
from engine.service.messages import Done, Progress, Quantise, Quantised
from engine.service.worker import Worker, handles
from engine.session import Session


@handles(Quantise)
def quantise(worker: Worker, request: Quantise) -> None:
    names = steps_of(request.preset)
    worker.background[request.id] = _run(worker, worker.opened(), request, names)


def _run(worker: Worker, session: Session, request: Quantise, names: tuple[str, ...]) -> Generator[None, None, None]:
    """Raises what :func:`engine.quantise.presets.quantising` does."""
    done_steps = 0

    def progress(done: int, total: int) -> None:
        title = STEPS[names[done_steps]].title if done_steps < len(names) else ""
        worker.send(Progress(id=request.id, stage=title, done=done, total=total))

    def cancelled() -> bool:
        worker.answer_waiting()
        return worker.inbox.is_cancelled(request.id)

    target = session.target_reference
    start = session.with_plan(session.plan)
    for report in quantising(start, request.preset, Work(tuple(start.samples(request.samples)), progress, cancelled)):
        done_steps = len(report.steps)
        plan = data_of(report.plan, target)
        worker.send(Quantised(id=request.id, revision=request.revision, progress=report.record(), plan=plan))
        yield
    worker.send(Done(id=request.id, revision=request.revision))
