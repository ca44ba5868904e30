"""For every node that a target refuses: the broken rule with its numbers, and a rewrite that it takes, timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.clock.estimate import Estimator
from engine.graph.graph import Graph, Node
from engine.ops.base import Op
from engine.ops.linear import Mac
from engine.plan.resolve import resolve
from engine.plan.types import Plan, Resolution
from engine.precision import Precision
from engine.reports import Refusal, Rewrite
from engine.rewrites.forms import REWRITES, Question
from engine.rewrites.patch import Patch
from engine.target import rules
from engine.target.target import Target

MOST_ESTIMATES = 32
"""Nodes for which a rewrite is timed, each by compiling the whole model with it."""

Lowers = Callable[[Op], bool]


@dataclass(frozen=True, eq=False)
class Adviser:
    """Looks for rewrites of one graph under one plan.

    ``lowers`` says whether the integer program has a form for an operator, ``latency_us`` is the present estimate.
    """

    graph: Graph
    plan: Plan
    target: Target
    lowers: Lowers
    latency_us: float

    def advise(self, refused: Sequence[Refusal]) -> tuple[Rewrite, ...]:
        """One answer for each refused node, in their order."""
        found: list[Rewrite] = []
        timed = 0
        for item in refused:
            answer = self._answer(item, may_time=timed < MOST_ESTIMATES)
            timed += answer.change_us is not None
            found.append(answer)
        return tuple(found)

    def _answer(self, refused: Refusal, may_time: bool) -> Rewrite:
        node = self.graph.by_id[refused.id]
        broken = self._broken(node)
        if broken is None:
            return Rewrite(node.id, reason=refused.reason)
        answer = Rewrite(node.id, broken.rule, refused.reason, broken.measured, broken.limit, broken.advice)
        for rewrite in REWRITES.get(broken.rule, ()):
            for patch in rewrite.form(Question(self.graph, node, broken)):
                tried = self._resolved(patch)
                if tried is not None:
                    return _with(answer, rewrite.text, patch, self._change_us(*tried) if may_time else None)
        return answer

    def _broken(self, node: Node) -> rules.Refusal | None:
        """What forbids the precision that was asked for, or the one that the target prefers."""
        offered = [p for p in rules.allowed(node.op, self.target, self.lowers) if p is not Precision.FLOAT]
        requested = self.plan.requested(node.id)
        if not offered or requested is Precision.FLOAT:
            return None
        wanted = offered[0] if requested is Precision.AUTO else requested
        return rules.check_node(self.graph, node, wanted, self.target)

    def _resolved(self, patch: Patch) -> tuple[Graph, Resolution] | None:
        """The graph with the patch, resolved; None unless the chip computes all of it, as it was asked to."""
        graph = patch.applied()
        names = tuple(node.id for node in patch.nodes)
        requested = self.plan.requested(patch.node.id)
        plan = self.plan.mark((patch.node.id,), Precision.AUTO).mark(names, requested)
        resolution = resolve(graph, plan, self.target, self.lowers)
        precisions = {node.id: resolution.effective[node.id].precision for node in patch.nodes}
        products = [precisions[node.id] for node in patch.nodes if isinstance(node.op, Mac)]
        as_asked = requested is Precision.AUTO or all(precision is requested for precision in products)
        return (graph, resolution) if as_asked and Precision.FLOAT not in precisions.values() else None

    def _change_us(self, graph: Graph, resolution: Resolution) -> float:
        timing = Estimator(graph, self.target).estimate(resolution, self.plan.compile)
        return timing.latency_us - self.latency_us


def _with(answer: Rewrite, text: str, patch: Patch, change_us: float | None) -> Rewrite:
    """The answer with the rewrite, and its effect where it was timed."""
    count = sum(isinstance(node.op, type(patch.node.op)) for node in patch.nodes)
    parts = f" ({count} parts)" if count > 1 else ""
    return Rewrite(
        answer.id, answer.rule, answer.reason, answer.measured, answer.limit, f"{text}{parts}", change_us, True
    )
