"""One-pass statistics of activations: extrema, mean and a histogram of magnitudes, in constant memory.

The histogram's range is a power of two that doubles as larger values arrive. Bin edges are then exact in
binary, a doubling merges bins in pairs without splitting any, and the result does not depend on the order or
the batching of the values.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

_BIN_BITS = 11
BIN_COUNT = 1 << _BIN_BITS

_LARGEST_KEY = 0x7FFFFFFF
_INFINITY_BITS = 0x7F800000

_MIN_EXPONENT = -100
"""The smallest range is 2**-100: smaller values share bin 0, and every scale below stays a normal float32."""

_LANES = 4
"""Histograms that neighbouring elements take turns with: counting into one bin twice in a row stalls the
processor.
"""

_BLOCK = 8192
"""Elements per block: its values (32 KiB) and the histograms stay in the second-level cache between the two
loops.
"""


class NotFiniteError(ArithmeticError):
    """Values that hold NaN or infinity; ``element`` is the flat index of the first in memory order."""

    def __init__(self, element: int) -> None:
        super().__init__(f"element {element} is not finite")
        self.element = element


class TensorStatistics:
    """Statistics of all values seen of one tensor.

    ``histogram`` counts the magnitudes of all values but exact zeros: bin i holds ``i * width <= |x| < (i +
    1) * width`` with ``width = 2**exponent / BIN_COUNT``. ``minimum``, ``maximum`` and ``mean`` include the
    zeros and are 0 before the first value.
    """

    __slots__ = ("_sum", "count", "exponent", "histogram", "maximum", "minimum", "zero_count")

    def __init__(self) -> None:
        self.histogram: NDArray[np.int64] = np.zeros(BIN_COUNT, np.int64)
        self.exponent = _MIN_EXPONENT
        self.count = 0
        self.zero_count = 0
        self.minimum = 0.0
        self.maximum = 0.0
        self._sum = 0.0

    @property
    def absolute_maximum(self) -> float:
        return max(-self.minimum, self.maximum)

    @property
    def mean(self) -> float:
        return self._sum / self.count if self.count else 0.0

    @property
    def bin_width(self) -> float:
        return 2.0**self.exponent / BIN_COUNT

    def update(self, values: ArrayLike) -> None:
        """Add all values of an array of any shape, as float32.

        Raises:
            NotFiniteError: There is a NaN or an infinity. The statistics are then as before.
        """
        array = np.asarray(values)
        if array.size == 0:
            return
        # Order does not matter, so a transposed array is read in its own memory order without a copy.
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes an infinity and is reported as such
            flat = array.ravel(order="K").astype(np.float32, copy=False)
        if not flat.flags.writeable:
            flat = flat.copy()  # the loops would be compiled a second time for read-only memory
        histogram = self.histogram.copy()
        exponent, low, high, total, zeros, wrong = _accumulate(
            flat, flat.view(np.int32), histogram, self.exponent
        )
        if wrong >= 0:
            raise NotFiniteError(wrong)
        self.histogram = histogram
        low, high = _value_of_key(low), _value_of_key(high)
        self.minimum = min(self.minimum, low) if self.count else low
        self.maximum = max(self.maximum, high) if self.count else high
        self.exponent = exponent
        self.zero_count += zeros
        self._sum += total
        self.count += flat.size

    def merge(self, other: TensorStatistics) -> None:
        """Add all that ``other`` has seen. Counts and extrema are those of one observer that saw
        everything.
        """
        if other.count == 0:
            return
        self.minimum = min(self.minimum, other.minimum) if self.count else other.minimum
        self.maximum = max(self.maximum, other.maximum) if self.count else other.maximum
        exponent = max(self.exponent, other.exponent)
        added = other.histogram.copy()
        _widen(added, exponent - other.exponent)
        _widen(self.histogram, exponent - self.exponent)
        self.histogram += added
        self.exponent = exponent
        self.zero_count += other.zero_count
        self._sum += other._sum
        self.count += other.count


def _value_of_key(key: int) -> float:
    """Inverse of :func:`_key`; negative zero becomes zero."""
    bits = np.array(key if key >= 0 else key ^ 0x7FFFFFFF, np.int32)
    return float(bits.view(np.float32)) + 0.0


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _widen(histogram: NDArray[np.int64], doublings: int) -> None:
    """Merge bins in pairs as often as the range doubles."""
    if doublings <= 0:
        return
    shift = min(doublings, _BIN_BITS)
    for index in range(histogram.size):
        moved = histogram[index]
        histogram[index] = 0
        histogram[index >> shift] += moved


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _extrema(bits: NDArray[np.int32]) -> tuple[int, int, int]:
    """Smallest and largest key, and the number of zeros, of float32 values given by their bits.

    A key orders like the value it stands for, NaN outside the infinities: integers compare at full vector
    width.
    """
    low = np.int32(_LARGEST_KEY)
    high = np.int32(-_LARGEST_KEY)
    zeros = 0
    for index in range(bits.size):
        bit = bits[index]
        key = bit ^ ((bit >> np.int32(31)) & np.int32(_LARGEST_KEY))
        low = min(low, key)
        high = max(high, key)
        zeros += (bit & np.int32(_LARGEST_KEY)) == 0
    return int(low), int(high), int(zeros)


@numba.njit(nogil=True, cache=True, boundscheck=False, fastmath={"reassoc", "nsz"})
def _sum(values: NDArray[np.float32]) -> float:
    """Sum in float64; the order of additions is the compiler's."""
    total = 0.0
    for index in range(values.size):
        total += np.float64(values[index])
    return float(total)


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _count(values: NDArray[np.float32], scale: np.float32, lanes: NDArray[np.uint32]) -> None:
    """Count ``floor(|x| * scale)`` into histograms [4, BIN_COUNT]; a power of two as scale makes the product
    exact.
    """
    whole = values.size - values.size % _LANES
    for index in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane, np.int32(abs(values[index + lane]) * scale)] += np.uint32(1)
    for index in range(whole, values.size):
        lanes[0, np.int32(abs(values[index]) * scale)] += np.uint32(1)


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _flush(lanes: NDArray[np.uint32], histogram: NDArray[np.int64]) -> None:
    for lane in range(_LANES):
        for index in range(histogram.size):
            histogram[index] += lanes[lane, index]
            lanes[lane, index] = 0


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _accumulate(
    values: NDArray[np.float32], bits: NDArray[np.int32], histogram: NDArray[np.int64], exponent: int
) -> tuple[int, int, int, float, int, int]:
    """Add float32 values [n] (``bits``: the same memory) to a histogram of range ``2**exponent``.

    Returns the new exponent, smallest and largest key, sum, number of zeros, and the index of the first value
    that is not finite (-1: all are).
    """
    lanes = np.zeros((_LANES, BIN_COUNT), np.uint32)
    low = _LARGEST_KEY
    high = -_LARGEST_KEY
    total = 0.0
    zeros = 0
    for start in range(0, values.size, _BLOCK):
        end = min(start + _BLOCK, values.size)
        block_low, block_high, block_zeros = _extrema(bits[start:end])
        magnitude = max(block_high, -1 - block_low)
        if magnitude >= _INFINITY_BITS:
            for index in range(start, end):
                if (bits[index] & np.int32(_LARGEST_KEY)) >= _INFINITY_BITS:
                    return exponent, low, high, total, zeros, index
        needed = (magnitude >> 23) - 126  # |x| < 2**needed, from the exponent field of the float
        if needed > exponent:
            _flush(lanes, histogram)
            _widen(histogram, needed - exponent)
            exponent = needed
        _count(values[start:end], np.float32(2.0 ** (_BIN_BITS - exponent)), lanes)
        low = min(low, block_low)
        high = max(high, block_high)
        total += _sum(values[start:end])
        zeros += block_zeros
    _flush(lanes, histogram)
    histogram[0] -= zeros
    return exponent, low, high, total, zeros, -1
