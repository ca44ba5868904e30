"""One-pass statistics of activations: extrema and a histogram of magnitudes, in constant memory.

The histogram's range is a power of two that doubles as larger values arrive. Bin edges are then exact in
binary, a doubling merges bins in pairs without splitting any, and the result does not depend on the order or
the batching of the values (but for the moving average, which is one of samples in their order).
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

MOVING_SAMPLES = 16
"""How many samples the moving average of maxima looks back."""

_LARGE = 16_384
"""Values of an array from which on some may be passed over in the histogram."""

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
    1) * width`` with ``width = 2**exponent / BIN_COUNT``; ``negatives`` counts those of the negative values alone,
    where the statistics are ``signed`` (None elsewhere). ``minimum`` and ``maximum`` include the zeros and are 0
    before the first value. ``moving_maximum`` is the moving average of each sample's largest magnitude:
    the mean of the first :data:`MOVING_SAMPLES` samples, each later one counting as much as one of so many.

    With ``every`` above 1 only every so-many-th value of a large array is counted into the histogram (``count`` and
    ``zero_count`` are of these); extrema are of all values still.
    """

    __slots__ = (
        "_parts",
        "count",
        "every",
        "exponent",
        "maximum",
        "minimum",
        "moving_maximum",
        "samples",
        "zero_count",
    )

    def __init__(self, *, signed: bool = False, every: int = 1) -> None:
        self._parts: NDArray[np.int64] = np.zeros((1 + signed, BIN_COUNT), np.int64)
        self.every = every
        self.exponent = _MIN_EXPONENT
        self.count = 0
        self.zero_count = 0
        self.minimum = 0.0
        self.maximum = 0.0
        self.moving_maximum = 0.0
        self.samples = 0

    @property
    def histogram(self) -> NDArray[np.int64]:
        return self._parts.sum(axis=0)

    @property
    def negatives(self) -> NDArray[np.int64] | None:
        return self._parts[1].copy() if len(self._parts) > 1 else None

    @property
    def absolute_maximum(self) -> float:
        return max(-self.minimum, self.maximum)

    @property
    def bin_width(self) -> float:
        return 2.0**self.exponent / BIN_COUNT

    def update(self, values: ArrayLike, samples: int = 1) -> None:
        """Add all values of an array of any shape, as float32. It holds ``samples`` samples one behind the other, where
        its first dimension is a multiple of that; else it counts as one.

        Raises:
            NotFiniteError: There is a NaN or an infinity. The statistics are then as before.
        """
        array = np.asarray(values)
        if array.size == 0:
            return
        # Order does not matter within a sample, so a transposed array is read in its own memory order without a copy.
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes an infinity and is reported as such
            flat = array.ravel(order="K").astype(np.float32, copy=False)
        if not flat.flags.writeable:
            flat = flat.copy()  # the loops would be compiled a second time for read-only memory
        every = self.every if flat.size > _LARGE else 1
        largest = np.zeros(samples if _holds_rows(array, samples) else 1, np.int32)
        exponent, low, high, zeros, counted, wrong = _accumulate(
            flat, flat.view(np.int32), self._parts, self.exponent, largest, every
        )
        if wrong >= 0:
            raise NotFiniteError(wrong)
        ends = np.array((low, high), np.int32).view(np.float32) + np.float32(0.0)  # no negative zero
        low, high = float(ends[0]), float(ends[1])
        self.minimum = min(self.minimum, low) if self.samples else low
        self.maximum = max(self.maximum, high) if self.samples else high
        self.exponent = exponent
        self.zero_count += zeros
        self.count += counted
        if every > 1:
            self._count_extremes()
        for magnitude in largest.view(np.float32).tolist():
            self._move(magnitude)

    def _move(self, magnitude: float) -> None:
        """Take one sample's largest magnitude into the moving average."""
        self.samples += 1
        share = 1.0 / min(self.samples, MOVING_SAMPLES)
        # a convex sum: never above the largest, whatever the rounding
        self.moving_maximum = min(
            self.moving_maximum * (1.0 - share) + magnitude * share, max(self.moving_maximum, magnitude)
        )

    def _count_extremes(self) -> None:
        """Count the extrema once where they were passed over: the last bin in use is the maximum's."""
        for value in (self.maximum, self.minimum):
            place = min(int(abs(value) / self.bin_width), BIN_COUNT - 1)
            if value != 0.0 and not self._parts[:, place].any():
                self._parts[-1 if value < 0.0 else 0, place] += 1
                self.count += 1

    def merge(self, other: TensorStatistics) -> None:
        """Add all that ``other`` (as signed as this) has seen. Counts and extrema are those of one observer that saw
        everything; the moving average is the mean of both, weighted by their samples.
        """
        if other.count == 0:
            return
        self.minimum = min(self.minimum, other.minimum) if self.count else other.minimum
        self.maximum = max(self.maximum, other.maximum) if self.count else other.maximum
        exponent = max(self.exponent, other.exponent)
        self._parts = _wide(self._parts, exponent - self.exponent)
        self._parts += _wide(other._parts, exponent - other.exponent)
        self.exponent = exponent
        self.zero_count += other.zero_count
        self.count += other.count
        samples = self.samples + other.samples
        self.moving_maximum += (other.moving_maximum - self.moving_maximum) * (other.samples / samples)
        self.samples = samples


