"""What a search may choose: the precision of each unit, the range method of each value, how much the compiler does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from engine.calibrate.result import INT8_LEVELS, METHOD_NAMES, TensorRange
from engine.errors import PlanError
from engine.plan.compile_options import CompileOptions, Level
from engine.plan.resolve import passes_through
from engine.plan.types import Plan, Resolution, Unit
from engine.precision import Precision

if TYPE_CHECKING:
    from engine.session import Session

Genome = tuple[int, ...]
"""An option for each decision of a space; all zeros are the project's plan."""

AS_PLANNED = 0

_SAME = 0.02
"""Thresholds that differ by less than this fraction are one option."""

_TRIED = (Precision.INT8, Precision.INT16, Precision.FLOAT)


@dataclass(frozen=True)
class UnitDecision:
    """The precision of one unit. ``options`` are the marks of its nodes, those of the project's plan first; ``dtypes``
    the type that each gives the unit's output."""

    anchor: str
    nodes: tuple[str, ...]
    options: tuple[Mapping[str, Precision], ...]
    dtypes: tuple[str, ...]

    def option_of(self, dtype: str) -> int:
        """The option whose output has the type; the project's own where there is none."""
        return self.dtypes.index(dtype) if dtype in self.dtypes else AS_PLANNED


@dataclass(frozen=True)
class RangeDecision:
    """The calibration method of one value; "" stands for what the project's plan has (its method, or its threshold)."""

    value: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class CompileDecision:
    """How much the compiler does: the project's options, and level O3, which searches fusions too."""

    options: tuple[CompileOptions, ...]


Decision = UnitDecision | RangeDecision | CompileDecision


@dataclass(frozen=True, eq=False)
class Space:
    """All decisions about one plan: units in graph order, then values, then the compiler."""

    base: Plan
    units: tuple[UnitDecision, ...]
    ranges: tuple[RangeDecision, ...]
    compiler: CompileDecision

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        return (*self.units, *self.ranges, self.compiler)

    @property
    def origin(self) -> Genome:
        """The project's plan."""
        return (AS_PLANNED,) * len(self.decisions)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many options each decision has."""
        return tuple(len(decision.options) for decision in self.decisions)

    @property
    def compiler_place(self) -> int:
        """Where a genome has the compiler's options."""
        return len(self.units) + len(self.ranges)

    def plan(self, genome: Genome) -> Plan:
        """The plan that a genome stands for."""
        pairs = list(zip(self.decisions, genome, strict=True))
        choices, methods, thresholds = dict(self.base.choices), dict(self.base.methods), dict(self.base.thresholds)
        compile_options = self.base.compile
        for decision, option in pairs:
            if option == AS_PLANNED:
                continue
            if isinstance(decision, UnitDecision):
                _mark(choices, decision, option)
            elif isinstance(decision, RangeDecision):
                thresholds.pop(decision.value, None)
                methods[decision.value] = decision.options[option]
            else:
                compile_options = decision.options[option]
        return replace(
            self.base,
            choices=MappingProxyType(choices),
            methods=MappingProxyType(methods),
            thresholds=MappingProxyType(thresholds),
            compile=compile_options,
        )

    def uniform(self, dtype: str) -> Genome:
        """Every unit with an output of one type, as far as it has such an option; all else as planned."""
        units = tuple(unit.option_of(dtype) for unit in self.units)
        return (*units, *(AS_PLANNED,) * (len(self.ranges) + 1))

    def with_method(self, genome: Genome, method: str) -> Genome:
        """The genome with one range method for every value that has it among its options."""
        chosen = list(genome)
        for place, decision in enumerate(self.ranges, start=len(self.units)):
            if method in decision.options:
                chosen[place] = decision.options.index(method)
        return tuple(chosen)

    def changed(self, genome: Genome, changes: Mapping[int, int]) -> Genome:
        """The genome with other options at some places."""
        return tuple(changes.get(place, option) for place, option in enumerate(genome))

    def accuracy_part(self, genome: Genome) -> Genome:
        """What the accuracy depends on: all but the compiler's options."""
        return genome[: self.compiler_place]


