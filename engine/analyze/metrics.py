# pyright: reportUnknownMemberType=false
"""Error of a quantised tensor against its float reference, in one pass over both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

_CHUNK = 1 << 15


@dataclass(frozen=True)
class ErrorSums:
    """Sums over elements of a reference r and a value v: what every metric is made of, and what adds up."""

    count: int
    error_squared: float
    reference_squared: float
    value_squared: float
    product: float
    max_abs: float

    def __add__(self, other: ErrorSums) -> ErrorSums:
        return ErrorSums(
            self.count + other.count,
            self.error_squared + other.error_squared,
            self.reference_squared + other.reference_squared,
            self.value_squared + other.value_squared,
            self.product + other.product,
            max(self.max_abs, other.max_abs),
        )

    def scaled(self, factor: float) -> ErrorSums:
        """The sums of both tensors multiplied by ``factor``."""
        square = factor * factor
        return ErrorSums(
            self.count,
            self.error_squared * square,
            self.reference_squared * square,
            self.value_squared * square,
            self.product * square,
            self.max_abs * abs(factor),
        )

    @property
    def sqnr_db(self) -> float:
        """10 log10(sum r^2 / sum (r - v)^2): infinite for an exact value, minus infinity for a vanished reference."""
        if self.error_squared == 0.0:
            return math.inf
        if self.reference_squared == 0.0:
            return -math.inf
        return 10.0 * math.log10(self.reference_squared / self.error_squared)

    @property
    def cosine(self) -> float:
        """Cosine of the angle between r and v; 1 when both vanish."""
        norms = math.sqrt(self.reference_squared) * math.sqrt(self.value_squared)
        if norms == 0.0:
            return 1.0 if self.reference_squared == self.value_squared else 0.0
        return self.product / norms

    @property
    def mse(self) -> float:
        return self.error_squared / max(self.count, 1)


NO_SUMS = ErrorSums(0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Of no elements: what sums of parts start from."""


@numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _sums_of_chunk(
    reference: NDArray[np.float32], value: NDArray[np.generic], factor: np.float32, out: NDArray[np.float64]
) -> np.int32:
    """Sums of a chunk into ``out``; returns the bits of the largest magnitude. As integers these are in the order of
    the magnitudes, and a maximum of integers, unlike one of floats, leaves the loop to vector instructions."""
    error2 = np.float32(0.0)
    reference2 = np.float32(0.0)
    value2 = np.float32(0.0)
    product = np.float32(0.0)
    largest = np.int32(0)
    for i in range(reference.shape[0]):
        r = reference[i]
        v = np.float32(value[i]) * factor
        e = r - v
        error2 += e * e
        reference2 += r * r
        value2 += v * v
        product += r * v
        largest = max(largest, np.float32(abs(e)).view(np.int32))
    out[0] = error2
    out[1] = reference2
    out[2] = value2
    out[3] = product
    return largest


def _sums(
    reference: NDArray[np.float32], value: NDArray[np.generic], scale: float, chunks: int
) -> tuple[float, float, float, float, float]:
    """Sums of e^2, r^2, v^2 and r v, and the largest |e|."""
    out, largest = np.zeros((chunks, 4)), np.zeros(chunks, dtype=np.int32)
    size = reference.shape[0]
    step = (size + chunks - 1) // chunks
    factor = np.float32(scale)
    for chunk in numba.prange(chunks):
        part = slice(chunk * step, min(size, (chunk + 1) * step))
        largest[chunk] = _sums_of_chunk(reference[part], value[part], factor, out[chunk])
    total = np.zeros(4)
    for chunk in range(chunks):
        total += out[chunk]
    return total[0], total[1], total[2], total[3], float(largest.view(np.float32).max())


_shared_sums: Any = numba.njit(parallel=True, cache=True)(_sums)
_serial_sums: Any = numba.njit(cache=True)(_sums)
"""Without the half a hundred microseconds that threads take to be told that there is one of them."""


def _aligned(reference: torch.Tensor, value: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Both tensors flattened in one element order, without a copy where their memory orders agree."""
    if reference.stride() == value.stride() and _is_dense(value):
        return _storage(reference), _storage(value)
    if _is_dense(reference):
        ordered = torch.empty_strided(reference.size(), reference.stride(), dtype=value.dtype)
        return _storage(reference), _storage(ordered.copy_(value))
    return reference.contiguous().numpy().reshape(-1), value.contiguous().numpy().reshape(-1)


def _is_dense(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _storage(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.as_strided((tensor.numel(),), (1,)).numpy()


def _lengthened(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """The tensor flattened, with zeros behind it up to ``count`` elements."""
    return torch.nn.functional.pad(tensor.reshape(-1), (0, max(0, count - tensor.numel())))


def error_sums(reference: torch.Tensor, value: torch.Tensor, scale: float) -> ErrorSums:
    """Sums for a float32 reference and integers (or floats, with scale 1) of the same shape.

    Sizes that depend on data may differ: what one of them has beyond the other is compared with zeros.
    Partial sums are float32 over at most 32,768 elements, then float64.
    """
    if reference.shape != value.shape:
        reference, value = _lengthened(reference, value.numel()), _lengthened(value, reference.numel())
    flat_reference, flat_value = _aligned(reference.to(torch.float32), value)
    count = flat_reference.shape[0]
    if not count:
        return NO_SUMS
    chunks = -(-count // _CHUNK)
    sums = _serial_sums if chunks == 1 or torch.get_num_threads() == 1 else _shared_sums
    return ErrorSums(count, *sums(flat_reference, flat_value, scale, chunks))
