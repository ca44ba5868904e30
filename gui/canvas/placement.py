"""Horizontal coordinates: straight main paths and straight long edges, packed without overlap. No Qt.

In the manner of Brandes and Köpf: nodes are aligned into vertical blocks, blocks are packed from the left, then moved
within their free space towards their neighbours. Unlike there, one alignment is made, by the edges' importance (the
main path first, then long edges), so that a chain of operators stays a straight line and a skip connection bows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

NODE_GAP = 30.0
LINE_GAP = 16.0
NODE_LINE_GAP = 20.0
_BALANCE_SWEEPS = 2


@dataclass(frozen=True)
class Link:
    """An edge between neighbouring ranks; `shift` is where the target's centre belongs, seen from the source's."""

    source: int
    target: int
    shift: float


def place(
    ranks: Sequence[Sequence[int]], links: Sequence[Link], half_width: Sequence[float], is_dummy: Sequence[bool]
) -> list[float]:
    """Centre x of every node. Neighbours in a rank keep their gaps; aligned links are exactly straight."""
    root, offset, is_aligned = _align(ranks, links, is_dummy)
    constraints = _constraints(ranks, root, offset, half_width, is_dummy)
    x_of_block = _pack_left(set(root), constraints)
    loose = [link for i, link in enumerate(links) if not is_aligned[i]]
    _balance(x_of_block, constraints, loose, root, offset)
    return [x_of_block[root[node]] + offset[node] for node in range(len(root))]


def _align(
    ranks: Sequence[Sequence[int]], links: Sequence[Link], is_dummy: Sequence[bool]
) -> tuple[list[int], list[float], list[bool]]:
    """Join nodes into blocks. Returns each node's block (its top node), its x in it, and which links are straight."""
    position = {node: i for nodes in ranks for i, node in enumerate(nodes)}
    rank_of = {node: r for r, nodes in enumerate(ranks) for node in nodes}
    by_gap: list[list[int]] = [[] for _ in ranks]
    for i, link in enumerate(links):
        by_gap[rank_of[link.source]].append(i)
    root = list(range(len(position)))
    offset = [0.0] * len(position)
    is_aligned = [False] * len(links)
    for gap in by_gap:
        gap.sort(key=lambda i: (_importance(links[i], is_dummy), position[links[i].source], position[links[i].target]))
        accepted: list[tuple[int, int]] = []
        for i in gap:
            link = links[i]
            ends = (position[link.source], position[link.target])
            at = bisect_left(accepted, ends)
            fits_left = at == 0 or (accepted[at - 1][0] < ends[0] and accepted[at - 1][1] < ends[1])
            fits_right = at == len(accepted) or (accepted[at][0] > ends[0] and accepted[at][1] > ends[1])
            if fits_left and fits_right:
                accepted.insert(at, ends)
                root[link.target] = root[link.source]
                offset[link.target] = offset[link.source] + link.shift
                is_aligned[i] = True
    return root, offset, is_aligned


def _importance(link: Link, is_dummy: Sequence[bool]) -> int:
    """0 for operator to operator, 1 within a long edge, 2 for an end of a long edge."""
    ends = is_dummy[link.source] + is_dummy[link.target]
    return (0, 2, 1)[ends]


def _constraints(
    ranks: Sequence[Sequence[int]],
    root: list[int],
    offset: list[float],
    half_width: Sequence[float],
    is_dummy: Sequence[bool],
) -> dict[tuple[int, int], float]:
    """Least distance between the origins of two blocks that are neighbours somewhere: (left, right) -> distance."""
    distance: dict[tuple[int, int], float] = {}
    for nodes in ranks:
        for left, right in pairwise(nodes):
            gap = (NODE_GAP, NODE_LINE_GAP, LINE_GAP)[is_dummy[left] + is_dummy[right]]
            needed = half_width[left] + gap + half_width[right] + offset[left] - offset[right]
            key = (root[left], root[right])
            distance[key] = max(distance.get(key, -1e18), needed)
    return distance


def _pack_left(blocks: set[int], constraints: dict[tuple[int, int], float]) -> dict[int, float]:
    """Every block as far left as its neighbours allow, in an order that puts a block after those to its left."""
    following: dict[int, list[tuple[int, float]]] = defaultdict(list)
    waiting = dict.fromkeys(blocks, 0)
    for (left, right), distance in constraints.items():
        following[left].append((right, distance))
        waiting[right] += 1
    ready = sorted((block for block, count in waiting.items() if count == 0), reverse=True)
    x = dict.fromkeys(ready, 0.0)
    packed: dict[int, float] = {}
    while ready:
        block = ready.pop()
        packed[block] = x[block]
        for right, distance in following[block]:
            x[right] = max(x.get(right, -1e18), x[block] + distance)
            waiting[right] -= 1
            if waiting[right] == 0:
                ready.append(right)
    return packed


def _balance(
    x: dict[int, float],
    constraints: dict[tuple[int, int], float],
    links: Sequence[Link],
    root: list[int],
    offset: list[float],
) -> None:
    """Move blocks within their free space to the median of what they connect to, from the right, then from the left."""
    lefts: dict[int, list[tuple[int, float]]] = defaultdict(list)
    rights: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for (left, right), distance in constraints.items():
        lefts[right].append((left, distance))
        rights[left].append((right, distance))
    wishes: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for link in links:
        source, target = root[link.source], root[link.target]
        if source != target:
            step = offset[link.source] + link.shift - offset[link.target]
            wishes[target].append((source, step))
            wishes[source].append((target, -step))
    order = sorted(x, key=lambda block: (x[block], block))
    for sweep in range(_BALANCE_SWEEPS):
        for block in reversed(order) if sweep % 2 == 0 else order:
            if not wishes[block]:
                continue
            wanted = sorted(x[other] + step for other, step in wishes[block])
            low = max((x[left] + distance for left, distance in lefts[block]), default=-1e18)
            high = min((x[right] - distance for right, distance in rights[block]), default=1e18)
            x[block] = min(max(wanted[(len(wanted) - 1) // 2], low), high)
