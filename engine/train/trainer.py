# pyright: reportUnknownMemberType=false
"""The training loop: steps, judgements on samples kept aside, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.analyze.task import class_count
from engine.calibrate.data import open_data
from engine.calibrate.recipe import Recipe
from engine.errors import GraphError, PlanError, ProjectError
from engine.memory import release_free_memory
from engine.plan.compile_options import CompileOptions
from engine.plan.data import data_of
from engine.plan.types import Plan
from engine.program.types import Program
from engine.train.checkpoint import TrainState, read_state, write_state
from engine.train.convert import TITLE, convert, differing_bits, prepare
from engine.train.judge import FloatOutputs, Judge, Score, pieces
from engine.train.losses import Objective
from engine.train.module import IntegerModule
from engine.train.records import (
    Ending,
    LossPoint,
    MetricPoint,
    TrainOptions,
    TrainProgress,
    TrainReport,
    drop_text,
    with_bounds,
)
from engine.train.samples import TrainingSamples
from engine.train.turns import turn_of

if TYPE_CHECKING:
    from engine.session import Session

TRAINING_SPLIT = "training"

Observer = Callable[[TrainProgress], None]

_GRADIENT_NORM = 1.0
_MOMENTUM = 0.9
_WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""

_FIRST_STEPS = 10
_EXPLOSION = 10.0
"""Times the mean loss of the first steps that the mean of as many later ones reaches when a run has diverged."""

_SMALL_LOSS = 1e-3
"""A first loss below it counts as this much."""

_PATIENCE = 4
_WORSE = 2.0
_RECOVERING = 0.9
"""A run has diverged too when at so many judgements on end the loss is more than so many times that of the program
before training, and has not come down to this share of itself meanwhile: a network that has collapsed answers with the
same for everything, and its loss stays where that is."""

_COMPARED = 32
"""Samples on which the plan is compared with the module in the end."""


def train(
    session: Session,
    data: Path,
    options: TrainOptions | None = None,
    *,
    recipe: Recipe | None = None,
    split: str | None = None,
    samples: int | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    resume: Path | None = None,
    observe: Observer | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Plan, TrainReport]:
    """Train a session's plan; returns it with what was learned (itself where nothing became better) and the report.

    The session's plan is not changed. The recipe is the calibration's unless one is given.

    Args:
        data: Samples, labelled or not.
        split: Part of the data; ``training`` where it has parts and none is asked for.
        samples: The first so many of them.
        device: Where gradients are computed, as torch names it.
        checkpoint: File that the state is written to at every judgement, and when the run ends early.
        resume: Such a file to go on from: the run continues bit for bit.

    Raises:
        DataError: Samples or labels do not fit the model.
        CalibrationError, GraphError: The session has no integer program.
        PlanError: Options that make no sense, a checkpoint of another run, or a device that is not there.
        ProjectError: The checkpoint cannot be written when the run begins. Later that is in the report's text.
    """
    trainer = prepared_trainer(session, data, options or TrainOptions(), recipe, split, samples, device)
    if resume is not None:
        trainer.resume(resume)
    for course in trainer.run(checkpoint):
        if observe is not None:
            observe(course)
        if cancelled():
            trainer.stop(checkpoint)
            break
    return trainer.finish()


def prepared_trainer(
    session: Session,
    data: Path,
    options: TrainOptions,
    recipe: Recipe | None = None,
    split: str | None = None,
    samples: int | None = None,
    device: str = "cpu",
) -> Trainer:
    """A run of :func:`train` before its first step. Raises what that does."""
    if options.problem:
        raise PlanError(options.problem)
    recipe = recipe or (session.data.recipe if session.data is not None else None)
    kinds = {name: session.graph.types[name] for name in session.graph.inputs}
    dataset = open_data(
        data, graph_inputs=kinds, recipe=recipe, samples=samples, split=split, default_split=TRAINING_SPLIT
    )
    if dataset.labels is not None:
        dataset.check_labels(class_count(session.graph, dataset))
    module = prepare(session).to(_device(device))
    kept = TrainingSamples(dataset, module.own_rows, options.batch, options.holdout, options.seed)
    return Trainer(session, module, kept, options)


class Trainer:
    """One run over a module; see :func:`train`."""

    def __init__(
        self, session: Session, module: IntegerModule, samples: TrainingSamples, options: TrainOptions
    ) -> None:
        self._session, self._module, self._samples, self._options = session, module, samples, options
        self._objective = Objective(session.graph, samples.labelled and not options.distill)
        self._float_outputs = FloatOutputs(module)
        self._turn = turn_of(session.graph, module.own_rows, samples.batch)
        self._judge = Judge(module, samples, self._objective, self._float_outputs, self._turn)
        self._steps = options.epochs * samples.steps_per_epoch
        self._optimiser = _optimiser(module, options)
        self._state = TrainState()
        self._ending: Ending = "finished"
        self._problem = ""
        self._unsaved = ""

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint. Raises PlanError where it is none of this run."""
        self._state = read_state(path, self._identity(), self._module, self._optimiser)

    def run(self, checkpoint: Path | None = None) -> Iterator[TrainProgress]:
        """Train to the end, or until the run diverges; how far it is after each part of a step, and while it is
        judged: nothing between two answers takes long."""
        if self._lacks_judgement():
            yield from self._measure()
        self._save(checkpoint)  # what cannot be written is better said before hours of work
        yield self._course()
        for places in self._remaining():
            yield from self._step(places)
            if self._problem:
                self._ending = "diverged"
                return
            if self._lacks_judgement():
                yield from self._measure()
                self._try_to_save(checkpoint)
            if self._stays_worse():
                self._ending = "diverged"
                return
            yield self._course()

    def stop(self, checkpoint: Path | None = None) -> None:
        """End the run where it is."""
        if self._state.step < self._steps:
            self._ending = "cancelled"
            self._try_to_save(checkpoint)

    def finish(self) -> tuple[Plan, TrainReport]:
        """The plan with the best numbers, compared with the module once more, and the report."""
        best = self._state.best_point
        start = self._state.metrics[0] if self._state.metrics else best
        plan, compared = self._session.plan, 0
        if best.step > 0:
            self._module.load_state_dict(self._state.best)
            plan = convert(self._session, self._module, f"{TITLE}, {best.step} steps")
            compared = self._compare(plan)
        report = TrainReport(
            ending=self._ending,
            text=self._text(),
            metric=self._judge.metric_name,
            float_metric=self._judge.float_metric,
            start=start,
            best=best,
            steps=self._state.step,
            total_steps=self._steps,
            samples=len(self._samples.training),
            held_out=len(self._samples.held_out),
            losses=tuple(self._state.losses),
            metrics=tuple(self._state.metrics),
            compared=compared,
        )
        return plan, report

    # One step

    def _remaining(self) -> Iterator[NDArray[np.int64]]:
        """The batches that are left, in order."""
        per_epoch = self._samples.steps_per_epoch
        for epoch in range(self._state.step // per_epoch, self._options.epochs):
            batches = self._samples.epoch(epoch)
            yield from batches[max(0, self._state.step - epoch * per_epoch) :]

    def _step(self, places: NDArray[np.int64]) -> Iterator[TrainProgress]:
        """Train on one batch, some samples at a time; there is a problem where the run has diverged."""
        rate, loss = self._learning_rate(), 0.0
        self._optimiser.zero_grad(set_to_none=True)
        program: Program | None = None
        for start in range(0, len(places), self._turn):
            if start:
                yield self._course()
            part = places[start : start + self._turn]
            try:
                program = program or self._module.program(self._module.rows_for(len(part)))
                loss += self._descend(part, program, len(part) / len(places))
            except GraphError as error:  # NaN in weights, or scales that no program bridges
                self._problem = f"step {self._state.step + 1} has no program any more ({error.message})"
                return
        if not self._is_sound(loss):
            return
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["share"]
        torch.nn.utils.clip_grad_norm_(self._module.parameters(), _GRADIENT_NORM)
        self._optimiser.step()
        self._state.step += 1
        self._state.losses.append(LossPoint(self._state.step, loss, rate))

    def _descend(self, places: NDArray[np.int64], program: Program, share: float) -> float:
        """Add the slope of these samples, which are a share of the batch; returns their share of its loss."""
        device, inputs = self._module.device, self._samples.inputs(places)
        outputs = self._module.outputs({name: tensor.to(device) for name, tensor in inputs.items()}, program)
        labels = self._samples.labels(places)
        loss = self._objective(outputs, self._teach(inputs), None if labels is None else labels.to(device)) * share
        value = float(loss.detach())
        if math.isfinite(value):
            loss.backward()  # pyright: ignore[reportUnknownMemberType]
        return value

    def _learning_rate(self) -> float:
        """Of the next step: rising over the first, then as the schedule says."""
        warm_up = max(1, round(self._steps * _WARM_UP))
        step = self._state.step
        if step < warm_up:
            return self._options.learning_rate * (step + 1) / warm_up
        if self._options.schedule == "constant":
            return self._options.learning_rate
        done = (step - warm_up) / max(1, self._steps - warm_up)
        return self._options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))

    def _is_sound(self, loss: float) -> bool:
        """Whether the loss is a number, and the last ones no multiple of the first."""
        if not math.isfinite(loss):
            self._problem = f"the loss of step {self._state.step + 1} is {loss}"
            return False
        losses = [point.loss for point in self._state.losses]
        if len(losses) < 2 * _FIRST_STEPS:
            return True
        first = max(sum(losses[:_FIRST_STEPS]) / _FIRST_STEPS, _SMALL_LOSS)
        last = (sum(losses[1 - _FIRST_STEPS :]) + loss) / _FIRST_STEPS
        if last > _EXPLOSION * first:
            self._problem = f"the loss rose from {first:.3g} to {last:.3g} by step {self._state.step + 1}"
            return False
        return True

    def _teach(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The float model's outputs for a batch, where the loss asks for them."""
        if self._objective.labelled:
            return {}
        return {name: tensor.to(self._module.device) for name, tensor in self._float_outputs(inputs).items()}

    # Judging

    def _lacks_judgement(self) -> bool:
        """Whether the present program is to be judged: before the first step, so many times an epoch, at its end."""
        step, per_epoch = self._state.step, self._samples.steps_per_epoch
        if self._state.metrics and self._state.metrics[-1].step == step:
            return False
        place, share = (step - 1) % per_epoch + 1, self._options.evaluations
        return step == 0 or place * share // per_epoch > (place - 1) * share // per_epoch

    def _measure(self) -> Iterator[TrainProgress]:
        """Judge the present program, batch by batch; remember it if it is the best."""
        score = Score()
        try:
            for place in range(self._judge.batch_count):
                self._judge.add(score, place)
                yield self._course()
        except GraphError:
            return  # the next step says that the run diverged
        release_free_memory()
        point = score.point(self._state.step)
        self._state.metrics.append(point)
        if not self._state.best or self._rank(point) > self._rank(self._state.best_point):
            self._state.best_point = point
            self._state.best = {name: tensor.clone() for name, tensor in self._module.state_dict().items()}

    def _stays_worse(self) -> bool:
        """Whether the judgements say that the run has diverged."""
        points = self._state.metrics
        if len(points) <= _PATIENCE:
            return False
        before, last = max(points[0].loss, _SMALL_LOSS), [point.loss for point in points[-_PATIENCE:]]
        if min(last) <= _WORSE * before or last[-1] <= _RECOVERING * last[0]:
            return False
        since = points[-_PATIENCE].step
        how = f"rose from {before:.3g} to {last[-1]:.3g} by step {since} and stays there"
        self._problem = f"the loss on samples kept aside {how}"
        return True

    def _rank(self, point: MetricPoint) -> tuple[float, float]:
        """What the best has most of. Who follows the float model is judged by that: one picture of a thousand more is
        chance."""
        if self._options.distill:
            return -point.loss, point.metric
        return point.metric, -point.loss

    def _compare(self, plan: Plan) -> int:
        """Compare the plan's program with the module; returns on how many samples.

        Raises:
            RuntimeError: They differ: a defect of this program.
        """
        rows = self._module.own_rows
        count = min(_COMPARED, len(self._samples.held_out)) // rows * rows
        inputs = self._samples.inputs(self._samples.held_out[:count])
        differing = sum(differing_bits(self._session, plan, self._module, part) for part in pieces(inputs, rows))
        if differing:
            raise RuntimeError(f"the trained plan differs from the module in {differing} output elements")
        return count

    # Telling and keeping

    def _course(self) -> TrainProgress:
        """How far the run is, with the points that were not told yet."""
        state = self._state
        losses, metrics = tuple(state.losses[state.told_losses :]), tuple(state.metrics[state.told_metrics :])
        state.told_losses, state.told_metrics = len(state.losses), len(state.metrics)
        return TrainProgress(state.step, self._steps, losses, metrics, self._judge.metric_name)

    def _save(self, checkpoint: Path | None) -> None:
        if checkpoint is not None:
            write_state(checkpoint, self._identity(), self._state, self._module, self._optimiser)

    def _try_to_save(self, checkpoint: Path | None) -> None:
        """As :meth:`_save`; a failure does not cost the run, whose report tells it."""
        try:
            self._save(checkpoint)
            self._unsaved = ""
        except ProjectError as failure:
            self._unsaved = f"; the last checkpoint is missing: {failure}"

    def _identity(self) -> Mapping[str, object]:
        """What a run's continuation must have in common with it, by name."""
        session = self._session
        plan = data_of(session.plan, session.target_reference)
        numbers = msgspec.structs.replace(plan, regions=(), compile=CompileOptions())  # these two only schedule
        return {
            "model": session.graph.digest,
            "plan": msgspec.json.encode(numbers, order="deterministic").decode(),
            "data": str(self._samples.dataset.path.resolve()),
            "samples": len(self._samples.dataset),
            **msgspec.structs.asdict(self._options),
        }

    def _text(self) -> str:
        state = self._state
        how = {
            "finished": f"trained {state.step} steps",
            "cancelled": f"stopped after {state.step} of {self._steps} steps",
            "diverged": f"diverged: {self._problem}; train again with a smaller learning rate",
        }[self._ending]
        best = state.best_point
        if best.step == 0:
            return f"{how}; nothing was better than the program before, which is kept{self._unsaved}"
        figures = " → ".join(with_bounds(self._judge.metric_name, point) for point in (state.metrics[0], best))
        drop = f"; {drop_text(best)}" if best.drop is not None else ""
        where = f"{len(self._samples.held_out)} samples kept aside (step {best.step})"
        return f"{how}; {figures} on {where}{drop}{self._unsaved}"


def _optimiser(module: IntegerModule, options: TrainOptions) -> torch.optim.Optimizer:
    """With two groups: weights and biases; scales and thresholds, whose learning rate is a multiple of the weights'."""
    values = [*module.weights.values, *module.biases.values]
    growths = [*(growth for growth in module.weights.growths if growth.numel()), module.thresholds.growths]
    groups = [{"params": values, "share": 1.0}, {"params": growths, "share": options.scale_rate}]
    if options.optimiser == "adam":
        return torch.optim.Adam(groups, lr=options.learning_rate)
    return torch.optim.SGD(groups, lr=options.learning_rate, momentum=_MOMENTUM)


def _device(name: str) -> torch.device:
    """Raises PlanError where there is no such device."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise PlanError(f"there is no device '{name}' ({reason})", hint="train on cpu") from error
    return device
