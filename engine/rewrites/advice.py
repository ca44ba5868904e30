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
from engine.reports import Advice, Refusal, Rewrite
from engine.rewrites.forms import REWRITES, Question
from engine.rewrites.patch import Patch, applied
from engine.target import rules
from engine.target.target import Target

MOST_REWRITES = 32
"""Nodes for which a rewrite is looked for: each is timed by compiling the whole model with it."""

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

    def advise(self, refused: Sequence[Refusal]) -> Advice:
        """One answer for each refused node, in their order, and what all rewrites together do."""
        answers: list[Rewrite] = []
        patches: list[Patch] = []
        for item in refused:
            answer, patch = self._answer(item, len(patches) < MOST_REWRITES)
            answers.append(answer)
            patches += [patch] if patch is not None else []
        return Advice(tuple(answers), self._change_us(patches) if patches else None)

    def _answer(self, refused: Refusal, may_search: bool) -> tuple[Rewrite, Patch | None]:
        node = self.graph.by_id[refused.id]
        broken = self._broken(node)
        if broken is None:
            return Rewrite(node.id, reason=refused.reason), None
        answer = Rewrite(node.id, broken.rule, refused.reason, broken.measured, broken.limit, broken.advice)
        found = self._taken(node, broken) if may_search else None
        if found is None:
            return answer, None
        text, patch = found
        return _with(answer, text, patch, self._change_us([patch])), patch

    def patches(self, refused: Sequence[Refusal]) -> tuple[Patch, ...]:
        """The rewrites alone, of the refused nodes that have one; nothing is timed."""
        nodes = [self.graph.by_id[item.id] for item in refused]
        asked = [(node, broken) for node in nodes if (broken := self._broken(node)) is not None]
        found = [self._taken(node, broken) for node, broken in asked]
        return tuple(patch for _, patch in filter(None, found))

    def _taken(self, node: Node, broken: rules.Refusal) -> tuple[str, Patch] | None:
        """The first rewrite that the target takes, with what a person reads about it."""
        for rewrite in REWRITES.get(broken.rule, ()):
            for patch in rewrite.form(Question(self.graph, node, broken)):
                if self._is_taken(patch):
                    return rewrite.text, patch
        return None

    def _broken(self, node: Node) -> rules.Refusal | None:
        """What forbids the precision that was asked for, or the one that the target prefers."""
        offered = [p for p in rules.allowed(node.op, self.target, self.lowers) if p is not Precision.FLOAT]
        requested = self.plan.requested(node.id)
        if not offered or requested is Precision.FLOAT:
            return None
        wanted = offered[0] if requested is Precision.AUTO else requested
        return rules.check_node(self.graph, node, wanted, self.target)

    def _is_taken(self, patch: Patch) -> bool:
        """Whether the chip computes all of the patch, as the node was asked to."""
        graph, requested = patch.applied(), self.plan.requested(patch.node.id)
        for part in patch.nodes:
            node = graph.by_id[part.id]
            offered = rules.allowed(node.op, self.target, self.lowers)
            is_asked = requested is not Precision.AUTO and isinstance(node.op, Mac)
            wanted = [p for p in offered if p is not Precision.FLOAT and (p is requested or not is_asked)]
            if all(rules.check_node(graph, node, precision, self.target) for precision in wanted):
                return False
        resolution = self._resolved([patch], graph)
        return all(resolution.effective[node.id].precision is not Precision.FLOAT for node in patch.nodes)

    def _resolved(self, patches: Sequence[Patch], graph: Graph) -> Resolution:
        plan = self.plan
        for patch in patches:
            requested = plan.requested(patch.node.id)
            names = tuple(node.id for node in patch.nodes)
            plan = plan.mark((patch.node.id,), Precision.AUTO).mark(names, requested)
        return resolve(graph, plan, self.target, self.lowers)

    def _change_us(self, patches: Sequence[Patch]) -> float:
        graph = applied(patches)
        timing = Estimator(graph, self.target).estimate(self._resolved(patches, graph), self.plan.compile)
        return timing.latency_us - self.latency_us


def _with(answer: Rewrite, text: str, patch: Patch, change_us: float) -> Rewrite:
    """The answer with the rewrite and its effect."""
    count = sum(isinstance(node.op, type(patch.node.op)) for node in patch.nodes)
    parts = f" ({count} parts)" if count > 1 else ""
    return Rewrite(
        answer.id, answer.rule, answer.reason, answer.measured, answer.limit, f"{text}{parts}", change_us, True
    )
