"""Between numpy arrays and torch tensors, without a copy where the memory allows it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

TORCH_DTYPES: dict[str, torch.dtype] = {
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "uint32": torch.uint32,
    "uint64": torch.uint64,
    "bool": torch.bool,
    "complex64": torch.complex64,
    "complex128": torch.complex128,
}
"""Torch's element type for each numpy dtype name that torch can hold."""

DTYPE_NAMES: dict[torch.dtype, str] = {dtype: name for name, dtype in TORCH_DTYPES.items()}
"""Numpy's dtype name for each torch element type."""


def to_torch(array: NDArray[np.generic]) -> torch.Tensor:
    """A tensor over the array's memory; read-only or negatively strided arrays are copied.

    Raises:
        TypeError: torch has no such element type.
    """
    if array.dtype.name not in TORCH_DTYPES:
        raise TypeError(f"torch has no element type {array.dtype.name}")
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    if array.dtype.name == "bfloat16":
        return torch.as_tensor(array.view(np.int16)).view(torch.bfloat16)
    return torch.as_tensor(array)


def to_numpy(tensor: torch.Tensor) -> NDArray[np.generic]:
    """The tensor's values as an array over the same memory (bfloat16 as ml_dtypes' type)."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
