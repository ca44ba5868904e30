"""Dispatch: one operator into a builder."""

from __future__ import annotations

from engine.errors import ExportError
from engine.export.onnx_nodes.builder import TO_ONNX, Emission
from engine.ops.base import Op


def emit(op: Op, emission: Emission) -> None:
    """Add the nodes that compute ``op``.

    Raises:
        ExportError: The operator has no ONNX form, or not in the model's opset.
    """
    function = TO_ONNX.find(op)
    if function is None:
        raise ExportError(f"{op.type_name} has no ONNX form", node=emission.label)
    function(op, emission)
