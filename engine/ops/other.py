"""Graph inputs, operators of last resort, and what nothing can run."""

from __future__ import annotations

from dataclasses import dataclass

from engine.ops.base import Op


@dataclass(frozen=True)
class Input(Op):
    """A model input. It is a node, so its precision can be marked and its error shown like any other."""


@dataclass(frozen=True)
class OnnxOp(Op):
    """ONNX operators without a class of their own. Runs on the CPU through ``onnx.reference``.

    Mostly one node; several where what passes between them is no tensor (a sequence, an optional, text). ``body`` is a
    serialised FunctionProto whose inputs are named i0, i1, ... and whose outputs o0, o1, ...; what a subgraph reads
    from outside is an input like any other. ``op_type`` is what people read, ``opset`` the version of ``domain``.
    """

    op_type: str
    domain: str
    opset: int
    body: bytes

    @property
    def type_name(self) -> str:
        return self.op_type


@dataclass(frozen=True)
class Unsupported(Op):
    """A node that is shown and cannot run: an unknown operator, or values that are no tensors of numbers.

    ``reason`` is one line for people, ``hint`` the way out.
    """

    op_type: str
    domain: str
    reason: str
    hint: str

    @property
    def type_name(self) -> str:
        return self.op_type

    @property
    def problem(self) -> str:
        """Reason and way out in one line."""
        return f"cannot run: {self.reason}; {self.hint}"
