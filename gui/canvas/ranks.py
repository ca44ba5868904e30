"""Ranks of a layered layout: longest paths, tightened, with ports at the top and the bottom. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TOP_PORT = -1
BOTTOM_PORT = 1


@dataclass(frozen=True)
class Ranking:
    """`rank[v]` of every node, and the edges (by index) that had to be left out because they close a cycle."""

    rank: list[int]
    back_edges: list[int]


def rank_nodes(count: int, sources: Sequence[int], targets: Sequence[int], pins: Sequence[int]) -> Ranking:
    """Rank nodes so that every edge but the back edges goes down at least one rank.

    `pins[v]` is `TOP_PORT`, `BOTTOM_PORT` or 0: ports are alone on the first and the last rank. A node that only
    feeds others (a constant, an input used late) sinks to the rank above its first consumer.
    """
    below: list[list[int]] = [[] for _ in range(count)]
    degree = [0] * count
    for edge, target in enumerate(targets):
        below[sources[edge]].append(edge)
        degree[target] += 1
    order, back_edges = _topological_order(below, targets, degree)
    backward = set(back_edges)
    first_free = 1 if any(pin == TOP_PORT for pin in pins) else 0
    rank = [0 if pin == TOP_PORT else first_free for pin in pins]
    arriving = [0] * count
    for node in order:
        for edge in below[node]:
            if edge not in backward:
                target = targets[edge]
                arriving[target] += 1
                rank[target] = max(rank[target], rank[node] + 1)
    _tighten(rank, order, below, targets, backward, arriving, pins)
    bottoms = [node for node, pin in enumerate(pins) if pin == BOTTOM_PORT]
    if bottoms:
        last = 1 + max((rank[node] for node, pin in enumerate(pins) if pin != BOTTOM_PORT), default=-1)
        for node in bottoms:
            rank[node] = last
    return Ranking(_without_gaps(rank), back_edges)


def _topological_order(
    below: list[list[int]], targets: Sequence[int], degree: list[int]
) -> tuple[list[int], list[int]]:
    """A topological order; where a cycle stops it, the first waiting node is next and edges into it are back edges."""
    order: list[int] = []
    back_edges: list[int] = []
    is_placed = [False] * len(degree)
    ready = [node for node in range(len(degree) - 1, -1, -1) if degree[node] == 0]
    first_waiting = 0
    while len(order) < len(degree):
        if not ready:
            while is_placed[first_waiting]:
                first_waiting += 1
            ready.append(first_waiting)
        node = ready.pop()
        is_placed[node] = True
        order.append(node)
        for edge in below[node]:
            target = targets[edge]
            if is_placed[target]:
                back_edges.append(edge)
                continue
            degree[target] -= 1
            if degree[target] == 0:
                ready.append(target)
    return order, back_edges


def _tighten(
    rank: list[int],
    order: list[int],
    below: list[list[int]],
    targets: Sequence[int],
    backward: set[int],
    arriving: list[int],
    pins: Sequence[int],
) -> None:
    """Pull nodes with more edges out than in down to their first consumer: shorter edges, the same height."""
    for node in reversed(order):
        if pins[node]:
            continue
        consumers = [rank[targets[edge]] for edge in below[node] if edge not in backward]
        if consumers and len(consumers) > arriving[node]:
            rank[node] = max(rank[node], min(consumers) - 1)


def _without_gaps(rank: list[int]) -> list[int]:
    used = {old: new for new, old in enumerate(sorted(set(rank)))}
    return [used[r] for r in rank]
