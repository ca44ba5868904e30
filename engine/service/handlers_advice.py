"""The window asks for advice on accuracy: work in the background, which every other request comes before."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

from engine.advise.advisor import Advisor, Labelled, Options, Stage
from engine.plan.data import PlanData, data_of
from engine.service.messages import Advise, Advised, Done, Progress
from engine.service.worker import Worker, handles

_SEND_EVERY_S = 0.25
"""Between two answers with the advice so far: often enough to watch, seldom enough to cost nothing."""


@handles(Advise)
def advise(worker: Worker, request: Advise) -> None:
    session = worker.opened()
    nodes = request.nodes
    data = None if request.data is None else Labelled(Path(request.data.path), request.data.split, request.data.samples)
    options = Options(nodes, samples=request.samples, aim=request.aim, data=data, with_verdict=not nodes)
    advisor = Advisor(session, options, worker.watch(request.id), lambda: worker.inbox.is_waiting)
    reporter = _Reporter(worker, request, advisor, session.target_reference)
    worker.background[request.id] = reporter.run()


class _Reporter:
    """Runs an adviser and sends what it has found, not more often than one can read."""

    def __init__(self, worker: Worker, request: Advise, advisor: Advisor, target: str) -> None:
        self._worker = worker
        self._request = request
        self._advisor = advisor
        self._target = target
        self._sent: dict[int, PlanData] = {}
        self._stage = ""
        self._sent_at = 0.0

    def run(self) -> Generator[None]:
        """Raises what :meth:`engine.advise.advisor.Advisor.run` does."""
        for stage in self._advisor.run():
            if stage.text != self._stage or time.monotonic() - self._sent_at >= _SEND_EVERY_S:
                self._tell(stage)
            yield
        self._send_advice()
        self._worker.send(Done(id=self._request.id, revision=self._request.revision))

    def _tell(self, stage: Stage) -> None:
        self._stage, self._sent_at = stage.text, time.monotonic()
        progress = Progress(id=self._request.id, stage=stage.sentence, done=stage.done, total=stage.total)
        self._worker.send(progress)
        self._send_advice()

    def _send_advice(self) -> None:
        plans = {key: data_of(plan, self._target) for key, plan in self._advisor.plans.items()}
        new = {key: plan for key, plan in plans.items() if self._sent.get(key) != plan}
        self._sent |= new
        advice = self._advisor.advice
        self._worker.send(Advised(id=self._request.id, revision=self._request.revision, advice=advice, plans=new))
