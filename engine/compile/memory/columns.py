# pyright: reportUnknownMemberType=false
"""Buffers as arrays, over sections of time in which the set of live buffers can only shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Columns:
    """The buffers that take memory (a size above 0), one an element of each array of shape [N].

    A section is the time from one buffer's first step to the next first step of any buffer: two buffers are live
    together at some step exactly where they share a section.

    Attributes:
        index: Which of the problem's buffers it is.
        first, last: Sections of its lifetime, both included.
        steps: How many of the schedule's steps it is live.
        size: Bytes.
        alignment: Its address is a multiple of it.
        live: Bytes that each section needs at least, shape [sections]; gaps forced by alignment included.
        total: How many buffers the problem has.
    """

    index: Integers
    first: Integers
    last: Integers
    steps: Integers
    size: Integers
    alignment: Integers
    live: Integers
    total: int

    @property
    def lower_bound_bytes(self) -> int:
        return int(self.live.max(initial=0))

    @cached_property
    def contention(self) -> Integers:
        """The largest ``live`` of the sections of each buffer, shape [N]."""
        return _largest_within(self.live, self.first, self.last)

    def addresses_of(self, found: Integers) -> tuple[int, ...]:
        """Addresses for all of the problem's buffers; those of no size are at 0."""
        addresses = np.zeros(self.total, np.int64)
        addresses[self.index] = found
        return tuple(addresses.tolist())


def columns_of(rows: Sequence[tuple[int, int, int, int]]) -> Columns:
    """Columns of buffers given as (first step, last step, bytes, alignment)."""
    table = np.array(rows, np.int64).reshape(len(rows), 4)
    index = np.flatnonzero(table[:, 2])
    begin, end, size, alignment = (np.ascontiguousarray(column) for column in table[index].T)
    starts, first = np.unique(begin, return_inverse=True)
    last = np.searchsorted(starts, end, side="right").astype(np.int64) - 1
    first = first.astype(np.int64)
    unit = int(np.gcd.reduce(alignment)) if index.size else 1
    live = _live(first, last, size, unit, starts.size)
    return Columns(index.astype(np.int64), first, last, end - begin + 1, size, alignment, live, len(rows))


def _live(first: Integers, last: Integers, size: Integers, unit: int, sections: int) -> Integers:
    """Bytes that are needed in each section whatever the addresses.

    These are all multiples of ``unit``, so every buffer but the highest takes whole units; the highest may be the one
    that leaves most of its last unit free.
    """
    padded = -(-size // unit) * unit
    change = np.zeros(sections + 1, np.int64)
    np.add.at(change, first, padded)
    np.subtract.at(change, last + 1, padded)
    spare = padded - size
    order = np.argsort(-spare, kind="stable")
    return np.cumsum(change)[:-1] - _painted(first[order], last[order], spare[order], sections)


@numba.njit(nogil=True, cache=True)
def _painted(first: Integers, last: Integers, value: Integers, sections: int) -> Integers:
    """The first value, in the order given, whose interval covers each section; 0 where none does."""
    result = np.zeros(sections, np.int64)
    following = np.arange(sections + 1)  # the next section without a value, with the way there shortened as it is used
    for b in range(first.size):
        section = _next_free(following, first[b])
        while section <= last[b]:
            result[section] = value[b]
            following[section] = section + 1
            section = _next_free(following, section)
    return result


@numba.njit(nogil=True, cache=True)
def _next_free(following: Integers, section: int) -> int:
    found = section
    while following[found] != found:
        found = following[found]
    while following[section] != section:
        following[section], section = found, following[section]
    return found


@numba.njit(nogil=True, cache=True)
def _largest_within(live: Integers, first: Integers, last: Integers) -> Integers:
    result = np.zeros(first.size, np.int64)
    for b in range(first.size):
        for section in range(first[b], last[b] + 1):
            result[b] = max(result[b], live[section])
    return result
