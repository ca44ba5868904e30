"""The ``qdq`` export: ONNX with quantise and dequantise nodes, for other runtimes."""

from engine.export.qdq.write import QdqModel, qdq_model, write_qdq

__all__ = ["QdqModel", "qdq_model", "write_qdq"]
