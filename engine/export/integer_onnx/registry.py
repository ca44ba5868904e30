"""The table from program operator to the function that writes it as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from engine.export.onnx_nodes import Emission
from engine.program.types import ProgramOp

Write = Callable[[Any, Emission], None]
"""``(op, emission) -> None``: add the nodes that compute the operator, bit for bit. Raises ExportError naming the node
where it cannot be expressed."""

INTEGER_NODES: dict[type[ProgramOp], Write] = {}

W = TypeVar("W", bound=Write)


def writes(*classes: type[ProgramOp]) -> Callable[[W], W]:
    """Decorator that registers the ONNX form of program operators. A second registration is a programming error."""

    def add(function: W) -> W:
        for cls in classes:
            if cls in INTEGER_NODES:
                raise ValueError(f"{cls.__name__} has two ONNX forms")
            INTEGER_NODES[cls] = function
        return function

    return add
