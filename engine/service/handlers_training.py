"""The window asks for a training run: work in the background, which every other request comes before."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import msgspec

from engine.errors import Cancelled
from engine.plan.data import data_of
from engine.service.messages import Train, Trained, Training
from engine.service.worker import Worker, handles
from engine.session import Session
from engine.train.records import LossPoint, MetricPoint, TrainProgress
from engine.train.trainer import Trainer, prepared_trainer

_SEND_EVERY_S = 0.25
"""Between two answers with the points so far."""


@handles(Train)
def train(worker: Worker, request: Train) -> None:
    session = worker.opened()
    own = session.with_plan(session.plan)  # later edits are not part of the run
    trainer = prepared_trainer(own, Path(request.path), request.options, split=request.split, samples=request.samples)
    worker.background[request.id] = _run(worker, request, own, trainer)


def _run(worker: Worker, request: Train, session: Session, trainer: Trainer) -> Generator[None]:
    """A step of the run at a time; cancelled, it answers with the best so far."""
    sender = _Sender(worker, request)
    try:
        for course in trainer.run():
            sender.tell(course)
            yield
    except Cancelled:
        trainer.stop()
    plan, report = trainer.finish()
    worker.send(
        Trained(id=request.id, revision=request.revision, report=report, plan=data_of(plan, session.target_reference))
    )


class _Sender:
    """Sends the points of the curves, not more often than one can see."""

    def __init__(self, worker: Worker, request: Train) -> None:
        self._worker, self._request = worker, request
        self._losses: list[LossPoint] = []
        self._metrics: list[MetricPoint] = []
        self._sent_at = 0.0

    def tell(self, course: TrainProgress) -> None:
        self._losses += course.losses
        self._metrics += course.metrics
        if time.monotonic() - self._sent_at < _SEND_EVERY_S and not course.metrics:
            return
        self._sent_at = time.monotonic()
        told = msgspec.structs.replace(course, losses=tuple(self._losses), metrics=tuple(self._metrics))
        self._losses, self._metrics = [], []
        self._worker.send(Training(id=self._request.id, revision=self._request.revision, course=told))
