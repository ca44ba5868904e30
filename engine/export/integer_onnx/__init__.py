"""The ``integer-onnx`` export: the integer program in standard ONNX operators, with the same bits in any runtime."""

from engine.export.integer_onnx.write import IntegerModel, integer_model, program_model, write_integer_onnx

__all__ = ["IntegerModel", "integer_model", "program_model", "write_integer_onnx"]
