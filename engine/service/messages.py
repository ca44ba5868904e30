"""Messages between the window and the engine process: typed, versionless (both ends ship together), one frame each.

A frame is a 4-byte little-endian length and that many bytes of msgpack (msgspec tagged unions). Requests carry an
``id``; every answer repeats it. Requests that depend on the plan carry the document's ``revision``, which answers
repeat so that the window can drop what is stale. The engine process works on one request at a time; a newer
``UpdatePlan`` supersedes the live work of an older one, and ``Cancel`` stops the running request between two
instructions.

Import-light on purpose: the window imports this without torch or numpy.
"""

from __future__ import annotations

import msgspec

from engine.plan.data import PlanData
from engine.reports import (
    Compilation,
    Errors,
    Evaluation,
    ExportSummary,
    GraphInfo,
    NodeDetail,
    NodePlan,
    Refusal,
    RegionPlan,
    RegionSplit,
    RegionVerdict,
    Timing,
    Verification,
)
from engine.reports_advice import AccuracyAdvice, Aim
from engine.reports_analysis import NodeExplanation, Sensitivities
from engine.reports_distribution import NodeDistribution
from engine.reports_quantise import QuantiseProgress
from engine.train.records import TrainOptions, TrainProgress, TrainReport
from engine.tune.records import TunePoint, TuneReport, TuneSettings


