"""Running one operator in float."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from engine.errors import GraphError
from engine.ops.base import Op
from engine.ops.float_kernels.behaviour import FLOAT


def run_node(op: Op, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """The operator's outputs for the given inputs (None for an absent optional one).

    Raises:
        GraphError: The operator has no float kernel.
    """
    kernel = FLOAT.find(op)
    if kernel is None:
        raise GraphError(f"operator {op.type_name} has no float kernel")
    return kernel(op, *inputs)
