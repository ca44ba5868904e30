"""The facade that the window, the command line and scripts share: open, calibrate, mark, analyse, evaluate, export.

A session is a model, a plan, a target and (once calibrated) ranges. Everything else follows from these four and is
computed when asked for, from caches keyed by content. Not thread-safe: one session, one thread.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.analyze.accumulators import describe_accumulators
from engine.analyze.describe import (
    cpu_nodes,
    describe_graph,
    describe_plan,
    describe_regions,
    describe_timing,
    refusals,
)
from engine.analyze.detail import inspect_node
from engine.analyze.doubts import doubts
from engine.analyze.errors import ErrorAnalysis
from engine.analyze.evaluator import Evaluator, Sample
from engine.analyze.region_trials import RegionTrials
from engine.analyze.task import TaskMetric
from engine.calibrate.data import CALIBRATION_SPLIT, EVALUATION_SPLIT, Dataset, open_data
from engine.calibrate.gather import Gathering
from engine.calibrate.recipe import Recipe, load_recipe
from engine.calibrate.result import CalibrationResult
from engine.clock.estimate import Estimator, Simulation
from engine.clock.report import describe_compilation, describe_frames
from engine.clock.trace_file import write_trace
from engine.errors import CalibrationError, DataError, GraphError, ModelFileError, PlanError, ProjectError
from engine.graph.find import find_nodes
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph, TensorType
from engine.graph.load import load_model
from engine.memory import release_free_memory
from engine.plan.check import check_plan
from engine.plan.compile_options import Level
from engine.plan.corrections import Corrected, Correction, CorrectionStore
from engine.plan.resolve import Resolver
from engine.plan.scales import ValueTypes, assign_types, planned_scales
from engine.plan.types import Plan, Region, Resolution
from engine.precision import Precision
from engine.program.lowering.assemble import UnitCache, has_lowering, lower
from engine.program.types import Program
from engine.project import SUFFIX
from engine.reports import (
    Accumulator,
    Advice,
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
    Stage,
    Timing,
    Verification,
)
from engine.rewrites.advice import Adviser
from engine.session_file import DataSource, SavedSession, read_session, write_session
from engine.target.target import Target, load_target

if TYPE_CHECKING:
    import torch

DEFAULT_TARGET = "journey5"
EVALUATION_BATCH = 32
"""Samples a forward pass of :meth:`Session.evaluate`, where the model's batch dimension is symbolic."""

_CALIBRATION_ELEMENTS = 200_000_000
"""All values of a calibration batch together, of which a tenth are in memory at a time."""

_QUICK_ELEMENTS = 60_000_000
"""The same of a quick calibration: more would leave the processor's caches."""

_SAMPLES_BETWEEN_RELEASES = 8
"""Analysed between two returns of freed memory to the system, so that these take no time to speak of."""

_EVALUATORS = 3
"""Kept at a time: of the model as it was opened, and of two others with corrected constants."""

_TypesKey = tuple[
    Resolution, CalibrationResult, Mapping[str, str], str, Mapping[str, float], tuple[str, ...], bool
]

Progress = Callable[[int, int], None]
Watch = Callable[[], bool]


def _never() -> bool:
    return False


