"""Float execution: one torch kernel per operator class, registered in ``FLOAT``."""

from engine.ops.float_kernels import elementwise, layout, linear, logic, other, reduce, resize
from engine.ops.float_kernels.behaviour import FLOAT
from engine.ops.float_kernels.run import run_node
from engine.ops.float_kernels.tensors import DTYPE_NAMES, TORCH_DTYPES, to_numpy, to_torch

__all__ = ["DTYPE_NAMES", "FLOAT", "TORCH_DTYPES", "run_node", "to_numpy", "to_torch"]

_REGISTERING = (elementwise, layout, linear, logic, other, reduce, resize)
"""Imported for the registrations they make."""
