"""Graph inputs, and the operator of last resort."""

from __future__ import annotations

from dataclasses import dataclass

from engine.ops.base import Op


@dataclass(frozen=True)
class Input(Op):
    """A model input. It is a node, so its precision can be marked and its error shown like any other."""


@dataclass(frozen=True)
class OnnxOp(Op):
    """Any ONNX operator without a class of its own. Runs on the CPU through ``onnx.reference``.

    ``node_bytes`` is the serialised NodeProto with inputs and outputs renamed to i0, i1, ... and o0, o1, ...
    (absent optional ones stay empty), ``opset`` the version of ``domain`` that the model imports.
    """

    op_type: str
    domain: str
    opset: int
    node_bytes: bytes

    @property
    def type_name(self) -> str:
        return self.op_type
