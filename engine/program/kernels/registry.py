"""The table from program operator to the kernel that computes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import Tensor

from engine.program.types import ProgramOp

Kernel = Callable[[Any, Sequence[Any]], tuple[Tensor, ...]]
"""``kernel(op, inputs) -> outputs``. Inputs have any strides and are not written; outputs may be views of them. Only a
float kernel's inputs may be absent (None)."""

KERNEL: dict[type[ProgramOp], Kernel] = {}

K = TypeVar("K", bound=Kernel)


def kernel_of(cls: type[ProgramOp]) -> Callable[[K], K]:
    """Decorator that registers the kernel of a program operator. A second registration is a programming error."""

    def add(kernel: K) -> K:
        if cls in KERNEL:
            raise ValueError(f"{cls.__name__} has two kernels")
        KERNEL[cls] = kernel
        return kernel

    return add
