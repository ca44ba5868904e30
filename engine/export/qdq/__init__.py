"""The ``qdq`` export: ONNX with quantise and dequantise nodes, for other runtimes."""

from engine.export.qdq.write import write_qdq

__all__ = ["write_qdq"]
