"""Why a node is shown and cannot run, in words."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import GraphError
from engine.graph.graph import Graph, Node
from engine.ops.other import Unsupported

_STANDARD_ONLY = "export the model with standard ONNX operators, or cut it before this node"


@dataclass(frozen=True)
class Problem:
    """Why, and the way out; one line each."""

    reason: str
    hint: str


def unknown_operator(domain: str, op_type: str, version: int | None) -> Problem:
    """Neither ONNX nor a function in the model says what the operator computes."""
    if version is None:
        return Problem(f"the model does not import the domain '{domain}' that its operator is of", _STANDARD_ONLY)
    where = f"domain '{domain}'" if domain else f"ONNX opset {version}"
    return Problem(f"{where} has no operator {op_type} that is known here", _STANDARD_ONLY)


def outside_tensors(value: str, kind: str, role: str) -> Problem:
    """Something that is no tensor of numbers enters or leaves the model; ``role`` says which: input or output."""
    return Problem(
        f"it works on model {role} '{value}', which is {kind} and not a tensor of numbers",
        f"cut the model so that its {role}s are tensors of numbers",
    )


def waits_for(value: str, maker: Node | None) -> Problem:
    """What the node reads is of unknown type, because its maker is an unknown operator."""
    made_by = f", made by {maker.op.type_name}" if maker is not None else ""
    return Problem(
        f"its input '{value}'{made_by} is of a type and size that the file does not state",
        "write value types into the model (onnx.shape_inference), or replace the node before this one",
    )


def check_runnable(graph: Graph) -> None:
    """Every node of the graph can run.

    Raises:
        GraphError: One cannot; names the first, with the way out.
    """
    for node in graph.nodes:
        if isinstance(node.op, Unsupported):
            message = f"{node.op.type_name} cannot run: {node.op.reason}"
            raise GraphError(message, path=graph.source, node=node.id, hint=node.op.hint)
