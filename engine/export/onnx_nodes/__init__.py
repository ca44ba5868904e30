"""Typed operators as ONNX nodes: one function an operator class, registered in ``TO_ONNX``."""

from engine.export.onnx_nodes import elementwise, layout, linear, logic, other, reduce
from engine.export.onnx_nodes.builder import TO_ONNX, Emission, OnnxBuilder
from engine.export.onnx_nodes.emit import emit

__all__ = ["TO_ONNX", "Emission", "OnnxBuilder", "emit"]

_REGISTERING = (elementwise, layout, linear, logic, other, reduce)
"""Imported for the registrations they make."""
