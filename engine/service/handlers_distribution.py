"""The window asks how the values of a node are distributed."""

from __future__ import annotations

from engine.analyze.distribution import distribution
from engine.service.messages import Distribute, Distributed
from engine.service.worker import Worker, handles


@handles(Distribute)
def distribute(worker: Worker, request: Distribute) -> None:
    found = distribution(
        worker.opened(), request.node, request.samples, request.sample, request.channel, worker.watch(request.id)
    )
    worker.send(Distributed(id=request.id, revision=request.revision, distribution=found))
