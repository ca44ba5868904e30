"""What drawing or cutting a fusion region would come to, before anybody does."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from engine.analyze.describe import describe_verdict
from engine.clock.estimate import Estimator
from engine.errors import PlanError
from engine.plan.resolve import Resolver
from engine.plan.types import Plan, Region, Resolution
from engine.reports import RegionSplit, RegionVerdict


@dataclass(frozen=True)
class RegionTrials:
    """Verdicts on regions beside those of a ``plan``, whose ``resolution`` is known. Nothing here changes the plan."""

    plan: Plan
    resolution: Resolution
    resolver: Resolver
    estimator: Estimator

    def region(self, name: str) -> Region:
        """A fusion region of the plan. Raises PlanError."""
        for region in self.plan.regions:
            if region.name == name:
                return region
        names = [region.name for region in self.plan.regions]
        raise PlanError(f"there is no fusion region '{name}'", hint=f"there are: {', '.join(names) or 'none'}")

    def free_name(self) -> str:
        """The first of ``region 1``, ``region 2``, ... that no region has."""
        names = {region.name for region in self.plan.regions}
        return next(name for name in map("region {}".format, itertools.count(1)) if name not in names)

    def verdict(self, region: Region) -> RegionVerdict:
        """Whether a region is legal beside the plan's others, what it saves, or which rule forbids it."""
        return self._verdict(self.plan, region)

    def split(self, name: str, nodes: Sequence[str]) -> RegionSplit:
        """What cutting a region in two gives: ``nodes`` on one side, the rest of it on the other. Both sides must be
        legal beside each other. A side of a single unit needs no region.

        Raises:
            PlanError: There is no such region.
        """
        chosen, whole = set(nodes), self.region(name).nodes
        sides = [tuple(n for n in whole if n in chosen), tuple(n for n in whole if n not in chosen)]
        if not all(sides):
            reason = "all of its nodes are on one side" if sides[0] else "none of its nodes is chosen"
            return RegionSplit(name, reason=f"'{name}' is not cut: {reason}")
        plan, free = self.plan.without_region(name), self.free_name()
        parts: list[RegionVerdict] = []
        for side in sides:
            region = Region(free if parts else name, side)
            verdict = self._verdict(plan, region)
            if not verdict.legal and not self._is_one_unit(side):
                return RegionSplit(name, refused=verdict, reason=verdict.reason)
            if verdict.legal:
                parts.append(verdict)
                plan = plan.with_region(region)
        return RegionSplit(name, tuple(parts))

    def _verdict(self, plan: Plan, region: Region) -> RegionVerdict:
        """Whether a region is legal beside the others of a plan (of its choices, the present ones are meant)."""
        verdict = self.resolver.check_region(self._with_regions(plan), region.nodes, region.name)
        if not verdict.legal:
            return describe_verdict(region.name, verdict)
        sides = (plan.without_region(region.name), plan.with_region(region))
        times = (self.estimator.estimate(self._with_regions(side), self.plan.compile) for side in sides)
        return describe_verdict(region.name, verdict, *times)

    def _with_regions(self, plan: Plan) -> Resolution:
        """The present resolution with a plan's fusion regions in place of its own."""
        return self.resolution if plan is self.plan else self.resolver.with_regions(self.resolution, plan)

    def _is_one_unit(self, nodes: Sequence[str]) -> bool:
        """Whether the nodes are one whole unit: a kernel without any region."""
        unit = self.resolution.unit_of.get(nodes[0])
        return unit is not None and set(unit.nodes) == set(nodes)
