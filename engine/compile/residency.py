"""Which values stay in on-chip memory from the kernel that makes them to the last that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
from numpy.typing import NDArray

_numba: Any = numba


@dataclass(frozen=True)
class Lifetime:
    """A value that a kernel makes, by places in the order of kernels: from ``first`` to ``last``, both included.

    ``traffic_bytes`` is what goes over the DDR interface if it does not stay: once written, and read by each reader.
    """

    value: str
    size_bytes: int
    first: int
    last: int
    traffic_bytes: int


def residents(lifetimes: Sequence[Lifetime], steps: int, capacity_bytes: int) -> tuple[Lifetime, ...]:
    """The values that stay, whose bytes are never more than the capacity.

    Each is kept where it fits during its whole life beside those kept before it. Of two orders, that of production
    and that of traffic saved for each byte and kernel that it stays, the one that saves more traffic.
    """
    if not lifetimes:
        return ()
    first = np.array([tensor.first for tensor in lifetimes], np.int64)
    last = np.array([tensor.last for tensor in lifetimes], np.int64)
    size = np.array([tensor.size_bytes for tensor in lifetimes], np.int64)
    traffic = np.array([tensor.traffic_bytes for tensor in lifetimes], np.int64)
    worth = traffic / (np.maximum(size, 1) * (last - first + 1))
    orders = (np.arange(len(lifetimes)), np.argsort(-worth, kind="stable"))
    tried = [_kept(first, last, size, order, steps, capacity_bytes) for order in orders]
    kept = max(tried, key=lambda found: int(traffic[found].sum()))
    return tuple(tensor for tensor, stays in zip(lifetimes, kept.tolist(), strict=True) if stays)


@_numba.njit(cache=True, nogil=True)
def _kept(
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    size: NDArray[np.int64],
    order: NDArray[np.int64],
    steps: int,
    capacity_bytes: int,
) -> NDArray[np.bool_]:
    occupied = np.zeros(steps, np.int64)
    kept = np.zeros(len(first), np.bool_)
    for index in order:
        begin, end = first[index], last[index] + 1
        if occupied[begin:end].max() + size[index] <= capacity_bytes:
            kept[index] = True
            occupied[begin:end] += size[index]
    return kept
