"""A plan as it travels: in messages, to processes that try plans, in journals. Import-light: the window reads it."""

from __future__ import annotations

from types import MappingProxyType

import msgspec

from engine.errors import PlanError
from engine.plan.compile_options import CompileOptions
from engine.plan.types import Plan, Region
from engine.precision import Precision


class PlanData(msgspec.Struct, frozen=True):
    """The user's choices as they travel: see :class:`engine.plan.types.Plan`."""

    choices: dict[str, str] = {}
    methods: dict[str, str] = {}
    default_method: str = "mse"
    regions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    target: str = "journey5"
    compile: CompileOptions = CompileOptions()
    thresholds: dict[str, float] = {}
    corrections: tuple[str, ...] = ()
    power_of_two: bool = False


def plan_of(data: PlanData) -> Plan:
    """The plan that a message carries. Raises PlanError on an unknown precision."""
    try:
        choices = {node: Precision(wanted) for node, wanted in data.choices.items()}
    except ValueError as error:
        raise PlanError(str(error)) from error
    return Plan(
        MappingProxyType(choices),
        MappingProxyType(dict(data.methods)),
        data.default_method,
        tuple(Region(name, nodes) for name, nodes in data.regions),
        data.compile,
        MappingProxyType(dict(data.thresholds)),
        data.corrections,
        data.power_of_two,
    )


def data_of(plan: Plan, target: str) -> PlanData:
    """The message form of a plan."""
    return PlanData(
        choices={node: wanted.value for node, wanted in plan.choices.items()},
        methods=dict(plan.methods),
        default_method=plan.default_method,
        regions=tuple((region.name, region.nodes) for region in plan.regions),
        target=target,
        compile=plan.compile,
        thresholds=dict(plan.thresholds),
        corrections=plan.corrections,
        power_of_two=plan.power_of_two,
    )
