"""The range method of single tensors: what is chosen, and where there is nothing to choose. Qt-free."""

from __future__ import annotations

from collections.abc import Sequence

from gui.document.document import Document
from gui.panels.facts import NodeFacts, is_markable

MIXED = "mixed"


def common_method(document: Document, facts: Sequence[NodeFacts]) -> str:
    """The method chosen for all nodes ("": the default), or MIXED where they differ."""
    methods = {document.method(item.info.id) for item in facts if not why_no_method(document, [item])}
    return methods.pop() if len(methods) == 1 else (MIXED if methods else "")


def why_no_method(document: Document, facts: Sequence[NodeFacts]) -> str:
    """Why no range can be chosen for any of the nodes' outputs; "" when one can."""
    reasons = [_why_not(document, item) for item in facts]
    return reasons[0] if reasons and all(reasons) else ""


def _why_not(document: Document, facts: NodeFacts) -> str:
    if not is_markable(facts.info) and facts.info.op_type == "Output":
        return "An output of the graph has the range of what it is given"
    if facts.effective == "float":
        return "Float values have no range to choose"
    if _keeps_scale(document, facts):
        return "The output keeps its input's scale: choose for the node that makes it"
    plan = facts.plan
    is_inside = plan is not None and plan.scale is None and plan.fused_into not in ("", facts.info.id)
    if plan is not None and is_inside and document.calibration.is_done:
        return f"The output never leaves the kernel of {plan.fused_into}"
    return ""


def _keeps_scale(document: Document, facts: NodeFacts) -> bool:
    """Whether the node passes its one input's integers on. Scales tell once calibrated, before that the operator."""
    graph = document.graph
    sources = {edge.source for edge in graph.edges if edge.target == facts.info.id} if graph is not None else set()
    if len(sources) != 1:
        return False
    source = document.results.resolved.nodes.get(sources.pop())
    scale = facts.plan.scale if facts.plan is not None else None
    if scale is not None and source is not None and source.scale is not None:
        return scale == source.scale
    return facts.info.kind == "layout"
