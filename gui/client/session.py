"""The live session: keeps the engine process at the document's state, and the document at the engine's
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, QTemporaryDir, Signal

from engine.reports_advice import Aim
from engine.service.messages import (
    Advise,
    Advised,
    AnyAnswer,
    AnyRequest,
    Calibrate,
    Calibrated,
    CheckRegion,
    CheckSplit,
    CompilationReady,
    Compile,
    Distribute,
    Distributed,
    ErrorsReady,
    Evaluate,
    Evaluated,
    Export,
    Exported,
    Failed,
    Inspect,
    Inspected,
    LabelledData,
    Open,
    Opened,
    PlanResolved,
    Progress,
    Quantise,
    Quantised,
    RegionChecked,
    Save,
    Saved,
    SplitChecked,
    TimingReady,
    Train,
    Trained,
    Training,
    Tune,
    Tuned,
    TunePointFound,
    UpdatePlan,
    Verified,
    Verify,
)
from engine.train.records import TrainOptions
from engine.tune.records import TuneSettings
from gui.client.client import STREAMED, EngineClient
from gui.client.newest import Newest
from gui.client.restarts import RestartBudget
from gui.document.document import CalibrationSource
from gui.document.notice import Level, Notice
from gui.document.qt_document import QtDocument
from gui.document.results import NO_REVISION

LIVE_SAMPLES = 8
RESTART_COMMAND = "engine.restart"
BIND_COMMAND = "file.open_bound"

BIND_HINT = "--bind"
"""The engine's way out of unbound dimensions, as the command line spells it; here it is a command."""


@dataclass(frozen=True)
class Activity:
    """What the engine works on, for the progress bar; ``total`` 0 when it cannot say how much there is."""

    request_id: int
    text: str
    done: int = 0
    total: int = 0
    can_cancel: bool = True


