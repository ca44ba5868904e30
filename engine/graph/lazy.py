"""Constants computed from other constants, when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import GraphError
from engine.graph.graph import Constant, TensorType
from engine.graph.weights import StoredConstant
from engine.ops.base import Op
from engine.ops.float_kernels import run_node, to_numpy, to_torch

Array = NDArray[np.generic]


def _values(source: Constant) -> Array:
    """The source's values; those from a file are not kept, or every folded weight would be held twice."""
    return source.once() if isinstance(source, StoredConstant) else source.array


def derived(kind: TensorType, compute: Callable[..., Array], *sources: Constant) -> Constant:
    """A constant of type ``kind`` whose values are ``compute`` of the sources' values."""

    def load() -> Array:
        values = [_values(source) for source in sources]
        return np.asarray(compute(*values), dtype=values[0].dtype)

    return Constant(kind, load)


def applied(op: Op, inputs: Sequence[Constant | None], outputs: Sequence[TensorType]) -> tuple[Constant, ...]:
    """The operator's outputs for constant inputs, computed on first use of any of them."""

    def load(index: int) -> Callable[[], Array]:
        def compute() -> Array:
            try:
                tensors = [None if constant is None else to_torch(_values(constant)) for constant in inputs]
                with torch.inference_mode():
                    return to_numpy(run_node(op, tensors)[index])
            except (RuntimeError, TypeError) as error:  # an element type that torch cannot compute with
                raise GraphError(f"constant {op.type_name} cannot be computed: {error}") from error

        return compute

    return tuple(Constant(kind, load(index)) for index, kind in enumerate(outputs))