def _mark(choices: dict[str, Precision], decision: UnitDecision, option: int) -> None:
    for node in decision.nodes:
        choices.pop(node, None)
    choices.update(decision.options[option])


def space_of(session: Session) -> Space:
    """The decisions that the target leaves open around a session's plan.

    What a unit can be is asked of the resolver for all units at once: once with every node left to ``auto``, once with
    every node marked int8, and so on. A unit that only passes its input on has no decision of its own.
    """
    base, graph = session.plan, session.graph
    planned = session.resolve()
    nodes = tuple(node.id for node in graph.nodes)
    marked = {precision: session.with_plan(base.mark(nodes, precision)).resolve() for precision in _TRIED}
    units = tuple(_unit_decisions(session, planned, marked))
    return Space(base, units, tuple(_range_decisions(session, units)), _compile_decision(base.compile))


def _unit_decisions(
    session: Session, planned: Resolution, marked: Mapping[Precision, Resolution]
) -> Sequence[UnitDecision]:
    found: list[UnitDecision] = []
    for unit in planned.units:
        if not _decides(session, planned, unit):
            continue
        given = session.plan.choices
        options = [MappingProxyType({node: given[node] for node in unit.nodes if node in given})]
        dtypes = [planned.effective[unit.last].dtype]
        for precision, resolution in marked.items():
            dtype = resolution.effective[unit.last].dtype
            if dtype not in dtypes and _holds(resolution, unit, dtype):
                options.append(MappingProxyType(dict.fromkeys(unit.nodes, precision)))
                dtypes.append(dtype)
        if len(options) > 1:
            found.append(UnitDecision(unit.anchor, unit.nodes, tuple(options), tuple(dtypes)))
    return found


def _decides(session: Session, planned: Resolution, unit: Unit) -> bool:
    """Whether a unit makes numbers in a type of its own: not indices, and not what it was given."""
    node = session.graph.by_id[unit.last]
    effective = planned.effective[unit.last]
    if effective.dtype not in ("int8", "int16", "float32") or not session.graph.types[node.outputs[0]].is_float:
        return False
    passes = len(unit.nodes) == 1 and passes_through(node, effective.precision, session.plan.requested(node.id))
    return not passes


def _holds(resolution: Resolution, unit: Unit, dtype: str) -> bool:
    """Whether all of the unit's nodes get a type when all are marked for it."""
    return all(resolution.effective[node].dtype == dtype for node in unit.nodes)


def _range_decisions(session: Session, units: Sequence[UnitDecision]) -> Sequence[RangeDecision]:
    """Of every value that a unit quantises, the methods that give it another scale in 8 bits."""
    calibration, plan = session.calibration, session.plan
    found: list[RangeDecision] = []
    for unit in units:
        if "int8" not in unit.dtypes:
            continue
        for value in session.graph.by_id[unit.nodes[-1]].outputs:
            known = None if calibration is None else calibration.ranges.get(value)
            if known is None:
                continue
            method = plan.methods.get(value, plan.default_method)
            seen = [plan.thresholds.get(value, _threshold(known, method) or 0.0)]
            options = [""]
            for name in METHOD_NAMES:
                threshold = _threshold(known, name)
                if threshold is not None and all(abs(threshold - other) > _SAME * other for other in seen):
                    seen.append(threshold)
                    options.append(name)
            if len(options) > 1:
                found.append(RangeDecision(value, tuple(options)))
    return found


def _threshold(known: TensorRange, method: str) -> float | None:
    """A method's threshold for 8 bits; None where an older version measured the range without it."""
    try:
        return known.threshold(method, INT8_LEVELS)
    except PlanError:
        return None


def _compile_decision(options: CompileOptions) -> CompileDecision:
    if options.level is Level.O3:
        return CompileDecision((options,))
    return CompileDecision((options, msgspec.structs.replace(options, level=Level.O3)))