class EngineSession(QObject):
    """What the window asks of the engine, in the window's words.

    Results of the plan go straight into the document. Everything else comes as a signal: ``opened``
    (path), ``saved`` (path), ``exported`` (ExportSummary), ``evaluated`` (Evaluation), ``calibrated``
    (samples), ``verified`` (Verification, the revision it is about), ``inspected`` (NodeDetail),
    ``regionChecked`` (RegionVerdict, whether it is about a region of the plan), ``regionJudged`` (RegionVerdict on
    nodes that are still being chosen), ``splitChecked`` (RegionSplit), ``advised`` (Advised: advice so far),
    ``adviceEnded`` (why no more of it will come), ``trainingWent`` (Training: how far a run is), ``trained`` (Trained),
    ``trainingEnded`` (no more will come of the run), ``distributed`` (NodeDistribution), ``notDistributed`` (node,
    why), ``quantised`` (QuantiseProgress, PlanData), ``quantiseProgressed`` (step, done, total), ``quantiseEnded``
    (why, "" at its own end), ``tunePointFound`` (TunePoint, the numbers on the front), ``tuned`` (TuneReport),
    ``tuneEnded`` (a search was stopped or failed), ``noticed`` (Notice), ``activityChanged`` (Activity or None),
    ``targetsChanged`` ((id, title) pairs), ``settled`` (the results of the present plan are complete, or failed).
    """

    opened = Signal(str)
    saved = Signal(str)
    exported = Signal(object)
    evaluated = Signal(object)
    calibrated = Signal(int)
    verified = Signal(object, int)
    inspected = Signal(object)
    regionChecked = Signal(object, bool)
    regionJudged = Signal(object)
    splitChecked = Signal(object)
    advised = Signal(object)
    adviceEnded = Signal(str)
    trainingWent = Signal(object)
    trained = Signal(object)
    trainingEnded = Signal()
    distributed = Signal(object)
    notDistributed = Signal(str, str)
    quantised = Signal(object, object)
    quantiseProgressed = Signal(str, int, int)
    quantiseEnded = Signal(str)
    tunePointFound = Signal(object, object)
    tuned = Signal(object)
    tuneEnded = Signal()
    noticed = Signal(object)
    activityChanged = Signal(object)
    targetsChanged = Signal(object)
    settled = Signal()

    def __init__(
        self,
        document: QtDocument,
        client: EngineClient,
        budget: RestartBudget | None = None,
        live_samples: int = LIVE_SAMPLES,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._qt_document = document
        self._document = document.document
        self._client = client
        self._budget = budget or RestartBudget()
        self._live_samples = live_samples
        self._activity: Activity | None = None
        self._live_id = 0
        self._resolved: PlanResolved | None = None
        self._inspected_node = ""
        self._advice_id = 0
        self._training_id = 0
        self._tune_id = 0
        self._judging: Newest[tuple[str, ...]] = Newest(self._judge)
        self._distributing: Newest[tuple[str, int | None, int | None]] = Newest(self._distribute)
        self._wanting_compilation: set[str] = set()
        self._sent_revision = NO_REVISION
        self._compile_id = 0
        self._compile_revision = NO_REVISION
        self._is_restoring = False
        self._corrections = QTemporaryDir()
        self.last_asked_path = ""
        self.targets: tuple[tuple[str, str], ...] = ()
        document.planChanged.connect(self._send_plan)
        client.ready.connect(self._on_ready)
        client.crashed.connect(self._on_crashed)

    @property
    def client(self) -> EngineClient:
        """The connection to the engine process, for others who ask it."""
        return self._client

    @property
    def activity(self) -> Activity | None:
        return self._activity

    @property
    def is_ready(self) -> bool:
        return self._client.is_ready

    @property
    def is_running(self) -> bool:
        """Whether there is an engine process, be it ready or still starting."""
        return self._client.is_running

    def start(self) -> None:
        self._client.start()

    def shutdown(self) -> None:
        self._client.shutdown()

    # What the user asks for

    def open(self, path: str, bindings: dict[str, int] | None = None) -> None:
        """Open a model or project; the document changes only once that succeeded."""
        name = Path(path).name
        self.last_asked_path = path

        def handle(answer: AnyAnswer) -> None:
            if isinstance(answer, Opened):
                self._document.open(answer, path, bindings)
                self._warn(answer.warnings)
                self.opened.emit(path)
            else:
                self._send_plan()  # edits made in the meantime

        self._submit(lambda i: self._opening(i, path, bindings or {}), handle, f"Opening {name}")

    def save(self, path: str, then: Callable[[], object] | None = None) -> None:
        """Write the project, with the plan as it is now; ``then`` follows only if that succeeded."""
        plan = self._document.plan

        def handle(answer: AnyAnswer) -> None:
            if isinstance(answer, Saved):
                self._document.saved(answer.path, plan)
                self.saved.emit(answer.path)
                if then is not None:
                    then()

        self._submit(lambda i: Save(id=i, path=path), handle, f"Saving {Path(path).name}")

    def export(self, export_format: str, path: str, options: dict[str, str] | None = None) -> None:
        """Write an export in one of the formats of :mod:`gui.document.exports`, with its options by name."""

        def handle(answer: AnyAnswer) -> None:
            if isinstance(answer, Exported):
                self.exported.emit(answer.summary)

        self._submit(
            lambda i: Export(id=i, format=export_format, path=path, options=options or {}),
            handle,
            f"Exporting {Path(path).name}",
        )

    def calibrate(self, source: CalibrationSource) -> None:
        """Calibrate from data; the plan is sent again when it is done."""

        def handle(answer: AnyAnswer) -> None:
            if isinstance(answer, Calibrated):
                self._document.calibrated(answer.samples, answer.data, source)
                self.calibrated.emit(answer.samples)
                self._warn(answer.warnings)

        self._submit(lambda i: _calibrate(i, source), handle, "Calibrating")

    def evaluate(self, path: str, split: str | None, samples: int | None) -> None:
        """Measure the task metric on labelled data."""
        revision = self._document.revision

        def handle(answer: AnyAnswer) -> None:
            if isinstance(answer, Evaluated):
                self.evaluated.emit(answer.evaluation)

        self._submit(
            lambda i: Evaluate(id=i, revision=revision, path=path, split=split, samples=samples),
            handle,
            "Evaluating",
        )

    def verify(self, samples: int) -> None:
        """Compare every stage of the present plan with other programs."""
        revision = self._document.revision

        def handle(answer: AnyAnswer) -> None:
            if isinstance(answer, Verified):
                self.verified.emit(answer.verification, answer.revision)

        self._submit(lambda i: Verify(id=i, revision=revision, samples=samples), handle, "Verifying")

    def advise(self, nodes: Sequence[str], samples: int, aim: Aim, data: LabelledData | None = None) -> None:
        """Look for remedies at nodes (none: where it costs most), with a verdict by labelled ``data`` where there are
        some; the engine does it while nothing else is asked. What was asked for before is stopped."""
        self.stop_advice()
        revision, asked = self._document.revision, tuple(nodes)

        def handle(answer: AnyAnswer) -> None:
            if answer.id != self._advice_id:
                return
            if isinstance(answer, Advised):
                self.advised.emit(answer)
            elif isinstance(answer, Failed) and not answer.cancelled:
                self.adviceEnded.emit(answer.message.partition("\n")[0])
            else:
                self.adviceEnded.emit("")

        def build(request_id: int) -> AnyRequest:
            self._advice_id = request_id
            return Advise(id=request_id, revision=revision, nodes=asked, samples=samples, aim=aim, data=data)

        self._submit(build, handle, "Advising")

    def stop_advice(self) -> None:
        """Stop looking for remedies; what was found stays."""
        self._client.cancel(self._advice_id)

    def train(self, path: str, split: str | None, samples: int | None, options: TrainOptions) -> None:
        """Train the present plan; the engine does it while nothing else is asked for. A run that goes on is stopped."""
        self.stop_training()
        revision = self._document.revision

        def handle(answer: AnyAnswer) -> None:
            if answer.id != self._training_id:
                return
            if isinstance(answer, Training):
                self.trainingWent.emit(answer)
                return
            if isinstance(answer, Trained):
                self.trained.emit(answer)
            self.trainingEnded.emit()

        def build(request_id: int) -> AnyRequest:
            self._training_id = request_id
            return Train(id=request_id, revision=revision, path=path, split=split, samples=samples, options=options)

        self._submit(build, handle)

    def stop_training(self) -> None:
        """Stop the run; the best so far is answered."""
        self._client.cancel(self._training_id)

    def quantise(self, preset: str, samples: int) -> int:
        """Run a preset on the present plan; returns the request's number, for :meth:`cancel_request`. 0: it cannot run,
        and the window says why."""
        revision = self._document.revision

        def handle(answer: AnyAnswer) -> None:
            if isinstance(answer, Progress):
                self.quantiseProgressed.emit(answer.stage, answer.done, answer.total)
            elif isinstance(answer, Quantised):
                self.quantised.emit(answer.progress, answer.plan)
            elif isinstance(answer, Failed):
                self.quantiseEnded.emit("Stopped" if answer.cancelled else answer.message.partition("\n")[0])
            else:
                self.quantiseEnded.emit("")

        if not self._client.is_running:
            self._notice(Level.ERROR, "The engine is not running.", action=RESTART_COMMAND)
            self.quantiseEnded.emit("The engine is not running")
            return 0
        return self._client.submit(
            lambda i: Quantise(id=i, revision=revision, preset=preset, samples=samples), handle
        )

    def cancel_request(self, request_id: int) -> None:
        """Stop long work that has no place in the progress bar."""
        self._client.cancel(request_id)

    def tune(self, settings: TuneSettings) -> bool:
        """Search plans around the present one, beside everything else; False where there is no engine."""
        if not self._client.is_running:
            self._notice(Level.ERROR, "The engine is not running.", action=RESTART_COMMAND)
            return False
        revision = self._document.revision

        def handle(answer: AnyAnswer) -> None:
            if answer.id != self._tune_id:
                return
            match answer:
                case TunePointFound():
                    self.tunePointFound.emit(answer.point, answer.front)
                case Tuned():
                    self.tuned.emit(answer.report)
                case Failed():
                    self._on_failed(answer)
                    self.tuneEnded.emit()
                case _:
                    pass

        self._tune_id = self._client.submit(lambda i: Tune(id=i, revision=revision, settings=settings), handle)
        return True

    def stop_tuning(self) -> None:
        """Stop the search; what it found stays."""
        self._client.cancel(self._tune_id)

    def inspect(self, node_id: str) -> None:
        """Ask for a node's details; an answer for a node asked for earlier is dropped. "" asks for
        nothing.
        """
        self._inspected_node = node_id
        if not node_id or not self._document.calibration.is_done:
            return
        revision = self._document.revision

        def handle(answer: AnyAnswer) -> None:
            is_current = node_id == self._inspected_node and revision == self._document.revision
            if isinstance(answer, Inspected) and is_current:
                self.inspected.emit(answer.detail)

        self._submit(lambda i: Inspect(id=i, revision=revision, node=node_id), handle)

    def distribute(self, node: str, sample: int | None, channel: int | None) -> None:
        """Ask how a node's values are distributed, over one calibration sample (None: those that errors are measured
        on) and in one channel (None: all). Of several questions only the newest is answered.
        """
        if self._client.is_running:
            self._distributing.ask((node, sample, channel))

    def _distribute(self, question: tuple[str, int | None, int | None]) -> None:
        (node, sample, channel), revision, samples = question, self._document.revision, self._live_samples

        def handle(answer: AnyAnswer) -> None:
            if not self._distributing.answered() or revision != self._document.revision:
                return
            if isinstance(answer, Distributed):
                self.distributed.emit(answer.distribution)
            elif isinstance(answer, Failed) and not answer.cancelled:
                self.notDistributed.emit(node, answer.message.partition("\n")[0])
                if answer.unexpected:
                    self._on_failed(answer)

        def build(i: int) -> AnyRequest:
            return Distribute(id=i, revision=revision, node=node, samples=samples, sample=sample, channel=channel)

        self._client.submit(build, handle)

    def check_region(self, nodes: Sequence[str], name: str | None = None) -> None:
        """Ask whether nodes can run as one kernel; ``name`` is the region that they are, if they are one. Where the
        plan changed meanwhile it is asked again.
        """
        revision, asked = self._document.revision, tuple(nodes)

        def handle(answer: AnyAnswer) -> None:
            if not isinstance(answer, RegionChecked):
                return
            if revision == self._document.revision:
                self.regionChecked.emit(answer.verdict, name is not None)
            elif name is None and all(node in self._document.nodes for node in asked):
                self.check_region(asked)

        self._submit(lambda i: CheckRegion(id=i, revision=revision, nodes=asked, name=name), handle)

    def want_compilation(self, wanter: str, is_wanted: bool) -> None:
        """Whether ``wanter``, a view by its name, shows the compiled model. While any does it follows every edit of
        the plan, and arrives in the document.
        """
        if is_wanted:
            self._wanting_compilation.add(wanter)
            self._ask_compilation()
        else:
            self._wanting_compilation.discard(wanter)

    @property
    def is_judging(self) -> bool:
        """Whether a question of :meth:`judge_region` is on its way."""
        return self._judging.is_out

    def judge_region(self, nodes: Sequence[str]) -> None:
        """Ask whether nodes can run as one kernel, while they are still being chosen: of several questions only the
        newest is answered, by ``regionJudged``, and none where the plan changed meanwhile.
        """
        if self._client.is_running:
            self._judging.ask(tuple(nodes))

    def _judge(self, nodes: tuple[str, ...]) -> None:
        revision = self._document.revision

        def handle(answer: AnyAnswer) -> None:
            is_newest = self._judging.answered()
            if isinstance(answer, RegionChecked) and is_newest and revision == self._document.revision:
                self.regionJudged.emit(answer.verdict)

        self._submit(lambda i: CheckRegion(id=i, revision=revision, nodes=nodes), handle)

    def check_split(self, name: str, nodes: Sequence[str]) -> None:
        """Ask what cutting a region in two gives, ``nodes`` on one side; ``splitChecked`` answers, unless the plan
        changed meanwhile.
        """
        revision, asked = self._document.revision, tuple(nodes)

        def handle(answer: AnyAnswer) -> None:
            if isinstance(answer, SplitChecked) and revision == self._document.revision:
                self.splitChecked.emit(answer.split)

        self._submit(lambda i: CheckSplit(id=i, revision=revision, name=name, nodes=asked), handle)

    def cancel(self) -> None:
        """Stop what the progress bar shows."""
        if self._activity is not None:
            self._client.cancel(self._activity.request_id)

    def restart(self) -> None:
        """Start the engine anew and bring it to the document's state: after it gave up, or when it hangs."""
        self._budget.refill()
        if self._client.is_running:
            self._client.kill_process()  # its end is reported, and brings a fresh one
        else:
            self._start_again(lost_open="")

    # Requests and answers

    def _submit(self, build: Callable[[int], AnyRequest], handle: Callable[[AnyAnswer], None], text: str = "") -> None:
        """Send a request; ``text`` shows it as an activity until it is done."""
        if not self._client.is_running:
            self._notice(Level.ERROR, "The engine is not running.", action=RESTART_COMMAND)
            return

        def on_answer(answer: AnyAnswer) -> None:
            if isinstance(answer, Progress):
                self._show(Activity(answer.id, _sentence(text, answer.stage), answer.done, answer.total))
                return
            if isinstance(answer, Failed):
                self._on_failed(answer)
            if not isinstance(answer, STREAMED):
                self._hide(answer)
            handle(answer)

        request_id = self._client.submit(build, on_answer)
        if text:
            self._show(Activity(request_id, text))

    def _send_plan(self) -> None:
        """Not while a model is being opened: the engine would take the plan for the other model's."""
        is_between_models = self._is_restoring or bool(self._client.pending(Open))
        if not self._document.is_open or not self._client.is_running or is_between_models:
            return
        revision, plan = self._document.revision, self._document.plan
        samples = self._live_samples if self._document.calibration.is_done else 0
        self._client.forget(self._live_id)
        self._resolved = None
        if self._activity is not None and self._activity.request_id == self._live_id:
            self._show(None)
        self._live_id = self._client.submit(
            lambda i: UpdatePlan(id=i, revision=revision, plan=plan, samples=samples),
            lambda answer: self._on_live(answer, samples),
        )
        self._sent_revision = revision
        self._ask_compilation()

    def _ask_compilation(self) -> None:
        """Ask for the compiled model of the plan that the engine has, if a view wants it and it is not there yet; the
        request for an older plan is taken back.
        """
        document, revision = self._document, self._document.revision
        is_asked = self._compile_revision == revision
        if not self._wanting_compilation or document.is_compiled or is_asked or self._sent_revision != revision:
            return
        self._client.cancel(self._compile_id)
        self._compile_revision = revision
        self._compile_id = self._client.submit(lambda i: Compile(id=i, revision=revision), self._on_compiled)

    def _give_up_compilation(self, failed: Failed) -> None:
        """A plan that the engine did not take is not the one that it would compile."""
        if not failed.cancelled and not self._document.is_resolved:
            self._client.forget(self._compile_id)
            self._document.refuse_compilation(self._document.revision, failed.message.partition("\n")[0])

    def _on_compiled(self, answer: AnyAnswer) -> None:
        """What the user's plan does not allow is for the views to say; it would be a message for every edit."""
        if isinstance(answer, CompilationReady):
            self._document.compile(answer.revision, answer.compilation)
        elif isinstance(answer, Failed) and answer.id == self._compile_id:
            if answer.unexpected:
                self._on_failed(answer)
            if not answer.cancelled:
                self._document.refuse_compilation(self._compile_revision, answer.message.partition("\n")[0])

    def _on_live(self, answer: AnyAnswer, samples: int) -> None:
        """The effective precisions wait for the timing, which follows within milliseconds: all panels are brought
        up to date, and painted, once for both.
        """
        document = self._document
        if isinstance(answer, PlanResolved):
            self._resolved = answer
            return
        with document.together():
            self._take_resolution()
            if isinstance(answer, TimingReady):
                document.time(answer.revision, answer.timing)
                return
        match answer:
            case ErrorsReady():
                if document.measure(answer.revision, answer.errors, answer.final) and not answer.final:
                    self._show(Activity(answer.id, "Measuring errors", answer.errors.samples, samples))
                elif answer.final:
                    self._hide(answer)
            case Progress():
                self._show(Activity(answer.id, _sentence("Updating", answer.stage), answer.done, answer.total))
            case Failed():
                self._on_failed(answer)
                self._hide(answer)
                self._give_up_compilation(answer)
            case _:
                self._hide(answer)
        if not isinstance(answer, STREAMED):
            self.settled.emit()

    def _take_resolution(self) -> None:
        answer, self._resolved = self._resolved, None
        if answer is not None:
            self._document.resolve(
                answer.revision, answer.nodes, answer.refusals, answer.cpu_nodes, answer.regions, answer.cores
            )

    def _on_failed(self, answer: Failed) -> None:
        if answer.cancelled:
            return
        prefix = "Unexpected error in the engine: " if answer.unexpected else ""
        first, _, rest = answer.message.partition("\n")
        action = BIND_COMMAND if BIND_HINT in first else ""
        self._notice(Level.ERROR, prefix + first, details=rest, action=action)

    def _show(self, activity: Activity | None) -> None:
        self._activity = activity
        self.activityChanged.emit(activity)

    def _hide(self, answer: AnyAnswer) -> None:
        if self._activity is not None and self._activity.request_id == answer.id:
            self._show(None)

    def _warn(self, warnings: Sequence[str]) -> None:
        for warning in warnings:
            self._notice(Level.WARNING, warning)

    def _notice(self, level: Level, text: str, details: str = "", action: str = "") -> None:
        self.noticed.emit(Notice(level, text, details, action))

    # The process's life

    def _on_ready(self, targets: tuple[tuple[str, str], ...]) -> None:
        self.targets = targets
        self.targetsChanged.emit(targets)

    def _on_crashed(self, why: str, details: str, lost: list[AnyRequest]) -> None:
        self._is_restoring = False
        self._judging.forget()
        self._distributing.forget()
        self._sent_revision = self._compile_revision = NO_REVISION
        self._show(None)
        self.adviceEnded.emit("The engine ended")
        if any(isinstance(request, Quantise) for request in lost):
            self.quantiseEnded.emit("The engine ended")
        self.tuneEnded.emit()
        lost_open = next((request.path for request in lost if isinstance(request, Open)), "")
        if self._budget.spend():
            self._notice(Level.WARNING, _crash_text(why, lost_open, self._document.is_open), details)
            self._start_again(lost_open)
        else:
            self._notice(
                Level.ERROR,
                f"{why[0].upper()}{why[1:]}, again and again: it is not started any more. Your plan is kept.",
                details,
                RESTART_COMMAND,
            )

    def _start_again(self, lost_open: str) -> None:
        """Start a fresh process and bring it to the document's state, but for what it died of."""
        self._client.start()
        document = self._document
        if not document.is_open or lost_open == document.opened_path:
            return
        self._is_restoring = True
        path, target, bindings = document.opened_path, document.plan.target, dict(document.bindings)
        self._submit(lambda i: self._opening(i, path, bindings, target), self._on_reopened, "Restoring")

    def _opening(self, request_id: int, path: str, bindings: dict[str, int], target: str | None = None) -> Open:
        """The corrections that plans name are files, which the next process finds after a crash."""
        kept = self._corrections.path()
        return Open(id=request_id, path=path, target=target, bindings=bindings, corrections=kept)

    def _on_reopened(self, answer: AnyAnswer) -> None:
        if not isinstance(answer, Opened):
            self._is_restoring = False
            return
        source = self._document.calibration.source
        if source is None:
            self._finish_restoring()
            return

        def handle(answer: AnyAnswer) -> None:
            self._finish_restoring()

        self._submit(lambda i: _calibrate(i, source), handle, "Restoring the calibration")

    def _finish_restoring(self) -> None:
        self._is_restoring = False
        self._send_plan()


def _calibrate(request_id: int, source: CalibrationSource) -> Calibrate:
    return Calibrate(
        id=request_id,
        path=source.path,
        recipe_path=source.recipe_path,
        samples=source.samples,
        split=source.split,
    )


def _crash_text(why: str, lost_open: str, is_open: bool) -> str:
    text = f"{why[0].upper()}{why[1:]}"
    if lost_open:
        return f"{text} while opening {lost_open}; it was started again."
    kept = " and brought back to your plan: nothing is lost" if is_open else ""
    return f"{text}; it was started again{kept}."


def _sentence(text: str, stage: str) -> str:
    """What the progress bar says: the request, and the stage the engine names."""
    return f"{text}: {stage}" if text and stage and stage.lower() != text.lower() else text or stage
