"""Which activations stay in on-chip memory from their production to their last use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lifetime:
    """A tensor that a unit makes, by positions in the order of units: from ``first`` to ``last``, both
    included.
    """

    value: str
    size_bytes: int
    first: int
    last: int


def residents(lifetimes: Iterable[Lifetime], steps: int, capacity_bytes: int) -> tuple[frozenset[str], int]:
    """Keep tensors on the chip, greedily in order of production, where they fit during their whole life.

    Conservative: a tensor that does not fit at any one step of its life goes to DDR for all of it, and
    nothing that was kept is evicted for a later one. Returns the values that stay and the most bytes that
    they occupy at once.
    """
    occupied = [0] * steps
    kept: list[str] = []
    for tensor in lifetimes:
        if _fits(occupied, tensor, capacity_bytes):
            kept.append(tensor.value)
            for step in range(tensor.first, tensor.last + 1):
                occupied[step] += tensor.size_bytes
    return frozenset(kept), max(occupied, default=0)


def _fits(occupied: Sequence[int], tensor: Lifetime, capacity_bytes: int) -> bool:
    if tensor.size_bytes > capacity_bytes:
        return False
    return max(occupied[tensor.first : tensor.last + 1]) + tensor.size_bytes <= capacity_bytes
