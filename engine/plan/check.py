"""Whether a plan fits a model and a target."""

from __future__ import annotations

import math

from engine.calibrate.result import check_method
from engine.errors import PlanError
from engine.graph.graph import Graph
from engine.plan.corrections import CorrectionStore
from engine.plan.types import Plan
from engine.target.target import Target


def check_plan(plan: Plan, graph: Graph, target: Target, corrections: CorrectionStore) -> None:
    """Raise unless the plan fits.

    Raises:
        PlanError: A choice names no node, a method or a correction is unknown, a threshold is no positive number, two
            fusion regions have one name, or a figure of the compile options is out of range or more than the target
            has. (A region that is not legal, or whose nodes are gone, is no error: its verdict says so.)
    """
    if plan.compile.problem:
        raise PlanError(plan.compile.problem)
    if plan.compile.cores is not None and plan.compile.cores > target.core_count:
        there = f"{target.name} has {target.core_count}"
        raise PlanError(f"the plan asks for {plan.compile.cores} cores, {there}", hint="ask for fewer, or for all")
    unknown = [node for node in plan.choices if node not in graph.by_id]
    if unknown:
        raise PlanError(f"the plan marks nodes that are not in the model: {', '.join(unknown[:3])}")
    for method in (plan.default_method, *plan.methods.values()):
        check_method(method)
    for value, threshold in plan.thresholds.items():
        if not 0.0 < threshold < math.inf:
            raise PlanError(f"the threshold of value '{value}' is {threshold}", hint="choose a positive number")
    for digest in plan.corrections:
        corrections.get(digest)
    names = [region.name for region in plan.regions]
    for name in names:
        if names.count(name) > 1:
            raise PlanError(f"two fusion regions are called '{name}'", hint="rename or remove one of them")