class Session:
    """One open model.

    Attributes:
        source_graph: The float graph as it was opened, every dimension bound.
        corrections: What plans may put in the place of constants, by digest.
        plan: The user's choices; replace it (:meth:`set_plan`) or mark nodes (:meth:`mark`).
        target: The chip; ``target_reference`` is the name or path that it was asked for by.
        calibration: Ranges, or None before :meth:`calibrate`.
        data: Where calibration samples come from, or None.
        project: Path of the project file it was opened from or saved to, or None.
        warnings: Lines for the user about what was opened or calibrated last.
    """

    def __init__(self, graph: Graph, target: str = DEFAULT_TARGET, bindings: Mapping[str, int] | None = None) -> None:
        self.source_graph = graph
        self.corrections = CorrectionStore()
        self.target_reference = target
        self.target = load_target(target)
        self.plan = Plan()
        self.calibration: CalibrationResult | None = None
        self.data: DataSource | None = None
        self.project: Path | None = None
        self.warnings: tuple[str, ...] = ()
        self.bindings = dict(bindings or {})
        self._units = UnitCache()
        self._evaluators: dict[str, Evaluator] = {}
        self._corrected: tuple[tuple[str, ...], Graph, Corrected, Graph] | None = None
        self._resolved: tuple[Plan, Target, Resolution] | None = None
        self._resolving: tuple[Target, Resolver] | None = None
        self._typed: tuple[_TypesKey, ValueTypes] | None = None
        self._lowered: tuple[ValueTypes, Program] | None = None
        self._dataset: tuple[DataSource, Dataset] | None = None
        self._gathering = Gathering()
        self._estimator: tuple[Target, Estimator] | None = None

    @property
    def graph(self) -> Graph:
        """The float graph with the plan's corrections that leave its function as it is; nodes and values are those of
        ``source_graph``."""
        return self._correction()[1]

    # Opening and saving

    @staticmethod
    def open(
        path: str | Path, *, target: str | None = None, bindings: Mapping[str, int] | None = None, batch: int = 1
    ) -> Session:
        """Open a model (``.onnx``, ``.pt2``, TorchScript) or a project (``.qscope``).

        ``bindings`` gives sizes to symbolic dimensions by name; the batch dimension is bound to ``batch``.

        Raises:
            ModelFileError, GraphError: The model cannot be opened.
            ProjectError: The project is malformed, its model moved or changed, or it is given bindings.
            TargetError: The target is unknown or malformed.
        """
        path = Path(path)
        if path.suffix == SUFFIX:
            if bindings:
                hint = "correct bindings under [model] in the project file, or make a new project"
                raise ProjectError("a project keeps the sizes that its model was bound to", path=path, hint=hint)
            return Session._open_project(path, target)
        return Session(load_model(path, bindings=bindings, batch=batch), target or DEFAULT_TARGET, bindings)

    @staticmethod
    def _open_project(path: Path, target: str | None) -> Session:
        saved = read_session(path)
        session = Session(saved.graph, target or saved.target, saved.bindings)
        session.corrections = saved.corrections
        session.set_plan(saved.plan)
        session.calibration, session.data, session.project = saved.calibration, saved.data, path
        session.warnings = session._doubts()
        if saved.data is not None and not saved.data.path.exists():
            missing = f"{path}: its calibration data {saved.data.path} is not there; errors cannot be measured"
            session.warnings = (missing, *session.warnings)
        return session

    @staticmethod
    def from_torch(
        module: torch.nn.Module, example_inputs: tuple[torch.Tensor, ...], *, target: str = DEFAULT_TARGET
    ) -> Session:
        """Open a PyTorch module by exporting it with the example inputs. Such a session has no file to save a project
        beside: export the module to ``.pt2`` or ``.onnx`` for that."""
        from engine.graph.torch_import import from_torch

        return Session(from_torch(module, example_inputs), target)

    def save(self, path: str | Path) -> Path:
        """Write the project file, atomically.

        Raises:
            ProjectError: The file cannot be written, or the model has no file; what was there before is intact.
        """
        given = (self.source_graph, self.target_reference, self.bindings, self.plan, self.calibration, self.data)
        saved = SavedSession(*given, self.corrections)
        write_session(saved, Path(path))
        self.project = Path(path)
        return self.project

    # The plan

    def set_plan(self, plan: Plan) -> None:
        """Replace the plan. Raises PlanError as :meth:`check_plan`; the plan is then as before."""
        self.check_plan(plan)
        self.plan = plan

    def with_plan(self, plan: Plan, resolution: Resolution | None = None) -> Session:
        """The same session with another plan, to see what that would do; both share what is computed and kept.
        ``resolution`` is the plan's where it is known, as that of the same model in another batch. Raises PlanError as
        :meth:`check_plan`."""
        _ = self.evaluator, self._resolver, self._timing  # made once, for both
        twin = copy.copy(self)
        twin.set_plan(plan)
        if resolution is not None:
            twin._resolved = (twin.plan, twin.target, resolution)
        return twin

    def correct(self, correction: Correction) -> str:
        """Put other numbers in the place of constants, on top of earlier corrections; returns their digest."""
        digest = self.corrections.add(correction)
        self.plan = self.plan.with_correction(digest)
        return digest

    def _correction(self) -> tuple[Corrected, Graph]:
        """The plan's corrections, merged, and the float graph with them."""
        wanted, source = self.plan.corrections, self.source_graph
        if self._corrected is None or self._corrected[0] != wanted or self._corrected[1] is not source:
            corrected = Corrected.of(map(self.corrections.get, wanted), source)
            known = self._evaluators.get(corrected.same_digest) if corrected.same else None
            graph = corrected.graph(source) if known is None else known.graph
            self._corrected = (wanted, source, corrected, graph)
        return self._corrected[2:]

    def check_plan(self, plan: Plan, target: Target | None = None) -> None:
        """Raise unless the plan fits the model and the target (None: the session's).

        Raises:
            PlanError: As :func:`engine.plan.check.check_plan`.
        """
        check_plan(plan, self.source_graph, target or self.target, self.corrections)

    def set_target(self, target: str) -> None:
        """Plan for another target. Raises TargetError."""
        self.target = load_target(target)
        self.target_reference = target

    def find(self, pattern: str) -> tuple[str, ...]:
        """Ids of the nodes that a shell pattern (``blocks.3.*``) or, failing that, a regular expression matches.

        A shell pattern must match an id, or an id without its leading slash, as a whole; a regular expression any part.

        Raises:
            PlanError: Nothing matches, or the pattern is neither.
        """
        return find_nodes(self.graph, pattern)

    def mark(self, pattern: str, precision: Precision | str) -> tuple[str, ...]:
        """Request a precision for the nodes that match (see :meth:`find`); returns their ids.

        Raises:
            PlanError: Nothing matches, or there is no such precision.
        """
        try:
            wanted = Precision(precision)
        except ValueError as error:
            names = ", ".join(item.value for item in Precision)
            raise PlanError(f"unknown precision '{precision}'", hint=f"choose one of {names}") from error
        nodes = self.find(pattern)
        self.plan = self.plan.mark(nodes, wanted)
        return nodes

    # Fusion regions

    def fuse(self, nodes: str | Sequence[str], name: str | None = None) -> RegionVerdict:
        """Have nodes run as one kernel: ids, or a pattern (see :meth:`find`). The program's bits stay what they are.

        The region is called ``name`` (one of that name is replaced), or gets the first free name.

        Raises:
            PlanError: A rule forbids it (:meth:`region_verdict` tells all about it), nothing matches, or the name is
                blank. The plan is as before.
        """
        chosen = self._region_trials.free_name() if name is None else name
        if not chosen.strip() or not chosen.isprintable():
            raise PlanError(f"{chosen!r} is no name for a region", hint="use letters, digits and spaces")
        verdict = self.region_verdict(nodes, chosen)
        if not verdict.legal:
            way_out = f"the nearest legal region is {_listed(verdict.nearest)}" if verdict.nearest else verdict.text
            raise PlanError(f"cannot fuse ({verdict.rule}): {verdict.reason}", hint=way_out)
        self.plan = self.plan.with_region(Region(chosen, verdict.nodes))
        return verdict

    def dissolve(self, name: str) -> Region:
        """Remove a fusion region from the plan; returns it.

        Raises:
            PlanError: There is no such region.
        """
        region = self._region_trials.region(name)
        self.plan = self.plan.without_region(name)
        return region

    def region_verdict(self, nodes: str | Sequence[str], name: str | None = None) -> RegionVerdict:
        """Whether nodes (ids, or a pattern) can run as one kernel beside the plan's other regions, what that saves,
        or which rule forbids it. Changes nothing.

        Raises:
            PlanError: The pattern matches nothing.
        """
        ids = self.find(nodes) if isinstance(nodes, str) else tuple(nodes)
        trials = self._region_trials
        return trials.verdict(Region(trials.free_name() if name is None else name, ids))

    def split_verdict(self, name: str, nodes: str | Sequence[str]) -> RegionSplit:
        """What cutting a fusion region in two gives: ``nodes`` (ids, or a pattern) on one side, the rest of the region
        on the other. Both sides must be legal beside each other. A side of a single unit needs no region. Changes
        nothing.

        Raises:
            PlanError: There is no such region, or the pattern matches nothing.
        """
        chosen = self.find(nodes) if isinstance(nodes, str) else nodes
        return self._region_trials.split(name, chosen)

    def regions(self) -> tuple[RegionPlan, ...]:
        """The plan's fusion regions, each with whether it takes effect."""
        return describe_regions(self.plan, self.resolve())

    @property
    def _region_trials(self) -> RegionTrials:
        return RegionTrials(self.plan, self.resolve(), self._resolver, self._timing)

    # Calibration

    def calibrate(
        self,
        data: str | Path,
        *,
        recipe: Recipe | str | Path | None = None,
        samples: int | None = None,
        split: str | None = None,
        quick: bool = False,
        progress: Progress | None = None,
        cancelled: Watch | None = None,
    ) -> CalibrationResult:
        """Gather the range of every activation over the samples, which stream: memory does not grow with their number.
        ``quick`` does so in a third of the time, see :class:`engine.calibrate.gather.Gathering`.

        Raises:
            DataError: The samples do not fit the model.
            CalibrationError: NaN or infinity in weights or activations.
            Cancelled: The user stopped; the session is as before, and the same calibration goes on where it was.
        """
        chosen = recipe if isinstance(recipe, Recipe) or recipe is None else load_recipe(Path(recipe))
        source = DataSource(Path(data), chosen, samples, split)
        dataset = self._open(source, CALIBRATION_SPLIT)
        graph, batch = self._calibration_graph(len(dataset), _QUICK_ELEMENTS if quick else _CALIBRATION_ELEMENTS)
        # The evaluator's own model where it will do: another would hold every weight once more.
        is_own = graph is self.source_graph
        model = self._evaluator_of(graph, "").model if is_own else FloatModel(graph)
        gather = self._gathering.gather
        self.calibration = gather(model, dataset, batch, quick=quick, progress=progress, cancelled=cancelled)
        self.data = source
        self._dataset = (source, dataset)
        self.warnings = self._doubts()
        return self.calibration

    def _doubts(self) -> tuple[str, ...]:
        return () if self.calibration is None else doubts(self.calibration, self.source_graph)

    def _calibration_graph(self, samples: int, elements: int) -> tuple[Graph, int]:
        """The graph to calibrate with: bound to a larger batch where the model allows it, samples abound and its values
        are small."""
        source = self.source_graph
        if self._rows > 1:
            return source, self._rows
        kinds = (source.types[value] for node in source.nodes for value in node.outputs if value)
        most = elements // max(1, sum(kind.element_count for kind in kinds))
        wanted = next((size for size in (16, 8, 4, 2) if size <= most and samples % size == 0), 1)
        batched = self.batched_graph(wanted) if wanted > 1 else None
        return (source, 1) if batched is None else (batched, wanted)

    def batched_graph(self, batch: int) -> Graph | None:
        """The model bound to another batch size; None where its file or its operators fix the batch, or it came from no
        file.

        Raises:
            ModelFileError: The file changed since it was opened.
        """
        if self.graph.source is None or not self.graph.symbolic_batch:
            return None
        try:
            graph = load_model(self.graph.source, bindings=self.bindings, batch=batch)
        except GraphError:
            return None  # shapes inside the model hold for a batch of 1 alone
        if graph.digest != self.graph.digest:
            raise ModelFileError("was changed since it was opened", path=self.graph.source, hint="open it again")
        same = [node.id for node in graph.nodes] == [node.id for node in self.graph.nodes]
        return graph if same else None

    def _open(self, source: DataSource, default_split: str) -> Dataset:
        dataset = open_data(
            source.path,
            graph_inputs=self._input_types(),
            recipe=source.recipe,
            samples=source.samples,
            split=source.split,
            default_split=default_split,
        )
        return dataset.in_whole_batches(self._rows)

    @cached_property
    def _rows(self) -> int:
        """How many samples the model takes at once: the batch it is bound to, where its inputs agree on one."""
        sizes = {kind.shape[0] for kind in self._input_types().values() if kind.shape}
        return max(next(iter(sizes)), 1) if len(sizes) == 1 else 1

    def _input_types(self) -> Mapping[str, TensorType]:
        return {name: self.graph.types[name] for name in self.graph.inputs}

    def samples(self, count: int | None = None) -> Iterator[Sample]:
        """The calibration samples, as many at a time as the model takes at once (usually one), at most ``count`` times.

        Raises:
            DataError: The session has no data, or they cannot be read.
        """
        dataset = self._samples_data()
        for index in range(self.sample_count(len(dataset) if count is None else count)):
            yield self._sample(dataset, index)

    def sample_count(self, most: int) -> int:
        """How many times the model can be fed calibration samples, ``most`` at the most."""
        return min(most, len(self._samples_data()) // self._rows)

    def _sample(self, dataset: Dataset, index: int) -> Sample:
        return Sample.of(dataset.read(index * self._rows, (index + 1) * self._rows))

    def _samples_data(self) -> Dataset:
        if self.data is None:
            raise DataError("the session has no samples", hint="calibrate it with data first")
        if self._dataset is None or self._dataset[0] != self.data:
            self._dataset = (self.data, self._open(self.data, CALIBRATION_SPLIT))
        return self._dataset[1]

    # What follows from model, plan, target and ranges

    def resolve(self) -> Resolution:
        """Effective precision and unit of every node."""
        if self._resolved is None or self._resolved[0] is not self.plan or self._resolved[1] is not self.target:
            resolution = self._resolver.resolve(self.plan)
            self._resolved = (self.plan, self.target, resolution)
        return self._resolved[2]

    def program(self) -> Program:
        """The integer program of the plan.

        Raises:
            CalibrationError: The session is not calibrated.
            GraphError: NaN in weights, or an accumulator that could overflow.
        """
        values = self._value_types()
        if self._lowered is None or self._lowered[0] is not values:
            corrected, graph = self._correction()
            self._lowered = (values, lower(graph, self.resolve(), values, self._units, corrected))
        return self._lowered[1]

    def _value_types(self) -> ValueTypes:
        """The type of every value, computed once for a plan and a calibration. Raises CalibrationError."""
        resolution = self.resolve()
        if self.calibration is None:
            raise CalibrationError("the session is not calibrated", hint="calibrate it with data first")
        # Plans that differ in their ranges alone have one resolution.
        plan = self.plan
        chosen = plan.methods, plan.default_method, plan.thresholds, plan.corrections, plan.power_of_two
        key = (resolution, self.calibration, *chosen)
        if self._typed is None or not _are_same(self._typed[0], key):
            scale_of = planned_scales(self.calibration, self.plan, self._correction()[0].ranges)
            self._typed = (key, assign_types(self.graph, self.plan, resolution, scale_of))
        return self._typed[1]

    def estimate(self) -> Timing:
        """Estimated time of every node, and totals. Needs no calibration."""
        timing = self._timing.estimate(self.resolve(), self.plan.compile)
        return describe_timing(self.graph, self.target, timing)

    def simulation(self) -> Simulation:
        """The compiled model and the trace of one frame, as the engine has them."""
        return self._timing.simulate(self.resolve(), self.plan.compile)

    def compilation(self) -> Compilation:
        """The compiled model: kernels, the timeline of a frame, memory, what each pass did. Needs no calibration."""
        resolution, options = self.resolve(), self.plan.compile
        plain = self._timing.simulate(resolution, msgspec.structs.replace(options, level=Level.O0))
        simulation = self.simulation()
        return describe_compilation(self.target, simulation, plain)

    def write_timeline(self, path: str | Path, frames: int = 1) -> int:
        """Write when each job of ``frames`` frames behind each other runs, for Perfetto and Chrome's tracing page;
        returns the number of events.

        Raises:
            ExportError: The file cannot be written.
        """
        compilation = self.compilation()
        timeline = compilation.timeline
        if frames > 1:
            simulation = self.simulation()
            timeline = describe_frames(simulation, timeline, frames)
        return write_trace(Path(path), compilation, timeline, frames)

    @property
    def _resolver(self) -> Resolver:
        """Resolves plans for the present target, and remembers."""
        if self._resolving is None or self._resolving[0] is not self.target:
            self._resolving = (self.target, Resolver(self.source_graph, self.target, has_lowering))
        return self._resolving[1]

    @property
    def _timing(self) -> Estimator:
        """Estimates resolutions on the present target, and remembers."""
        if self._estimator is None or self._estimator[0] is not self.target:
            self._estimator = (self.target, Estimator(self.source_graph, self.target))
        return self._estimator[1]

    @property
    def evaluator(self) -> Evaluator:
        """Runs programs on samples and remembers, within a memory bound."""
        corrected, graph = self._correction()
        return self._evaluator_of(graph, corrected.same_digest)

    @property
    def source_evaluator(self) -> Evaluator:
        """That of the model as imported: what leaves its function as it is does so on calibrated values only."""
        return self._evaluator_of(self.source_graph, "")

    def _evaluator_of(self, graph: Graph, mark: str) -> Evaluator:
        """The evaluator of the model with some constants; those of the source and of the newest others are kept."""
        if not self._evaluators:
            self._evaluators[""] = Evaluator(self.source_graph)
        if mark not in self._evaluators:
            if len(self._evaluators) == _EVALUATORS:
                del self._evaluators[list(self._evaluators)[1]]
            self._evaluators[mark] = self._evaluators[""].beside(graph, mark)
        return self._evaluators[mark]

    def error_analysis(self, samples: int | None = None) -> ErrorAnalysis:
        """An analysis of the present plan, to be fed samples one by one, ``samples`` at the most."""
        return ErrorAnalysis(self.evaluator, self.resolve(), self.program(), samples)

    def analyze(self, samples: int = 8, progress: Progress | None = None, cancelled: Watch = _never) -> Errors:
        """Errors of every node over the first ``samples`` calibration samples.

        Raises:
            CalibrationError, DataError: The session is not calibrated, or its samples cannot be read.
            Cancelled: The user stopped.
        """
        self.program()  # whoever has neither ranges nor samples is told of the ranges
        total = self.sample_count(samples)
        analysis = self.error_analysis(total)
        for done, sample in enumerate(self.samples(samples), start=1):
            analysis.add(sample, cancelled)
            if done == total or (analysis.keeps and done % _SAMPLES_BETWEEN_RELEASES == 0):
                release_free_memory()
            if progress is not None:
                progress(done, total)
        return analysis.report()

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Mapping[str, NDArray[np.generic]]:
        """The integer program's outputs, by name, for one set of inputs."""
        values = self.evaluator.outputs(self.program(), Sample.of(inputs))
        return {name: tensor.numpy() for name, tensor in values.items()}

    def run_float(self, inputs: Mapping[str, NDArray[np.generic]]) -> Mapping[str, NDArray[np.generic]]:
        """The float model's outputs, by name, for one set of inputs."""
        values = self.evaluator.model.run(inputs, keep=self.graph.outputs)
        return {name: values[name].numpy() for name in self.graph.outputs}

    def evaluate(
        self,
        data: str | Path,
        *,
        recipe: Recipe | None = None,
        split: str | None = None,
        samples: int | None = None,
        progress: Progress | None = None,
        cancelled: Watch = _never,
    ) -> Evaluation:
        """Task metric of float model and integer program on labelled data (without labels: their agreement).

        The recipe is the calibration's unless one is given. Where the model's batch dimension is symbolic, samples run
        in batches: the integers do not depend on the batch.

        Raises:
            CalibrationError, DataError, Cancelled: As :meth:`analyze`.
        """
        metric = self.task_metric(data, recipe=recipe, split=split, samples=samples)
        self.count(metric, progress, cancelled)
        return metric.report(len(cpu_nodes(self.graph, self.resolve())))

    def task_metric(
        self, data: str | Path, *, recipe: Recipe | None = None, split: str | None = None, samples: int | None = None
    ) -> TaskMetric:
        """The metric of :meth:`evaluate`, with nothing counted yet. Raises DataError where the data do not fit."""
        recipe = recipe or (self.data.recipe if self.data is not None else None)
        return TaskMetric(self._open(DataSource(Path(data), recipe, samples, split), EVALUATION_SPLIT), self.graph)

    def count(self, metric: TaskMetric, progress: Progress | None = None, cancelled: Watch = _never) -> None:
        """Count the samples of a metric; raises as :meth:`evaluate`."""
        for runner, size in self._evaluation_runners(metric.samples):
            metric.run(runner.source_evaluator, runner.program(), size, progress, cancelled)

    def verify(
        self,
        samples: int = 2,
        stages: Collection[Stage] = tuple(Stage),
        progress: Callable[[str, int, int], None] | None = None,
        cancelled: Watch = _never,
    ) -> Verification:
        """Compare every stage (float, calibrated, integer, exported, package) with what other programs compute on
        calibration samples; see :func:`engine.verify.verify.verify`.

        Raises:
            CalibrationError, DataError, GraphError: The session is not calibrated, or has no integer program.
            Cancelled: The user stopped.
        """
        from engine.verify.verify import verify

        return verify(self, samples, stages, progress, cancelled)

    def _evaluation_runners(self, samples: int) -> Iterator[tuple[Session, int]]:
        """Sessions that together cover the samples: whole batches first, then one at a time."""
        if self._rows > 1:
            yield self, self._rows
            return
        twin = self.batched(EVALUATION_BATCH) if samples >= EVALUATION_BATCH else None
        if twin is not None:
            yield twin, EVALUATION_BATCH
        if twin is None or samples % EVALUATION_BATCH:
            yield self, 1

    def batched(self, batch: int) -> Session | None:
        """The same integers on the same model bound to another batch; None where :meth:`batched_graph` has none.

        What runs where is decided for the model's own batch: the target's limits on sizes do not look at the other one.

        Raises:
            ModelFileError: The file changed since it was opened.
        """
        graph = self.batched_graph(batch)
        if graph is None:
            return None
        twin = Session(graph, self.target_reference, self.bindings)
        twin.plan, twin.target, twin.calibration, twin.data = self.plan, self.target, self.calibration, self.data
        twin.corrections = self.corrections
        twin._resolved = (twin.plan, twin.target, self.resolve())
        return twin

    def export(
        self, path: str | Path, format: str = "package", options: Mapping[str, str] | None = None
    ) -> ExportSummary:
        """Write an export: ``package`` (what ``quantscope run`` executes), ``qdq`` (ONNX for other runtimes),
        ``integer-onnx`` (ONNX with the program's own bits), ``tosa`` or ``ethos-u`` (compiled by Arm's Vela).

        ``options`` are texts by name, those of the format's record in :mod:`engine.export.options`.

        Raises:
            ExportError: The format or an option is unknown, a node cannot be expressed, or the file cannot be written.
        """
        from engine.export.registry import export_session

        return export_session(self, Path(path), format, options)

    # Records for the window and for files

    def graph_info(self) -> GraphInfo:
        return describe_graph(self.graph)

    def node_plans(self) -> tuple[NodePlan, ...]:
        """Requested and effective precision of every node, with scales once calibrated."""
        resolution = self.resolve()
        types = None if self.calibration is None else self._value_types().types
        return describe_plan(self.graph, self.plan, resolution, types)

    def refusals(self) -> tuple[Refusal, ...]:
        """Nodes that are not computed as requested, or on the CPU unasked, each with its reason."""
        return refusals(self.graph, self.plan, self.resolve())

    def advice(self) -> Advice:
        """For each of :meth:`refusals` the rule that it breaks, and a rewrite that the target takes, with what that
        does to the latency: the model is compiled with it."""
        refused = self.refusals()
        if not refused:
            return Advice(())
        latency_us = self._timing.estimate(self.resolve(), self.plan.compile).latency_us
        return Adviser(self.graph, self.plan, self.target, has_lowering, latency_us).advise(refused)

    def accumulators(self) -> tuple[Accumulator, ...]:
        """For every kernel that adds values up, how large its sums can become, against the width they are kept in.

        Those without a proof come first, then the tightest.

        Raises:
            CalibrationError: The session is not calibrated.
            GraphError: As :meth:`program`.
        """
        return describe_accumulators(self.graph, self.program())

    def cpu_nodes(self) -> tuple[str, ...]:
        """Ids of the nodes that compute float values on the CPU."""
        return cpu_nodes(self.graph, self.resolve())

    def inspect(self, node_id: str, sample: int = 0) -> NodeDetail:
        """Histograms, ranges and scales of one node on one calibration sample."""
        count = self.sample_count(len(self._samples_data()))
        if not 0 <= sample < count:
            raise DataError(f"there is no sample {sample}", hint=f"choose one from 0 to {count - 1}")
        data = self._sample(self._samples_data(), sample)
        return inspect_node(self.evaluator, self.program(), self.resolve(), node_id, data)


def _are_same(known: _TypesKey, wanted: _TypesKey) -> bool:
    """Whether types that were assigned for ``known`` hold for ``wanted``."""
    return known[0] is wanted[0] and known[1] is wanted[1] and known[2:] == wanted[2:]


def _listed(nodes: Sequence[str], most: int = 8) -> str:
    names = ", ".join(f"'{node}'" for node in nodes[:most])
    return names if len(nodes) <= most else f"{names} and {len(nodes) - most} more"