def _holds_rows(array: NDArray[np.generic], rows: int) -> bool:
    """Whether the array in memory order is ``rows`` equal parts behind each other, along its first dimension."""
    if rows == 1 or array.ndim == 0 or array.shape[0] % rows:
        return False
    return abs(array.strides[0]) >= max(map(abs, array.strides))


def _wide(histograms: NDArray[np.int64], doublings: int) -> NDArray[np.int64]:
    """A copy with bins merged in pairs as often as the range doubles."""
    copy = histograms.copy()
    _widen(copy, doublings)
    return copy


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _widen(histograms: NDArray[np.int64] | NDArray[np.uint32], doublings: int) -> None:
    """Merge bins of histograms [n, BIN_COUNT] in pairs as often as the range doubles."""
    if doublings <= 0:
        return
    shift = min(doublings, _BIN_BITS)
    for part in range(histograms.shape[0]):
        for index in range(BIN_COUNT):
            moved = histograms[part, index]
            histograms[part, index] = 0
            histograms[part, index >> shift] += moved


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
def _count_signed(values: NDArray[np.float32], scale: np.float32, lanes: NDArray[np.uint32], signed: int) -> int:
    """The same into histograms [4, 2 * BIN_COUNT], negative values into the second half where ``signed`` is 1.

    Returns how many zeros are among them.
    """
    zeros = 0
    half = np.int32(BIN_COUNT * signed)
    whole = values.size - values.size % _LANES
    for index in range(0, whole, _LANES):
        for lane in range(_LANES):
            value = values[index + lane]
            zeros += value == 0
            place = np.int32(abs(value) * scale) + half * np.int32(value < 0)
            lanes[lane, place] += np.uint32(1)
    for index in range(whole, values.size):
        value = values[index]
        zeros += value == 0
        lanes[0, np.int32(abs(value) * scale) + half * np.int32(value < 0)] += np.uint32(1)
    return int(zeros)


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _accumulate(
    values: NDArray[np.float32],
    bits: NDArray[np.int32],
    histograms: NDArray[np.int64],
    exponent: int,
    largest: NDArray[np.int32],
    every: int,
) -> tuple[int, int, int, int, int, int]:
    """Add float32 values [n] (``bits``: the same memory) to histograms [1 or 2, BIN_COUNT] of range ``2**exponent``:
    one of all magnitudes, or those of positive and negative values. Counted is every ``every``-th value.

    ``largest`` [samples] takes the bits of the largest magnitude of each equal part of the values.

    Returns the new exponent, the bits of the smallest and largest value, number of zeros counted, number counted, and
    the index of the first value that is not finite (-1: all are; else the histograms are as before).
    """
    signed = histograms.shape[0] - 1
    lanes = np.zeros((_LANES, histograms.size), np.uint32)
    grown = exponent
    low = _LARGEST_KEY
    high = -_LARGEST_KEY
    zeros = 0
    counted = 0
    part = values.size // largest.size
    for row in range(largest.size):
        stop = (row + 1) * part
        for start in range(row * part, stop, _BLOCK):
            end = min(start + _BLOCK, stop)
            block_low, block_high, block_zeros = _extrema(bits[start:end])
            magnitude = max(block_high, -1 - block_low)
            if magnitude >= _INFINITY_BITS:
                for index in range(start, end):
                    if (bits[index] & np.int32(_LARGEST_KEY)) >= _INFINITY_BITS:
                        return exponent, low, high, zeros, counted, index
            needed = (magnitude >> 23) - 126  # |x| < 2**needed, from the exponent field of the float
            if needed > grown:
                _widen(lanes.reshape(-1, BIN_COUNT), needed - grown)
                grown = needed
            scale = np.float32(2.0 ** (_BIN_BITS - grown))
            if every > 1:  # slices with a step are of a type of their own: whole blocks are counted by faster loops
                block_zeros = _count_signed(values[start:end:every], scale, lanes, signed)
            elif signed:
                _count_signed(values[start:end], scale, lanes, 1)
            else:
                _count(values[start:end], scale, lanes)
            largest[row] = max(largest[row], magnitude)
            low = min(low, block_low)
            high = max(high, block_high)
            zeros += block_zeros
            counted += (end - start + every - 1) // every
    _widen(histograms, grown - exponent)
    for lane in range(_LANES):
        for part in range(histograms.shape[0]):
            for index in range(BIN_COUNT):
                histograms[part, index] += lanes[lane, part * BIN_COUNT + index]
    histograms[0, 0] -= zeros
    return grown, _bits_of_key(low), _bits_of_key(high), zeros, counted, -1


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _bits_of_key(key: int) -> int:
    """A float's bits from what it is compared by, see :func:`_extrema`."""
    return key if key >= 0 else key ^ _LARGEST_KEY
