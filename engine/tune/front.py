"""Pareto fronts: what no other point beats in loss, latency and DDR traffic together. All three are minimised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Costs = tuple[float, float, float]
"""Loss (log10 of noise / signal), latency in ms, DDR bytes of one inference."""


def dominates(a: Costs, b: Costs) -> bool:
    """Whether ``a`` is nowhere worse than ``b`` and somewhere better."""
    return a != b and a[0] <= b[0] and a[1] <= b[1] and a[2] <= b[2]


def front_of(points: Sequence[Costs]) -> list[int]:
    """Indices of the points that no other one dominates, by latency, then DDR traffic; of equal ones the first."""
    order = sorted(range(len(points)), key=lambda index: (points[index][1], points[index][2], points[index][0], index))
    kept: list[int] = []
    for index in order:
        if not any(points[other] == points[index] or dominates(points[other], points[index]) for other in kept):
            kept.append(index)
    return kept


def reachable_loss(front: Iterable[Costs], latency_ms: float, ddr_bytes: float) -> float | None:
    """The least loss among points that cost no more; None where every point costs more."""
    losses = [loss for loss, latency, ddr in front if latency <= latency_ms and ddr <= ddr_bytes]
    return min(losses, default=None)


def area_above(front: Sequence[Costs], worst: tuple[float, float]) -> float:
    """The area between a front's staircase of loss over latency and the corner ``worst`` (loss, latency): what grows
    as a front gets better. DDR traffic does not count."""
    area, reached = 0.0, worst[0]
    for loss, latency, _ in sorted(front, key=lambda costs: (costs[1], costs[0])):
        if latency < worst[1] and loss < reached:
            area += (worst[1] - latency) * (reached - loss)
            reached = loss
    return area


def thinned(points: Sequence[Costs], indices: Sequence[int], most: int) -> list[int]:
    """At most ``most`` of a front's ``indices``, those kept that the staircase of loss over latency loses most without;
    the ends always stay. In the order of ``indices``."""
    kept = list(indices)
    ends = {min(kept, key=lambda index: points[index][axis]) for axis in range(3)} if kept else set[int]()
    while len(kept) > max(most, len(ends)):
        worst = (max(points[index][0] for index in kept), max(points[index][1] for index in kept))
        whole = area_above([points[index] for index in kept], worst)

        def lost(index: int, worst: tuple[float, float] = worst, whole: float = whole) -> float:
            return whole - area_above([points[other] for other in kept if other != index], worst)

        kept.remove(min((index for index in kept if index not in ends), key=lambda index: (lost(index), -index)))
    return kept
