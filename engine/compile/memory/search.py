# pyright: reportUnknownMemberType=false
"""A complete search for a plan of a given height.

Buffers are placed from the bottom up, each as low as those below it allow, in order of rising address. That is no
restriction: pushing every buffer of a plan down leaves a plan that is made so. What keeps the tree small:

- *Inference*: in every section of time, the lowest address that any of its unplaced buffers can have plus the bytes of
  them all must stay within the height.
- *Dominance*: a buffer is not placed where another one would fit entirely below it.
- *Order*: what was passed over is not placed later at the same address: that plan was looked at already.
- *Decomposition*: once the unplaced buffers fall into groups that never meet, each is solved by itself, and a group
  without solution leads straight back to the choice that made it.

Ideas: M. Moffitt, "MiniMalloc: a lightweight memory allocator for hardware-accelerated machine learning", ASPLOS 2023.
Ours is that groups start over by themselves: a group that takes too long begins again with another order of its
buffers, and keeps what its neighbours have found; after some attempts the group around it does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from engine.compile.memory.columns import Columns, Integers
from engine.compile.memory.first_fit import Conflicts
from engine.compile.memory.orders import Orders

GOES_ON, FOUND, NO_SOLUTION, _ORDERS_USED_UP = 0, 1, 2, 3
"""How :meth:`Search.advance` ends."""

_PATIENCE = 500
"""Nodes, beside one for each of its buffers, after which a group starts over: short attempts with many orders find more
than long ones (tried: 500 to 300,000).
"""
_ATTEMPTS = 12
"""Attempts of a group before the group around it starts over."""
_SMALLER = 0.7
"""A group is one of its own, with attempts of its own, from this share of the group around it on."""

_UNDO_ADDRESS, _UNDO_FLOOR = 0, 1
_NONE = -1
_INFINITY = 1 << 60


class _Buffers(NamedTuple):
    """What stays the same, with the buffers sorted by first section. ``begin[s]`` is the first buffer that begins at
    section s or later; ``start`` and ``other`` are :class:`Conflicts`.
    """

    first: Any
    last: Any
    size: Any
    alignment: Any
    start: Any
    other: Any
    begin: Any


class _State(NamedTuple):
    """Everything that the search changes, in arrays, so that it can stop anywhere and go on.

    By buffer: ``placed``; ``address``, final or the lowest that is possible so far.

    By section: ``floor`` (top of what is placed), ``remain`` (bytes unplaced), ``crossing`` (unplaced buffers live in
    this section and the next), ``lowest`` (scratch).

    By depth: sections ``low`` to ``high`` of the group, the address and rank ``least`` and ``least_rank`` from which
    on buffers may still be placed, the address ``limit`` below which they have to be, the ``waiting`` groups, the depth
    to go ``back`` to without solution, the ``chosen`` buffer, tops of the undo list and of the groups, and the depth at
    which the ``group`` began.

    By the depth at which a group began: its ``entry`` in the list of groups, the group ``around``, its ``members``,
    nodes ``spent`` and ``attempts``.

    Then the undo list, the list of groups, and ``at``: see the constants below.
    """

    placed: Any
    address: Any
    floor: Any
    remain: Any
    crossing: Any
    lowest: Any
    low: Any
    high: Any
    least: Any
    least_rank: Any
    limit: Any
    waiting: Any
    back: Any
    chosen: Any
    undo_top: Any
    group_top: Any
    group: Any
    entry: Any
    around: Any
    members: Any
    spent: Any
    attempts: Any
    undo_kind: Any
    undo_index: Any
    undo_value: Any
    group_low: Any
    group_high: Any
    group_least: Any
    group_rank: Any
    group_back: Any
    group_next: Any
    at: Any


_DEPTH, _STEP, _UNDO_TOP, _GROUP_TOP, _ORDER, _NODES = range(6)
"""Elements of ``_State.at``."""
_ENTER, _TRY, _FAIL = range(3)
"""Values of ``at[_STEP]``."""


class Search:
    """A search for addresses below ``height``; stops after any number of nodes and goes on from there.

    Args:
        columns: The buffers.
        conflicts: Of the columns.
        height: No buffer may end above it.
        orders: Of several buffers that can be placed at one address, the first in order is tried first. Each attempt
            has the next order.
    """

    def __init__(self, columns: Columns, conflicts: Conflicts, height: int, orders: Orders) -> None:
        self._sorted = np.lexsort((columns.last, columns.first))
        self._buffers = _sorted_buffers(columns, conflicts, self._sorted)
        self._state = _initial(columns, self._buffers)
        self._orders = orders
        self._batch = self._next_batch()
        self.height = height
        _begin(self._buffers, self._state)

    @property
    def nodes(self) -> int:
        """Placements tried so far."""
        return int(self._state.at[_NODES])

    def advance(self, nodes: int) -> int:
        """Try up to ``nodes`` more placements: FOUND (see :attr:`addresses`), NO_SOLUTION (proven) or GOES_ON."""
        end = self.nodes + nodes
        while True:
            outcome = int(_advance(self._buffers, self._state, self._batch, self.height, end - self.nodes))
            if outcome != _ORDERS_USED_UP:
                return outcome
            self._batch = self._next_batch()

    def _next_batch(self) -> Integers:
        return np.ascontiguousarray(self._orders.batch()[:, self._sorted])

    @property
    def addresses(self) -> Integers:
        """Addresses in the order of the columns, after FOUND."""
        result = np.empty_like(self._state.address)
        result[self._sorted] = self._state.address
        return result


def _sorted_buffers(columns: Columns, conflicts: Conflicts, order: Integers) -> _Buffers:
    position = np.empty_like(order)
    position[order] = np.arange(order.size)
    counts = np.diff(conflicts.start)[order]
    start = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    pieces = [conflicts.other[conflicts.start[b] : conflicts.start[b + 1]] for b in order]
    other = position[np.concatenate(pieces)] if pieces else np.zeros(0, np.int64)
    first = columns.first[order]
    begin = np.searchsorted(first, np.arange(columns.live.size + 1)).astype(np.int64)
    arrays = (first, columns.last[order], columns.size[order], columns.alignment[order], start, other, begin)
    return _Buffers(*(np.ascontiguousarray(array, np.int64) for array in arrays))


def _initial(columns: Columns, buffers: _Buffers) -> _State:
    count, sections = columns.index.size, columns.live.size
    remain, crossing = np.zeros(sections + 1, np.int64), np.zeros(sections + 1, np.int64)
    np.add.at(remain, columns.first, columns.size)
    np.subtract.at(remain, columns.last + 1, columns.size)
    np.add.at(crossing, columns.first, 1)
    np.subtract.at(crossing, columns.last, 1)
    depths, groups = count + 2, 2 * count + sections + 2
    # A placement notes the floor of its sections, and the address of each buffer that it meets and moves.
    undone = int((buffers.last - buffers.first + 1).sum()) + buffers.other.size + 1
    lengths: dict[str, int] = {
        **dict.fromkeys(("placed", "address"), count),
        **dict.fromkeys(("floor", "lowest"), sections),
        **dict.fromkeys(("undo_kind", "undo_index", "undo_value"), undone),
        **dict.fromkeys(("group_low", "group_high", "group_least", "group_rank", "group_back", "group_next"), groups),
        "at": _NODES + 1,
    }
    given = {"remain": np.cumsum(remain)[:-1], "crossing": np.cumsum(crossing)[:-1]}
    fields: dict[str, Integers] = {}
    for field in _State._fields:
        length = lengths.get(field, depths)
        fields[field] = np.ascontiguousarray(given[field]) if field in given else np.zeros(length, np.int64)
    return _State(**fields)


@numba.njit(nogil=True, cache=True)
def _begin(buffers: _Buffers, state: _State) -> None:
    head = _split(state, 0, state.floor.size, _NONE, _NONE, 0, _NONE)
    if head != _NONE:
        _open(buffers, state, 0, head)


@numba.njit(nogil=True, cache=True)
def _advance(buffers: _Buffers, state: _State, orders: Integers, height: Any, nodes: Any) -> int:
    at = state.at
    depth, rank, left = at[_DEPTH], orders[at[_ORDER]], nodes
    result = GOES_ON
    while result == GOES_ON:
        if at[_STEP] == _ENTER:
            if left <= 0:
                break
            _limit(buffers, state, depth)
            at[_STEP] = _TRY
        elif at[_STEP] == _TRY:
            group = state.group[depth]
            chosen = _next_candidate(buffers, state, depth, rank)
            if chosen == _NONE:
                at[_STEP] = _FAIL
            elif state.spent[group] >= _PATIENCE + state.members[group]:
                depth = _start_over(buffers, state, depth)
                at[_STEP] = _ENTER
                at[_ORDER] = (at[_ORDER] + 1) % orders.shape[0]
                rank = orders[at[_ORDER]]
                if at[_ORDER] == 0:
                    result = _ORDERS_USED_UP
            else:
                left -= 1
                state.spent[group] += 1
                if _try(buffers, state, depth, chosen, height):
                    head = _split(
                        state,
                        state.low[depth],
                        state.high[depth],
                        depth,
                        state.waiting[depth],
                        state.address[chosen],
                        rank[chosen],
                    )
                    if head == _NONE:
                        result = FOUND
                    else:
                        depth += 1
                        _open(buffers, state, depth, head)
                        at[_STEP] = _ENTER
        else:
            back = state.back[depth]
            if back == _NONE:
                result = NO_SOLUTION
            else:
                group = state.group[depth]
                if group == depth:
                    state.spent[state.around[group]] += state.spent[group]
                _return(buffers, state, depth, back)
                depth = back
                at[_STEP] = _TRY
    at[_DEPTH] = depth
    at[_NODES] += nodes - left
    return result


@numba.njit(nogil=True, cache=True)
def _limit(buffers: _Buffers, state: _State, depth: Any) -> None:
    """Dominance: what is placed next lies below the lowest top that any buffer of the group can have."""
    limit = _INFINITY
    for b in range(buffers.begin[state.low[depth]], buffers.begin[state.high[depth]]):
        if not state.placed[b]:
            limit = min(limit, state.address[b] + buffers.size[b])
    state.limit[depth] = limit


@numba.njit(nogil=True, cache=True)
def _next_candidate(buffers: _Buffers, state: _State, depth: Any, rank: Any) -> Any:
    """The buffer of the group to place next, by address, then rank; none that lies before it comes later."""
    found, found_address, found_rank = _NONE, state.limit[depth], 0
    least, least_rank = state.least[depth], state.least_rank[depth]
    for b in range(buffers.begin[state.low[depth]], buffers.begin[state.high[depth]]):
        address = state.address[b]
        if state.placed[b] or address > found_address or address < least:
            continue
        if (address == least and rank[b] < least_rank) or address >= state.limit[depth]:
            continue
        if address < found_address or rank[b] < found_rank:
            found, found_address, found_rank = b, address, rank[b]
    if found != _NONE:
        state.least[depth], state.least_rank[depth] = found_address, found_rank + 1
    return found


@numba.njit(nogil=True, cache=True)
def _try(buffers: _Buffers, state: _State, depth: Any, chosen: Any, height: Any) -> bool:
    """Place a candidate; taken back, and False, where no solution can follow."""
    state.chosen[depth], state.undo_top[depth] = chosen, state.at[_UNDO_TOP]
    address = state.address[chosen]
    is_possible = _place(buffers, state, chosen, height)
    if not is_possible or not _fits(buffers, state, state.low[depth], state.high[depth], address, height):
        _take_back(buffers, state, depth)
        return False
    for position in range(buffers.start[chosen], buffers.start[chosen + 1]):
        if not state.placed[buffers.other[position]]:
            return True
    state.limit[depth] = 0  # it is in nobody's way: without a solution here, there is none
    return True


@numba.njit(nogil=True, cache=True)
def _place(buffers: _Buffers, state: _State, b: Any, height: Any) -> bool:
    undo = state.at[_UNDO_TOP]
    top = state.address[b] + buffers.size[b]
    for section in range(buffers.first[b], buffers.last[b] + 1):
        state.undo_kind[undo], state.undo_index[undo] = _UNDO_FLOOR, section
        state.undo_value[undo] = state.floor[section]
        undo += 1
        state.floor[section] = top
        state.remain[section] -= buffers.size[b]
        if section < buffers.last[b]:
            state.crossing[section] -= 1
    state.placed[b] = 1
    is_possible = top <= height
    for position in range(buffers.start[b], buffers.start[b + 1]):
        other = buffers.other[position]
        if state.placed[other]:
            continue
        lowest = -(-top // buffers.alignment[other]) * buffers.alignment[other]
        if lowest > state.address[other]:
            state.undo_kind[undo], state.undo_index[undo] = _UNDO_ADDRESS, other
            state.undo_value[undo] = state.address[other]
            undo += 1
            state.address[other] = lowest
            if lowest + buffers.size[other] > height:
                is_possible = False
                break
    state.at[_UNDO_TOP] = undo
    return is_possible


@numba.njit(nogil=True, cache=True)
def _take_back(buffers: _Buffers, state: _State, depth: Any) -> None:
    b, to = state.chosen[depth], state.undo_top[depth]
    for undo in range(state.at[_UNDO_TOP] - 1, to - 1, -1):
        if state.undo_kind[undo] == _UNDO_FLOOR:
            state.floor[state.undo_index[undo]] = state.undo_value[undo]
        else:
            state.address[state.undo_index[undo]] = state.undo_value[undo]
    state.at[_UNDO_TOP] = to
    for section in range(buffers.first[b], buffers.last[b] + 1):
        state.remain[section] += buffers.size[b]
        if section < buffers.last[b]:
            state.crossing[section] += 1
    state.placed[b] = 0


@numba.njit(nogil=True, cache=True)
def _return(buffers: _Buffers, state: _State, depth: Any, to: Any) -> None:
    """Undo what was placed at depth ``to`` and beyond; nothing is placed at ``depth`` itself."""
    for back in range(depth - 1, to - 1, -1):
        _take_back(buffers, state, back)
    state.at[_GROUP_TOP] = state.group_top[to]


@numba.njit(nogil=True, cache=True)
def _fits(buffers: _Buffers, state: _State, low: Any, high: Any, least: Any, height: Any) -> bool:
    """Whether every section has room for its unplaced buffers, all of which will be at ``least`` or higher."""
    for section in range(low, high):
        if state.remain[section] and max(state.floor[section], least) + state.remain[section] > height:
            return False
        state.lowest[section] = _INFINITY
    for b in range(buffers.begin[low], buffers.begin[high]):
        if not state.placed[b]:
            lowest = max(state.address[b], least)
            for section in range(buffers.first[b], buffers.last[b] + 1):
                state.lowest[section] = min(state.lowest[section], lowest)
    for section in range(low, high):
        if state.remain[section] and state.lowest[section] + state.remain[section] > height:
            return False
    return True


@numba.njit(nogil=True, cache=True)
def _split(state: _State, low: Any, high: Any, back: Any, waiting: Any, least: Any, least_rank: Any) -> Any:
    """Put the groups of unplaced buffers between two sections before those that wait; returns the first to solve."""
    section = low
    while section < high:
        if state.remain[section] == 0:
            section += 1
            continue
        end = section
        while state.crossing[end]:
            end += 1
        entry = state.at[_GROUP_TOP]
        state.at[_GROUP_TOP] += 1
        state.group_low[entry], state.group_high[entry] = section, end + 1
        state.group_least[entry], state.group_rank[entry] = least, least_rank
        state.group_back[entry], state.group_next[entry] = back, waiting
        waiting = entry
        section = end + 1
    return waiting


@numba.njit(nogil=True, cache=True)
def _open(buffers: _Buffers, state: _State, depth: Any, entry: Any) -> None:
    """Go on with a group at a depth."""
    low, high, back = state.group_low[entry], state.group_high[entry], state.group_back[entry]
    state.low[depth], state.high[depth], state.back[depth] = low, high, back
    state.least[depth], state.least_rank[depth] = state.group_least[entry], state.group_rank[entry]
    state.waiting[depth], state.group_top[depth] = state.group_next[entry], state.at[_GROUP_TOP]
    members = 0
    for b in range(buffers.begin[low], buffers.begin[high]):
        members += 1 - state.placed[b]
    around = _NONE if back == _NONE else state.group[back]
    if around != _NONE and members > _SMALLER * state.members[around]:
        state.group[depth] = around
        return
    state.group[depth], state.entry[depth] = depth, entry
    state.around[depth], state.members[depth] = around, members
    state.spent[depth] = state.attempts[depth] = 0


@numba.njit(nogil=True, cache=True)
def _start_over(buffers: _Buffers, state: _State, depth: Any) -> Any:
    """Back to where the group began, or one around it that has attempts left; returns the depth.

    A group that is not inside another one never gives up: what the others have found stays.
    """
    group = state.group[depth]
    state.attempts[group] += 1
    while state.around[group] != _NONE and state.attempts[group] >= _ATTEMPTS:
        group = state.around[group]
        state.attempts[group] += 1
    _return(buffers, state, depth, group)
    state.spent[group] = 0
    state.least[group] = state.group_least[state.entry[group]]
    state.least_rank[group] = _NONE  # ranks of another order say nothing about what was passed over
    return group
