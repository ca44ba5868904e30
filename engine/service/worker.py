"""The engine process's loop: requests first, live error maps in between."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import IO, Any

import msgspec

from engine.correction_files import KeptCorrections
from engine.errors import Cancelled, PlanError, QuantscopeError
from engine.framing import frame
from engine.plan.data import data_of, plan_of
from engine.service.inbox import Inbox
from engine.service.messages import (
    Answer,
    AnyRequest,
    Calibrate,
    Calibrated,
    CheckRegion,
    CheckSplit,
    CompilationReady,
    Compile,
    Distribute,
    Done,
    ErrorsReady,
    Evaluate,
    Evaluated,
    Export,
    Exported,
    Failed,
    Inspect,
    Inspected,
    Open,
    Opened,
    PlanResolved,
    Progress,
    Ready,
    RegionChecked,
    Save,
    Saved,
    SplitChecked,
    TimingReady,
    UpdatePlan,
    Verified,
    Verify,
)
from engine.session import Session
from engine.target.target import list_targets, load_target

BETWEEN_INSTRUCTIONS = (CheckRegion, CheckSplit, Compile)
"""Requests that need neither data nor program, and are answered in the middle of live work: a user drags meanwhile."""

ABOUT_ONE_PLAN = (CheckRegion, CheckSplit, Compile, Distribute, Inspect)
"""Requests that carry the revision they are about: of another plan than the last they are worth nothing."""

Handler = Callable[["Worker", Any], None]
HANDLERS: dict[type[Any], Handler] = {}


def handles(request: type[Any]) -> Callable[[Handler], Handler]:
    """Register the handler of a request type."""

    def add(handler: Handler) -> Handler:
        HANDLERS[request] = handler
        return handler

    return add


class Worker:
    """Owns the session; one request at a time, the live work of the newest plan when nothing waits, and ``background``
    work (by the request that asked for it, in turns) when that is done."""

    def __init__(self, inbox: Inbox, output: IO[bytes]) -> None:
        self.inbox = inbox
        self.session: Session | None = None
        self.live: Iterator[None] | None = None
        self.live_id = 0
        self.background: dict[int, Generator[None]] = {}
        self._output = output
        self._encoder = msgspec.msgpack.Encoder()

    def send(self, answer: Answer) -> None:
        self._output.write(frame(self._encoder.encode(answer)))
        self._output.flush()

    def run(self) -> None:
        """Serve until the request stream ends."""
        self.send(Ready(id=0, targets=tuple((item.name, item.title) for item in list_targets())))
        while not self.inbox.closed:
            request = self.inbox.take(block=self.live is None and not self.background)
            if request is not None:
                self._guarded(request.id, lambda request=request: self._handle(request))
            elif self.live is not None:
                self._guarded(self.live_id, self._step)
            elif self.background:
                self._guarded(next(iter(self.background)), self._step_background)

    def answer_waiting(self) -> None:
        """Answer the requests at the head of the queue that do not touch what live work uses."""
        while (request := self.inbox.take_if(BETWEEN_INSTRUCTIONS)) is not None:
            self._guarded(request.id, lambda request=request: self._handle(request))

    def _handle(self, request: AnyRequest) -> None:
        if self.inbox.is_cancelled(request.id):
            raise Cancelled
        HANDLERS[type(request)](self, request)

    def _step(self) -> None:
        assert self.live is not None
        try:
            next(self.live)
        except StopIteration:
            self.live = None
        except BaseException:
            self.live = None
            raise

    def _step_background(self) -> None:
        """One step of the work whose turn it is, which then goes to the end of the queue."""
        request_id = next(iter(self.background))
        work = self.background.pop(request_id)
        with contextlib.suppress(StopIteration):
            if self.inbox.is_cancelled(request_id):
                work.throw(Cancelled())  # work that has something to keep answers with that
            else:
                next(work)
            self.background[request_id] = work

    def _guarded(self, request_id: int, work: Callable[[], None]) -> None:
        """Run ``work``; a failure becomes an answer, and the process goes on."""
        try:
            work()
        except BrokenPipeError:
            raise  # the window is gone: there is nobody to tell
        except (Cancelled, CancelledError):
            self.send(Failed(id=request_id, message="cancelled", cancelled=True))
        except QuantscopeError as error:
            self.send(Failed(id=request_id, message=str(error)))
        except MemoryError:
            self.send(Failed(id=request_id, message="out of memory; close other programs or use fewer samples"))
        except Exception as error:
            traceback.print_exc()
            message = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
            self.send(Failed(id=request_id, message=message, unexpected=True))

    def stop_live(self) -> None:
        """Drop the live work, if there is any: its request is answered as cancelled."""
        if self.live is not None:
            self.live = None
            self.send(Failed(id=self.live_id, message="cancelled", cancelled=True))

    def stop_background(self) -> None:
        """Drop all background work, which is about another model or calibration: it is answered as cancelled."""
        for request_id in self.background:
            self.send(Failed(id=request_id, message="cancelled", cancelled=True))
        self.background.clear()

    def opened(self) -> Session:
        """The session. Raises PlanError when nothing is open."""
        if self.session is None:
            raise PlanError("no model is open")
        return self.session

    def progress(self, request_id: int, stage: str) -> Callable[[int, int], None]:
        return lambda done, total: self.send(Progress(id=request_id, stage=stage, done=done, total=total))

    def watch(self, request_id: int) -> Callable[[], bool]:
        return lambda: self.inbox.is_cancelled(request_id)


@handles(Open)
def open_model(worker: Worker, request: Open) -> None:
    """Open a model or project; a failure leaves what was open before."""
    session = Session.open(request.path, target=request.target, bindings=request.bindings)
    if request.corrections:
        session.corrections = KeptCorrections(Path(request.corrections), session.corrections)
    worker.stop_live()
    worker.stop_background()
    worker.session = session
    worker.send(
        Opened(
            id=request.id,
            graph=session.graph_info(),
            plan=data_of(session.plan, session.target_reference),
            project="" if session.project is None else str(session.project),
            calibrated=session.calibration is not None,
            calibration_data="" if session.data is None else str(session.data.path),
            warnings=session.warnings,
        )
    )


@handles(UpdatePlan)
def update_plan(worker: Worker, request: UpdatePlan) -> None:
    """Answer with plan and timing at once; errors follow as live work. Where the next plan waits already, as while a
    slider moves, this one is not worth it.
    """
    worker.stop_live()
    if worker.inbox.has_newer_plan(ABOUT_ONE_PLAN):
        raise Cancelled
    session = worker.opened()
    plan, reference = plan_of(request.plan), request.plan.target
    session.check_plan(plan, load_target(reference) if reference != session.target_reference else None)
    if reference != session.target_reference:
        session.set_target(reference)
    session.set_plan(plan)
    nodes = session.node_plans()
    worker.send(
        PlanResolved(
            id=request.id,
            revision=request.revision,
            nodes=nodes,
            refusals=session.refusals(),
            cpu_nodes=len(session.cpu_nodes()),
            regions=session.regions(),
            cores=session.target.core_count,
        )
    )
    worker.send(TimingReady(id=request.id, revision=request.revision, timing=session.estimate()))
    worker.live_id = request.id
    worker.live = _live_errors(worker, session, request)


def _live_errors(worker: Worker, session: Session, request: UpdatePlan) -> Iterator[None]:
    """Measure one sample a step, sending the maps after the first sample, each doubling, and the last."""

    def superseded() -> bool:
        worker.answer_waiting()
        return worker.inbox.supersedes_live_work() or worker.inbox.is_cancelled(request.id)

    if session.calibration is not None and session.data is not None and request.samples > 0:
        analysis = session.error_analysis()
        total = session.sample_count(request.samples)
        for sample in session.samples(total):
            analysis.add(sample, superseded)
            final = analysis.samples == total
            if final or analysis.samples & (analysis.samples - 1) == 0:
                errors = analysis.report()
                worker.send(ErrorsReady(id=request.id, revision=request.revision, errors=errors, final=final))
            yield
    worker.send(Done(id=request.id, revision=request.revision))


@handles(Calibrate)
def calibrate(worker: Worker, request: Calibrate) -> None:
    session = worker.opened()
    known = None if session.data is None else session.data.recipe
    result = session.calibrate(
        request.path,
        recipe=known if request.recipe_path is None else Path(request.recipe_path),
        samples=request.samples,
        split=request.split,
        progress=worker.progress(request.id, "calibrating"),
        cancelled=worker.watch(request.id),
    )
    worker.stop_live()
    worker.stop_background()
    worker.send(Calibrated(id=request.id, samples=result.samples, data=request.path, warnings=session.warnings))


@handles(Inspect)
def inspect(worker: Worker, request: Inspect) -> None:
    detail = worker.opened().inspect(request.node, request.sample)
    worker.send(Inspected(id=request.id, revision=request.revision, detail=detail))


@handles(CheckRegion)
def check_region(worker: Worker, request: CheckRegion) -> None:
    verdict = worker.opened().region_verdict(request.nodes, request.name)
    worker.send(RegionChecked(id=request.id, revision=request.revision, verdict=verdict))


@handles(Compile)
def compile_model(worker: Worker, request: Compile) -> None:
    compilation = worker.opened().compilation()
    worker.send(CompilationReady(id=request.id, revision=request.revision, compilation=compilation))


@handles(CheckSplit)
def check_split(worker: Worker, request: CheckSplit) -> None:
    split = worker.opened().split_verdict(request.name, request.nodes)
    worker.send(SplitChecked(id=request.id, revision=request.revision, split=split))


@handles(Evaluate)
def evaluate(worker: Worker, request: Evaluate) -> None:
    evaluation = worker.opened().evaluate(
        request.path,
        split=request.split,
        samples=request.samples,
        progress=worker.progress(request.id, "evaluating"),
        cancelled=worker.watch(request.id),
    )
    worker.send(Evaluated(id=request.id, revision=request.revision, evaluation=evaluation))


@handles(Verify)
def verify(worker: Worker, request: Verify) -> None:
    def progress(what: str, done: int, total: int) -> None:
        worker.send(Progress(id=request.id, stage=what, done=done, total=total))

    found = worker.opened().verify(request.samples, progress=progress, cancelled=worker.watch(request.id))
    worker.send(Verified(id=request.id, revision=request.revision, verification=found))


@handles(Save)
def save(worker: Worker, request: Save) -> None:
    worker.send(Saved(id=request.id, path=str(worker.opened().save(request.path))))


@handles(Export)
def export(worker: Worker, request: Export) -> None:
    summary = worker.opened().export(request.path, request.format, request.options)
    worker.send(Exported(id=request.id, summary=summary))


def serve() -> None:
    """Serve on standard input and output; whatever else prints goes to standard error."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    inbox = Inbox()
    inbox.listen(requests)
    with contextlib.suppress(BrokenPipeError):
        Worker(inbox, answers).run()
