# pyright: reportUnknownMemberType=false
"""Elementwise operators as functions of float64 arrays: what tables are made from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from engine.ops.elementwise import Unary
from engine.ops.float_kernels.behaviour import FLOAT

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def function_of(ops: tuple[Unary, ...]) -> Function:
    """The composition of elementwise functions, first one first, on float64 arrays."""

    def evaluate(x: NDArray[np.float64]) -> NDArray[np.float64]:
        tensor = torch.from_numpy(np.asarray(x, dtype=np.float64))
        for op in ops:
            kernel = FLOAT.find(op)
            assert kernel is not None
            (tensor,) = kernel(op, tensor)
        return tensor.numpy()

    return evaluate
