# pyright: reportUnknownMemberType=false
"""Placing buffers one after the other, each into a gap between those placed before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from engine.compile.memory.columns import Columns, Integers

UNPLACED = -1
LOWEST, TIGHTEST, BOTH_ENDS = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Conflicts:
    """Which buffers are live together: those of buffer b are ``other[start[b] : start[b + 1]]``."""

    start: Integers
    other: NDArray[np.int32]


def count_conflicts(columns: Columns) -> int:
    """Pairs of buffers that are live together."""
    begin = np.sort(columns.first)
    within = np.searchsorted(begin, columns.last, side="right") - np.searchsorted(begin, columns.first, side="left")
    _, same = np.unique(begin, return_counts=True)
    return int(within.sum()) - int((same * (same + 1) // 2).sum())


def conflicts_of(columns: Columns) -> Conflicts:
    """All pairs of buffers that are live together, listed from both sides."""
    start, other = _adjacency(columns.first, columns.last, np.argsort(columns.first, kind="stable"))
    return Conflicts(start, other)


@numba.njit(nogil=True, cache=True)
def _adjacency(first: Integers, last: Integers, order: Integers) -> tuple[Integers, NDArray[np.int32]]:
    count = first.size
    start = np.zeros(count + 1, np.int64)
    for i in range(count):
        a = order[i]
        for j in range(i + 1, count):
            b = order[j]
            if first[b] > last[a]:
                break
            start[a + 1] += 1
            start[b + 1] += 1
    for b in range(count):
        start[b + 1] += start[b]
    filled = start[:-1].copy()
    other = np.empty(start[count], np.int32)
    for i in range(count):
        a = order[i]
        for j in range(i + 1, count):
            b = order[j]
            if first[b] > last[a]:
                break
            other[filled[a]] = b
            other[filled[b]] = a
            filled[a] += 1
            filled[b] += 1
    return start, other


@numba.njit(nogil=True, cache=True)
def place_in_order(
    order: Integers,
    first: Integers,
    last: Integers,
    size: Integers,
    alignment: Integers,
    start: Integers,
    other: NDArray[np.int32],
    rule: int,
    ceiling: int,
    address: Integers,
) -> Any:
    """Place buffers in ``order``, each in the gap that ``rule`` chooses, above all others where there is none.

    :data:`LOWEST` takes the lowest gap, :data:`TIGHTEST` the smallest. :data:`BOTH_ENDS` takes the lowest and the
    highest place below ``ceiling``, of which it chooses that beside the neighbour whose life it shares for longer
    (floor and ceiling live for ever): what is alive at the same time then fills the memory from both ends, as a chain
    of layers needs it. ``address`` receives the addresses. Returns the peak.
    """
    count = order.size
    address[:] = UNPLACED
    begins, ends, who = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    peak = np.int64(0)
    for b in order:
        placed = 0
        for position in range(start[b], start[b + 1]):
            a = other[position]
            if address[a] != UNPLACED:
                begins[placed], ends[placed], who[placed] = address[a], address[a] + size[a], a
                placed += 1
        _sort(begins, ends, who, placed)
        if rule == BOTH_ENDS:
            address[b] = _end(b, begins, ends, who, placed, first, last, size, alignment, ceiling)
        else:
            address[b] = _gap(begins, ends, placed, size[b], alignment[b], rule == TIGHTEST)
        peak = max(peak, address[b] + size[b])
    return peak


@numba.njit(nogil=True, cache=True)
def place_without_conflicts(
    order: Integers, first: Integers, last: Integers, size: Integers, alignment: Integers, address: Integers
) -> Any:
    """As :func:`place_in_order` at the lowest address, where a list of all conflicts would be too large.

    All placed buffers are a list by address, which is walked up to the first gap that is large enough.
    """
    end = order.size  # of the list of placed buffers; its last link leads here, and its first one starts here
    following = np.full(end + 1, end, np.int64)
    peak = np.int64(0)
    for b in order:
        cursor, node = np.int64(0), following[end]
        while node != end:
            if first[node] <= last[b] and first[b] <= last[node]:
                if address[node] - cursor >= size[b]:
                    break
                cursor = max(cursor, -(-(address[node] + size[node]) // alignment[b]) * alignment[b])
            node = following[node]
        before = end
        while following[before] != end and address[following[before]] <= cursor:
            before = following[before]
        address[b] = cursor
        following[b] = following[before]
        following[before] = b
        peak = max(peak, cursor + size[b])
    return peak


@numba.njit(nogil=True, cache=True)
def _sort(begins: Integers, ends: Integers, who: Integers, count: int) -> None:
    """Sort all three by ``begins``, by Shell's method: short lists, nothing allocated."""
    step = 1
    while step < count // 3:
        step = 3 * step + 1
    while step:
        for i in range(step, count):
            begin, end, buffer, j = begins[i], ends[i], who[i], i
            while j >= step and begins[j - step] > begin:
                begins[j], ends[j], who[j] = begins[j - step], ends[j - step], who[j - step]
                j -= step
            begins[j], ends[j], who[j] = begin, end, buffer
        step //= 3


@numba.njit(nogil=True, cache=True)
def _gap(begins: Integers, ends: Integers, count: int, size: Any, alignment: Any, tightest: bool) -> Any:
    """The lowest or smallest gap among occupied stretches that are sorted."""
    cursor, best, least = np.int64(0), np.int64(-1), np.int64(1) << 62
    for i in range(count):
        room = begins[i] - cursor
        if room >= size:
            if not tightest:
                return cursor
            if room < least:
                best, least = cursor, room
        cursor = max(cursor, -(-ends[i] // alignment) * alignment)
    return best if best >= 0 else cursor


@numba.njit(nogil=True, cache=True)
def _end(
    b: Any,
    begins: Integers,
    ends: Integers,
    who: Integers,
    count: int,
    first: Integers,
    last: Integers,
    size: Integers,
    alignment: Integers,
    ceiling: Any,
) -> Any:
    """The lowest or the highest place below the ceiling, whichever neighbour is the longer companion."""
    cursor, below = np.int64(0), np.int64(UNPLACED)
    low, high = np.int64(-1), np.int64(-1)
    low_neighbour, high_neighbour = np.int64(UNPLACED), np.int64(UNPLACED)
    for i in range(count + 1):
        limit = min(begins[i], ceiling) if i < count else ceiling
        highest = (limit - size[b]) // alignment[b] * alignment[b]
        if highest >= cursor:
            if low < 0:
                low, low_neighbour = cursor, below
            high = highest
            high_neighbour = who[i] if i < count and begins[i] < ceiling else UNPLACED
        if i < count and ends[i] > cursor:
            cursor, below = -(-ends[i] // alignment[b]) * alignment[b], who[i]
    if low < 0:
        return cursor
    is_low = _shared(b, low_neighbour, first, last) >= _shared(b, high_neighbour, first, last)
    return low if is_low else high


@numba.njit(nogil=True, cache=True)
def _shared(b: Any, neighbour: Any, first: Integers, last: Integers) -> Any:
    """Sections that a buffer and its neighbour share; floor and ceiling share all there are."""
    if neighbour == UNPLACED:
        return np.int64(1) << 62
    return min(last[neighbour], last[b]) - max(first[neighbour], first[b])
