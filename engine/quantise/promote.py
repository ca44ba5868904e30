# pyright: reportUnknownMemberType=false
"""int16 where it pays: the few units whose int8 results the model's outputs feel most.

What a unit's result loses in int8 is one source of noise among a hundred. In the program that is to be improved it
drowns in the others, and promoting a layer normalisation alone, or one operand of an addition, shows nothing. So every
source is measured by itself: in a program with all of them in int16, one unit at a time goes back to int8, and what
that changes at the outputs is its noise. Sources are independent and noises add up: the loss of any choice of units is
then known without running it, and the best choice within a share of the operators and a latency is found greedily.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from engine.analyze.felt import felt_values
from engine.analyze.keys import value_keys
from engine.analyze.quality import Quality, measure
from engine.errors import Cancelled
from engine.ops.other import Input
from engine.plan.resolve import passes_through
from engine.precision import Precision
from engine.program.executor import run_instruction
from engine.program.types import Instruction, Program
from engine.quantise.bias import BiasCorrection
from engine.quantise.enough import Answers, Enough
from engine.quantise.step import Work

if TYPE_CHECKING:
    from engine.analyze.evaluator import Sample
    from engine.plan.types import Plan, Unit
    from engine.session import Session

Tensors = Mapping[str, torch.Tensor]

NARROW = (Precision.INT8, Precision.LUT)

BIAS = "bias"
"""The kind of correction that belongs to precisions."""

JUDGES = 16
"""Samples that say whether a plan is better, or reaches a target."""

SMALLEST_GAIN_DB = 0.005
"""A unit that is predicted to gain less stays as it is."""


@dataclass(frozen=True)
class Budget:
    """How much may be spent.

    ``share``: of the operators (all nodes but inputs) that may be int16, with those that are already. ``latency``: the
    largest estimate over the present one; None: any. ``target_db``: the signal to noise at the outputs from which on
    nothing more is promoted, as it is measured; None: as much as the budget allows. ``enough``: the same as it is
    predicted, in terms of what the model answers.
    """

    share: float = 0.10
    latency: float | None = 1.10
    target_db: float | None = None
    enough: Enough | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """A unit in int8: its ``nodes``, its ``noise`` [samples] at the outputs (over the signal's energy), how many
    ``operators`` its promotion makes int16, those that only pass its result on included, and ``latency_us`` of it."""

    nodes: tuple[str, ...]
    noise: NDArray[np.float64]
    operators: int
    latency_us: float


@dataclass(frozen=True)
class Promote:
    """The step: at most ``samples`` of the work's are looked at. The work's own share of operators at int16 goes
    before the budget's."""

    budget: Budget = Budget()
    samples: int = 3
    title: str = "int16 where it pays"

    def __call__(self, session: Session, work: Work) -> Plan:
        share = self.budget.share if work.max_int16 is None else work.max_int16
        return promote(session, work, replace(self.budget, share=share), self.samples)


def promote(session: Session, work: Work, budget: Budget = Budget(), samples: int = 3) -> Plan:
    """The session's plan with more units in int16; what the user has marked stays as it is.

    Noise is measured on ``samples`` of the work's; the answer has as few promotions as reach the target on
    all of them, or what the budget allows. Biases that took mean errors back are fitted anew: the errors are others.
    Where that measures no better, it is the session's own plan.

    Raises:
        CalibrationError, DataError: As :func:`engine.analyze.quality.measure`.
        Cancelled: ``work.cancelled()``.
    """
    aim = _Aim.of(session, work, budget)
    if aim.is_met:
        return session.plan
    spread = work.samples[:: max(1, len(work.samples) // samples)][:samples]
    return _chosen(session, *sources(session, spread, work), work, aim)


def within(session: Session, found: Sequence[Source], floor: NDArray[np.float64], work: Work, budget: Budget) -> Plan:
    """As :func:`promote`, of sources that were measured (:func:`sources`): for several budgets."""
    aim = _Aim.of(session, work, budget)
    return session.plan if aim.is_met else _chosen(session, found, floor, work, aim)


@dataclass(frozen=True, eq=False)
class _Aim:
    """A budget, how many more operators it lets be int16 (``room``), the quality of the session's plan, and what the
    model answers where the budget has a bound on that."""

    budget: Budget
    room: int
    present: Quality
    answers: Answers | None

    @staticmethod
    def of(session: Session, work: Work, budget: Budget) -> _Aim:
        wide, operators = share_at_int16(session)
        room = math.floor(budget.share * operators + 1e-9) - wide
        answers = None if budget.enough is None or room < 1 else Answers.of(session, work)
        return _Aim(budget, room, _quality(session, session.plan, work), answers)

    @property
    def is_met(self) -> bool:
        """Whether nothing is to be promoted."""
        target_db = self.budget.target_db
        reached = target_db is not None and self.present.mean_db >= target_db
        return self.room < 1 or reached or self.is_enough(self.noise)

    @property
    def noise(self) -> float:
        """That of the session's plan over the signal, as it is measured."""
        return 10.0**self.present.loss

    def is_enough(self, noise: float) -> bool:
        """Whether so much noise leaves the answers as they are."""
        enough, answers = self.budget.enough, self.answers
        return enough is not None and answers is not None and answers.are_kept(noise, enough)


def _quality(session: Session, plan: Plan, work: Work) -> Quality:
    return measure(session.with_plan(plan), work.samples[:JUDGES], work.cancelled)


def _chosen(session: Session, found: Sequence[Source], floor: NDArray[np.float64], work: Work, aim: _Aim) -> Plan:
    order = _picked(session, found, floor, aim)
    if not order:
        return session.plan

    def plan_with(count: int) -> Plan:
        return _refitted(session, _promoted(session.plan, order[:count]), work)

    count, target_db = len(order), aim.budget.target_db
    if target_db is not None:
        count = _fewest(lambda tried: _quality(session, plan_with(tried), work).mean_db >= target_db, count)
    plan = plan_with(count)
    gain_db = _quality(session, plan, work).gain_over(aim.present).mean
    return plan if gain_db is not None and gain_db > 0.0 else session.plan


def _refitted(session: Session, plan: Plan, work: Work) -> Plan:
    """The plan with the biases that belong to it, where the session's has some."""
    kept = tuple(digest for digest in plan.corrections if session.corrections.get(digest).kind != BIAS)
    if kept == plan.corrections:
        return plan
    return BiasCorrection()(session.with_plan(replace(plan, corrections=kept)), work)


def _fewest(enough: Callable[[int], bool], most: int) -> int:
    """The smallest number in [1, most] that is enough, taken to be so for all larger ones; ``most`` if none is."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def _promoted(plan: Plan, found: Iterable[Source]) -> Plan:
    return plan.mark(tuple(node for source in found for node in source.nodes), Precision.INT16)


# -- noise -------------------------------------------------------------------------------------------------------------


def sources(session: Session, samples: Sequence[Sample], work: Work) -> tuple[list[Source], NDArray[np.float64]]:
    """Every unit that could be int16, and the noise over signal [samples] that is left when all of them are.

    Raises Cancelled.
    """
    units = [unit for unit in session.resolve().units if _is_narrow(session, unit)]
    wide = _in_int16(session, units, Work(tuple(samples), cancelled=work.cancelled))
    tried = [(unit, back.program()) for unit in units if (back := _without(wide, unit)) is not None]
    felt = felt_values(session.graph, wide.program().value_of)
    noises, floor = np.zeros((len(tried), len(samples))), np.zeros(len(samples))
    for place, sample in enumerate(samples):
        replay = Replay(wide.program(), sample, felt)
        exact = session.evaluator.model.run(sample.inputs, keep=felt)
        signal = max(sum(float(exact[value].double().square().sum()) for value in felt), 1e-30)
        floor[place] = sum(float((exact[value] - replay.felt[value]).square().sum()) for value in felt) / signal
        for index, (_, program) in enumerate(tried):
            if work.cancelled():
                raise Cancelled
            noises[index, place] = replay.change(program) / signal
            work.progress(place * len(tried) + index + 1, len(samples) * len(tried))
    present_us = _latency_us(session)
    found = [_source(session, unit, noise, present_us) for (unit, _), noise in zip(tried, noises, strict=True)]
    return found, floor


def _in_int16(session: Session, units: Sequence[Unit], work: Work) -> Session:
    """The session with all units in int16, and biases that take back what rounded weights shift: with these shifts,
    some models answer to any noise alike."""
    plan = session.plan.mark(tuple(node for unit in units for node in unit.nodes), Precision.INT16)
    kept = tuple(digest for digest in plan.corrections if session.corrections.get(digest).kind != BIAS)
    wide = session.with_plan(replace(plan, corrections=kept))
    return wide.with_plan(BiasCorrection()(wide, work))


def _is_narrow(session: Session, unit: Unit) -> bool:
    """Whether the unit makes numbers in int8 that it does not merely pass on, and nobody asked for that."""
    graph, effective = session.graph, session.resolve().effective
    if any(session.plan.requested(node) is not Precision.AUTO for node in unit.nodes):
        return False
    node, precision = graph.by_id[unit.last], effective[unit.last].precision
    if precision not in NARROW or effective[unit.last].dtype != "int8":
        return False
    return len(unit.nodes) > 1 or not passes_through(node, precision, Precision.AUTO)


def _without(wide: Session, unit: Unit) -> Session | None:
    """The session with the unit alone in int8; None where it is not int16 at all, or would not be int8."""
    if wide.resolve().effective[unit.last].precision is not Precision.INT16:
        return None
    twin = wide.with_plan(wide.plan.mark(unit.nodes, Precision.AUTO))
    return twin if twin.resolve().effective[unit.last].precision in NARROW else None


def _source(session: Session, unit: Unit, noise: NDArray[np.float64], latency_us: float) -> Source:
    """The unit with what its promotion costs; ``latency_us`` is the session's."""
    twin = session.with_plan(session.plan.mark(unit.nodes, Precision.INT16))
    more = _wide_operators(twin) - _wide_operators(session)
    return Source(unit.nodes, noise, max(1, more), _latency_us(twin) - latency_us)


def _latency_us(session: Session) -> float:
    return session.estimate().latency_ms * 1000.0


def share_at_int16(session: Session) -> tuple[int, int]:
    """How many operators (all nodes but inputs) are computed in int16, and of how many."""
    effective = session.resolve().effective
    nodes = [node.id for node in session.graph.nodes if not isinstance(node.op, Input)]
    return sum(effective[node].precision is Precision.INT16 for node in nodes), len(nodes)


def _wide_operators(session: Session) -> int:
    return share_at_int16(session)[0]


class Replay:
    """A program's values on one sample, kept, so that another program computes only what differs from it.

    ``felt`` has the float values of ``wanted`` (graph values) as the program computes them.
    """

    def __init__(self, program: Program, sample: Sample, wanted: Sequence[str]) -> None:
        self._sample = sample
        self._wanted = wanted
        self._known: dict[bytes, torch.Tensor] = {}
        self.felt = self._run(program, keep=True)

    def change(self, program: Program) -> float:
        """Sum of the squared differences between a program's felt values and those of the first one."""
        felt = self._run(program, keep=False)
        return sum(float((self.felt[value] - felt[value]).square().sum()) for value in self._wanted)

    def _run(self, program: Program, *, keep: bool) -> Tensors:
        """Execute what is not known yet. Kept values stay known, others are freed after their last use."""
        keys = value_keys(program, self._sample.digest)
        values = self._known if keep else dict[bytes, torch.Tensor]()
        for name, value in program.inputs.items():
            self._known[keys[value]] = torch.from_numpy(np.ascontiguousarray(self._sample.inputs[name]))
        wanted = {program.value_of[value] for value in self._wanted}
        todo = self._needed(program, keys, wanted)
        last_use = {name: place for place, item in enumerate(todo) for name in item.inputs}
        with torch.inference_mode():
            for place, item in enumerate(todo):
                results = run_instruction(item, [self._operand(program, n, keys, values) for n in item.inputs])
                values.update({keys[n]: t for n, t in zip(item.outputs, results, strict=True) if n})
                for name in item.inputs if not keep else ():
                    if last_use[name] == place and name not in wanted:
                        values.pop(keys[name], None)
        return {value: self._real(program, value, keys, values) for value in self._wanted}

    def _needed(self, program: Program, keys: Mapping[str, bytes], wanted: set[str]) -> list[Instruction]:
        """Instructions that make wanted values from known ones, in order."""
        pending, todo = set(wanted), list[Instruction]()
        for item in reversed(program.instructions):
            if any(name in pending and keys[name] not in self._known for name in item.outputs):
                todo.append(item)
                pending.update(item.inputs)
        return todo[::-1]

    def _real(
        self, program: Program, value: str, keys: Mapping[str, bytes], values: Mapping[bytes, torch.Tensor]
    ) -> torch.Tensor:
        name = program.value_of[value]
        tensor = self._operand(program, name, keys, values)
        assert tensor is not None
        return tensor.double() * program.types[name].scale

    def _operand(
        self, program: Program, name: str, keys: Mapping[str, bytes], values: Mapping[bytes, torch.Tensor]
    ) -> torch.Tensor | None:
        if not name:
            return None
        constant = program.constants.get(name)
        if constant is not None:
            return constant.tensor
        found = values.get(keys[name])
        return self._known[keys[name]] if found is None else found


# -- choice ------------------------------------------------------------------------------------------------------------


def _picked(session: Session, found: Sequence[Source], floor: NDArray[np.float64], aim: _Aim) -> list[Source]:
    """Sources worth promoting, in the order of gain for what they take of the budget."""
    room, present_us, latency = aim.room, _latency_us(session), aim.budget.latency
    room_us = math.inf if latency is None else (latency - 1.0) * present_us
    left, picked = list(found), list[Source]()
    noise = floor + np.sum([source.noise for source in found], axis=0)
    measured = aim.noise / _mean(noise)
    while left and not aim.is_enough(measured * _mean(noise)):
        gains = [_gain_db(noise, source.noise) for source in left]
        spent = [_spent(source, room, room_us) for source in left]
        best = max(range(len(left)), key=lambda i: gains[i] / spent[i])
        source = left.pop(best)
        if gains[best] < SMALLEST_GAIN_DB:
            continue
        tried = session.with_plan(_promoted(session.plan, [*picked, source]))
        if _wide_operators(tried) - _wide_operators(session) > room:
            continue
        if room_us < math.inf and _latency_us(tried) - present_us > room_us:
            continue
        picked.append(source)
        noise = noise - source.noise
    return picked


def _mean(noise: NDArray[np.float64]) -> float:
    """Over samples, of decibels."""
    return float(np.exp(np.log(np.maximum(noise, 1e-30)).mean()))


def _gain_db(noise: NDArray[np.float64], source: NDArray[np.float64]) -> float:
    """Mean over samples of how much less noise there is without a source."""
    left = np.maximum(noise - source, 1e-30)
    return float(10 * np.log10(np.maximum(noise, 1e-30) / left).mean())


def _spent(source: Source, room: int, room_us: float) -> float:
    """The part of the budget that a promotion takes: of its operators, and of its latency where that is bounded."""
    share = source.operators / max(room, 1)
    return share if room_us == math.inf else share + max(source.latency_us, 0.0) / max(room_us, 1e-9)
