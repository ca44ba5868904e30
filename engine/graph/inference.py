"""Output types of typed operators: by a rule where that is trivial, else by running the float kernel without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from engine.errors import GraphError
from engine.graph.graph import TensorType
from engine.graph.type_rules import TYPE_RULES
from engine.ops.base import Op
from engine.ops.float_kernels import DTYPE_NAMES, TORCH_DTYPES, run_node


class TypeInference:
    """Infers output types and remembers them: networks repeat their layers."""

    def __init__(self) -> None:
        self._known: dict[tuple[Op, tuple[TensorType | None, ...]], tuple[TensorType, ...]] = {}

    def __call__(self, op: Op, inputs: Sequence[str], types: Mapping[str, TensorType]) -> tuple[TensorType, ...]:
        """Types of the operator's outputs.

        Raises:
            GraphError: The inputs do not fit the operator.
        """
        key = op, tuple(types[value] if value else None for value in inputs)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _kernel_types(*key)
        return found


def _kernel_types(op: Op, kinds: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
    """By rule; an operator without one is run on tensors without data."""
    rule = TYPE_RULES.find(op)
    try:
        if rule is not None:
            return rule(op, *kinds)
        with torch.inference_mode():
            outputs = run_node(op, [None if kind is None else _without_data(kind) for kind in kinds])
    except (RuntimeError, TypeError, ValueError, IndexError) as error:  # inputs of the wrong number or rank
        listed = ", ".join("absent" if kind is None else f"{kind.dtype}{list(kind.shape)}" for kind in kinds)
        raise GraphError(f"{op.type_name} cannot take inputs {listed}: {error}") from error
    return tuple(TensorType(tuple(output.shape), DTYPE_NAMES[output.dtype]) for output in outputs)


def _without_data(kind: TensorType) -> torch.Tensor:
    return torch.empty(kind.shape, dtype=TORCH_DTYPES[kind.dtype], device="meta")