class Request(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    """Base of what the window asks."""

    id: int


class Open(Request, frozen=True, tag="open"):
    """Open a model or a project; answers Opened (for a calibrated project, live results follow UpdatePlan).

    ``corrections`` is a folder for corrections, so that a process which takes over has those of this one; "": none."""

    path: str
    target: str | None = None
    bindings: dict[str, int] = {}
    corrections: str = ""


class UpdatePlan(Request, frozen=True, tag="update_plan"):
    """The plan changed. Streams PlanResolved, TimingReady, then ErrorsReady (one sample, then growing to
    ``samples``), then Done, or Failed with ``cancelled`` once something newer supersedes it, which may be at once.
    ``samples`` 0 stops after the timing."""

    revision: int
    plan: PlanData
    samples: int = 8


class Calibrate(Request, frozen=True, tag="calibrate"):
    """Calibrate from data. Streams Progress, ends with Calibrated."""

    path: str
    recipe_path: str | None = None
    samples: int | None = None
    split: str | None = None


class Inspect(Request, frozen=True, tag="inspect"):
    """Details of one node; answers Inspected."""

    revision: int
    node: str
    sample: int = 0


class Distribute(Request, frozen=True, tag="distribute"):
    """How the values of a node are distributed over the first ``samples`` calibration samples, or over one of them;
    answers Distributed."""

    revision: int
    node: str
    samples: int = 8
    sample: int | None = None
    channel: int | None = None


class CheckRegion(Request, frozen=True, tag="check_region"):
    """Whether nodes can run as one kernel, beside the other regions of the last UpdatePlan; ``name`` is the region that
    they are (to be), if it has one. Changes nothing and stops nothing; answers RegionChecked."""

    revision: int
    nodes: tuple[str, ...]
    name: str | None = None


class CheckSplit(Request, frozen=True, tag="check_split"):
    """Whether the region ``name`` of the last UpdatePlan can be cut in two, ``nodes`` on one side. Changes nothing and
    stops nothing; answers SplitChecked."""

    revision: int
    name: str
    nodes: tuple[str, ...]


class Compile(Request, frozen=True, tag="compile"):
    """The compiled model with the plan of the last UpdatePlan: timeline, memory, passes; answers CompilationReady."""

    revision: int


class Evaluate(Request, frozen=True, tag="evaluate"):
    """Task metric; streams Progress, answers Evaluated."""

    revision: int
    path: str
    split: str | None = None
    samples: int | None = None


class Verify(Request, frozen=True, tag="verify"):
    """Compare every stage with other programs, with the plan of the last UpdatePlan; streams Progress, answers
    Verified."""

    revision: int
    samples: int = 2


class LabelledData(msgspec.Struct, frozen=True):
    """Data with labels: a folder of pictures or an .npz file, the part of it (None: that of the name "test"), and at
    most how many samples (None: all). Pictures are read as the calibration's were."""

    path: str
    split: str | None = None
    samples: int | None = None


class Advise(Request, frozen=True, tag="advise"):
    """Look for remedies for the plan of the last UpdatePlan, at ``nodes`` (none: where it costs most, and the whole
    model, with a verdict), tried on ``samples`` calibration samples. Runs while nothing else is asked for: streams
    Progress and Advised, ends with Done. Later plans neither stop nor change it; another model or calibration does.
    ``data`` are what the verdict goes by (None: the calibration samples)."""

    revision: int
    nodes: tuple[str, ...] = ()
    samples: int = 16
    aim: Aim = Aim()
    data: LabelledData | None = None


class Train(Request, frozen=True, tag="train"):
    """Train the plan of the last UpdatePlan on data. Runs while nothing else is asked for: streams Training, ends with
    Trained, also when it is cancelled (the best so far). Later plans neither stop nor change it; another model or
    calibration does."""

    revision: int
    path: str
    split: str | None = None
    samples: int | None = None
    options: TrainOptions = TrainOptions()


class Sense(Request, frozen=True, tag="sense"):
    """The sensitivity of every node with the plan of the last UpdatePlan: work in the background. Streams Sensed (one
    sample, then growing to ``samples``), ends with Done, or Failed with ``cancelled`` once another plan is there."""

    revision: int
    samples: int = 8


class Explain(Request, frozen=True, tag="explain"):
    """Why a node errs with the plan of the last UpdatePlan: work in the background. Streams Explained (one sample, then
    growing to ``samples``), ends with Done, or Failed with ``cancelled`` once another plan is there."""

    revision: int
    node: str
    samples: int = 8


class Quantise(Request, frozen=True, tag="quantise"):
    """Run a preset on the plan of the last UpdatePlan, on ``samples`` calibration samples. Every other request comes
    between its steps: streams Progress and Quantised, ends with Done. Later plans neither stop nor change it; another
    model or calibration does."""

    revision: int
    preset: str
    samples: int = 64


class Tune(Request, frozen=True, tag="tune"):
    """Search plans around that of the last UpdatePlan, in a process beside this one; ``workers`` measure. Streams
    TunePointFound, answers Tuned. Cancelled, it ends at once; what was measured is kept for the next search."""

    revision: int
    settings: TuneSettings
    workers: int = 1


class Save(Request, frozen=True, tag="save"):
    """Write the project with the plan of the last UpdatePlan; answers Saved."""

    path: str


class Export(Request, frozen=True, tag="export"):
    """Write an export in a format of :mod:`engine.export.registry`, with its options as texts by name; answers
    Exported.
    """

    format: str
    path: str
    options: dict[str, str] = {}


class Cancel(Request, frozen=True, tag="cancel"):
    """Stop the request with id ``target_id``; it then answers Failed with ``cancelled`` set."""

    target_id: int


class Answer(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    """Base of what the engine answers."""

    id: int


class Ready(Answer, frozen=True, tag="ready"):
    """Sent once (id 0) when the process can take requests."""

    targets: tuple[tuple[str, str], ...]


class Opened(Answer, frozen=True, tag="opened"):
    """A model is open. ``project`` is the project's path when one was opened, "" for a bare model."""

    graph: GraphInfo
    plan: PlanData
    project: str
    calibrated: bool
    calibration_data: str = ""
    warnings: tuple[str, ...] = ()


class PlanResolved(Answer, frozen=True, tag="plan_resolved"):
    """Effective choices for a revision; ``cores`` are those of its target."""

    revision: int
    nodes: tuple[NodePlan, ...]
    refusals: tuple[Refusal, ...]
    cpu_nodes: int
    regions: tuple[RegionPlan, ...] = ()
    cores: int = 1


class TimingReady(Answer, frozen=True, tag="timing"):
    """The latency map for a revision."""

    revision: int
    timing: Timing


class ErrorsReady(Answer, frozen=True, tag="errors"):
    """The error maps for a revision, over ``errors.samples`` samples; more may follow until ``final``."""

    revision: int
    errors: Errors
    final: bool


class Calibrated(Answer, frozen=True, tag="calibrated"):
    """Calibration is done; the window should send UpdatePlan."""

    samples: int
    data: str
    warnings: tuple[str, ...] = ()


class Inspected(Answer, frozen=True, tag="inspected"):
    """Details of a node."""

    revision: int
    detail: NodeDetail


class Distributed(Answer, frozen=True, tag="distributed"):
    """Distributions of a node."""

    revision: int
    distribution: NodeDistribution


class RegionChecked(Answer, frozen=True, tag="region_checked"):
    """Whether the nodes can run as one kernel, and what it saves or why not."""

    revision: int
    verdict: RegionVerdict


class SplitChecked(Answer, frozen=True, tag="split_checked"):
    """What cutting a region in two gives, or why it cannot be."""

    revision: int
    split: RegionSplit


class CompilationReady(Answer, frozen=True, tag="compilation"):
    """The compiled model of a revision."""

    revision: int
    compilation: Compilation


class Evaluated(Answer, frozen=True, tag="evaluated"):
    """The task metric."""

    revision: int
    evaluation: Evaluation


class Verified(Answer, frozen=True, tag="verified"):
    """What other programs compute."""

    revision: int
    verification: Verification


class Advised(Answer, frozen=True, tag="advised"):
    """The advice so far; more may follow until Done. ``plans`` are those, by the key of their trial (0: the
    combination), that were in no earlier answer or have changed."""

    revision: int
    advice: AccuracyAdvice
    plans: dict[int, PlanData]


class Training(Answer, frozen=True, tag="training"):
    """How far a training run is, with the points of its curves since the last answer."""

    revision: int
    course: TrainProgress


class Trained(Answer, frozen=True, tag="trained"):
    """A training run ended; ``plan`` is that of the request with what was learned."""

    revision: int
    report: TrainReport
    plan: PlanData


class Sensed(Answer, frozen=True, tag="sensed"):
    """Sensitivities for a revision, over ``sensitivities.samples`` samples; more may follow until ``final``."""

    revision: int
    sensitivities: Sensitivities
    final: bool


class Explained(Answer, frozen=True, tag="explained"):
    """Why a node errs; more may follow until Done."""

    revision: int
    explanation: NodeExplanation


class Quantised(Answer, frozen=True, tag="quantised"):
    """What a preset has found so far, and its plan; more may follow until Done."""

    revision: int
    progress: QuantiseProgress
    plan: PlanData


class TunePointFound(Answer, frozen=True, tag="tune_point"):
    """A plan was measured; ``front`` are the numbers of all that are on the front now."""

    revision: int
    point: TunePoint
    front: tuple[int, ...]


class Tuned(Answer, frozen=True, tag="tuned"):
    """A search is over."""

    revision: int
    report: TuneReport


class Saved(Answer, frozen=True, tag="saved"):
    """The project was written."""

    path: str


class Exported(Answer, frozen=True, tag="exported"):
    """The export was written."""

    summary: ExportSummary


class Done(Answer, frozen=True, tag="done"):
    """The streamed answers to a request are complete."""

    revision: int = 0


class Progress(Answer, frozen=True, tag="progress"):
    """Progress of long work."""

    stage: str
    done: int
    total: int


class Failed(Answer, frozen=True, tag="failed"):
    """The request failed in an expected way; ``message`` is one line for the user."""

    message: str
    cancelled: bool = False
    unexpected: bool = False


AnyRequest = (
    Open
    | UpdatePlan
    | Calibrate
    | Inspect
    | Distribute
    | CheckRegion
    | CheckSplit
    | Compile
    | Evaluate
    | Verify
    | Advise
    | Train
    | Sense
    | Explain
    | Quantise
    | Tune
    | Save
    | Export
    | Cancel
)
AnyAnswer = (
    Ready
    | Opened
    | PlanResolved
    | TimingReady
    | ErrorsReady
    | Calibrated
    | Inspected
    | Distributed
    | RegionChecked
    | SplitChecked
    | CompilationReady
    | Evaluated
    | Verified
    | Advised
    | Training
    | Trained
    | Sensed
    | Explained
    | Quantised
    | TunePointFound
    | Tuned
    | Saved
    | Exported
    | Done
    | Progress
    | Failed
)
