"""Compiled kernels: torch tensors in, torch tensors out, bit for bit what the program's operators say.

Products run in torch's exact int8 matrix product; everything around them is loops compiled by numba. Importing this
package fills :data:`KERNEL`.
"""

from engine.program.kernels import (
    convolution,
    dense,
    division,
    elementwise,
    functions,
    logic,
    pooling,
    reductions,
    rows,
    seams,
)
from engine.program.kernels.registry import KERNEL, Kernel

__all__ = ["KERNEL", "Kernel"]

_FAMILIES = (convolution, dense, division, elementwise, functions, logic, pooling, reductions, rows, seams)
