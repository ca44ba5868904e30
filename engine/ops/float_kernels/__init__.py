"""Float execution: one torch kernel per operator class, registered in ``FLOAT``."""

from engine.ops.float_kernels import elementwise, layout, linear, logic, other, reduce, resize
from engine.ops.float_kernels.behaviour import FLOAT
from engine.ops.float_kernels.run import run_node
from engine.ops.float_kernels.tensors import (
    CARRIED_ONLY,
    DTYPE_NAMES,
    TORCH_DTYPES,
    numpy_dtype,
    to_numpy,
    to_torch,
)

__all__ = [
    "CARRIED_ONLY",
    "DTYPE_NAMES",
    "FLOAT",
    "TORCH_DTYPES",
    "numpy_dtype",
    "run_node",
    "to_numpy",
    "to_torch",
]

_REGISTERING = (elementwise, layout, linear, logic, other, reduce, resize)
"""Imported for the registrations they make."""
