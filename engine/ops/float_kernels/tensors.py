"""Between numpy arrays and torch tensors, without a copy where the memory allows it."""

from __future__ import annotations

import ml_dtypes
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
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e4m3fnuz": torch.float8_e4m3fnuz,
    "float8_e5m2": torch.float8_e5m2,
    "float8_e5m2fnuz": torch.float8_e5m2fnuz,
    "float8_e8m0fnu": torch.float8_e8m0fnu,
    "float4_e2m1fn": torch.float4_e2m1fn_x2,
    **{name: getattr(torch, name) for name in ("int4", "uint4", "int2", "uint2")},  # missing in torch's own stubs
}
"""Torch's element type for each numpy dtype name that torch can hold. Numbers of less than a byte lie one to a byte, as
in numpy: torch only carries them, and ``float4_e2m1fn_x2`` too stands for one number here."""

_COMPUTED = frozenset({"float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"})

CARRIED_ONLY = frozenset(TORCH_DTYPES) - _COMPUTED
"""Element types that torch holds and does not, or not everywhere, compute with."""

_VIEWED = frozenset(name for name in TORCH_DTYPES if hasattr(ml_dtypes, name))
"""Types that numpy has from ml_dtypes; torch does not take such arrays, only their bytes."""

_CARRIERS: dict[int, type[np.generic]] = {1: np.uint8, 2: np.int16}
"""What numpy and torch both know, by size in bytes: the way for the viewed types."""

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
    if array.dtype.name in _VIEWED:
        return torch.as_tensor(array.view(_CARRIERS[array.dtype.itemsize])).view(TORCH_DTYPES[array.dtype.name])
    return torch.as_tensor(array)


def to_numpy(tensor: torch.Tensor) -> NDArray[np.generic]:
    """The tensor's values as an array over the same memory (bfloat16 and the like as ml_dtypes' types)."""
    tensor = tensor.detach()
    dtype = numpy_dtype(DTYPE_NAMES[tensor.dtype])
    if dtype.name in _VIEWED:
        carrier = _CARRIERS[dtype.itemsize]
        return tensor.view(TORCH_DTYPES[carrier.__name__]).numpy().view(dtype)
    return tensor.numpy()


def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """The numpy type of a dtype name, those of ml_dtypes included."""
    return np.dtype(getattr(ml_dtypes, name, name))
