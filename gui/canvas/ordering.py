"""Order within the ranks: few crossings, by medians and exchanges of neighbours. No Qt."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

_SWEEPS = 6
# Exchanging neighbours is quadratic in a rank's width: wide ranks rely on the medians alone.
_WIDEST_EXCHANGE = 40


def order_ranks(
    rank: Sequence[int], up: Sequence[Sequence[int]], down: Sequence[Sequence[int]], is_dummy: Sequence[bool]
) -> list[list[int]]:
    """Order the nodes of each rank, left to right.

    `up[v]` and `down[v]` are v's neighbours one rank above and below. Deterministic: equal input, equal order.
    """
    ranks = _depth_first(rank, up, down, is_dummy)
    best = [list(nodes) for nodes in ranks]
    fewest = crossings(best, down)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        _median_sweep(ranks, up if sweep % 2 == 0 else down, is_downward=sweep % 2 == 0)
        _exchange(ranks, up, down)
        count = crossings(ranks, down)
        if count < fewest:
            fewest = count
            best = [list(nodes) for nodes in ranks]
    return best


def crossings(ranks: Sequence[Sequence[int]], down: Sequence[Sequence[int]]) -> int:
    """How many pairs of edges between neighbouring ranks cross."""
    total = 0
    for upper, lower in pairwise(ranks):
        if len(upper) < 2 or len(lower) < 2:
            continue
        position = {node: i for i, node in enumerate(lower)}
        seen: list[int] = []
        for node in upper:
            ends = sorted(position[t] for t in down[node])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _depth_first(
    rank: Sequence[int], up: Sequence[Sequence[int]], down: Sequence[Sequence[int]], is_dummy: Sequence[bool]
) -> list[list[int]]:
    """First order: depth first along the longest way down: the main path on the left, skips on the right."""
    height = [0] * len(rank)
    for node in sorted(range(len(rank)), key=lambda v: -rank[v]):
        height[node] = 1 + max((height[t] - (is_dummy[t] and not is_dummy[node]) for t in down[node]), default=0)
    ranks: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    is_seen = [False] * len(rank)
    roots = sorted((v for v in range(len(rank)) if not up[v]), key=lambda v: (rank[v], -height[v], v))
    for root in roots:
        stack = [root]
        while stack:
            node = stack.pop()
            if is_seen[node]:
                continue
            is_seen[node] = True
            ranks[rank[node]].append(node)
            following = sorted(down[node], key=lambda t: (is_dummy[t], -height[t], t))
            stack.extend(reversed(following))
    return ranks


def _median_sweep(ranks: list[list[int]], towards: Sequence[Sequence[int]], is_downward: bool) -> None:
    steps = range(1, len(ranks)) if is_downward else range(len(ranks) - 2, -1, -1)
    for r in steps:
        if len(ranks[r]) < 2:
            continue
        fixed = {node: i for i, node in enumerate(ranks[r - 1 if is_downward else r + 1])}
        medians = [_median(sorted(fixed[t] for t in towards[node])) for node in ranks[r]]
        ranks[r] = _sorted_around_fixed(ranks[r], medians)


def _median(positions: list[int]) -> float:
    """The weighted median of Gansner and others; −1 without neighbours (such a node keeps its place)."""
    count = len(positions)
    if count == 0:
        return -1.0
    middle = count // 2
    if count % 2:
        return float(positions[middle])
    if count == 2:
        return (positions[0] + positions[1]) / 2
    left = positions[middle - 1] - positions[0]
    right = positions[-1] - positions[middle]
    if left + right == 0:
        return (positions[middle - 1] + positions[middle]) / 2
    return (positions[middle - 1] * right + positions[middle] * left) / (left + right)


def _sorted_around_fixed(nodes: list[int], medians: list[float]) -> list[int]:
    movable = iter(sorted((m, i) for i, m in enumerate(medians) if m >= 0))
    return [nodes[next(movable)[1]] if median >= 0 else nodes[i] for i, median in enumerate(medians)]


def _exchange(ranks: list[list[int]], up: Sequence[Sequence[int]], down: Sequence[Sequence[int]]) -> None:
    """Exchange neighbours while that removes crossings, one pass per rank."""
    for r, nodes in enumerate(ranks):
        if not 2 <= len(nodes) <= _WIDEST_EXCHANGE:
            continue
        above = {node: i for i, node in enumerate(ranks[r - 1])} if r else {}
        below = {node: i for i, node in enumerate(ranks[r + 1])} if r + 1 < len(ranks) else {}
        ends = {node: (sorted(above[t] for t in up[node]), sorted(below[t] for t in down[node])) for node in nodes}
        for i in range(len(nodes) - 1):
            left, right = ends[nodes[i]], ends[nodes[i + 1]]
            now = sum(_crossings_between(a, b) for a, b in zip(left, right, strict=True))
            exchanged = sum(_crossings_between(b, a) for a, b in zip(left, right, strict=True))
            if exchanged < now:
                nodes[i], nodes[i + 1] = nodes[i + 1], nodes[i]


def _crossings_between(left: list[int], right: list[int]) -> int:
    """Crossings between the edges of two neighbours, given their ends in ascending order."""
    return sum(bisect_left(right, end) for end in left)
