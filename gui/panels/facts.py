"""Everything known about one node, put together from the document. Qt-free."""

from __future__ import annotations

from dataclasses import dataclass

from engine.reports import NodeError, NodeInfo, NodePlan, NodeTime
from engine.reports_analysis import NodeSensitivity
from gui.document.document import Document


@dataclass(frozen=True)
class NodeFacts:
    """What a node is, what was asked of it, and what the engine last said about it."""

    info: NodeInfo
    requested: str
    plan: NodePlan | None = None
    time: NodeTime | None = None
    error: NodeError | None = None
    sensitivity: NodeSensitivity | None = None

    @staticmethod
    def of(document: Document, node_id: str) -> NodeFacts:
        """The facts of a node of the open graph.

        Raises:
            KeyError: the graph has no such node.
        """
        results = document.results
        return NodeFacts(
            info=document.nodes[node_id],
            requested=document.requested(node_id),
            plan=results.resolved.nodes.get(node_id),
            time=results.timed.nodes.get(node_id),
            error=results.measured.nodes.get(node_id),
            sensitivity=results.sensed.nodes.get(node_id),
        )

    @property
    def effective(self) -> str:
        if self.info.problem:
            return "cannot run"
        return self.plan.effective if self.plan is not None else ""

    @property
    def reason(self) -> str:
        if self.info.problem:
            return self.info.problem
        return self.plan.reason if self.plan is not None else ""

    @property
    def needs_attention(self) -> bool:
        """Whether the node cannot run, or is not what the user asked for."""
        return bool(self.info.problem) or self.is_refused

    @property
    def is_refused(self) -> bool:
        """Whether the target makes something else of what the user asked for."""
        return self.requested != "auto" and self.effective not in ("", self.requested)


def shape_text(shape: tuple[int, ...]) -> str:
    """[1, 48, 14, 14] as 1×48×14×14; a scalar as "scalar"."""
    return "×".join(map(str, shape)) if shape else "scalar"


def is_markable(info: NodeInfo) -> bool:
    """Whether a precision can be asked for: everything but the graph's inputs and outputs."""
    return info.op_type not in ("Input", "Output")
