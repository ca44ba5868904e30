"""Rectangles around boxes that hold no other box. No Qt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MARGIN = 9.0

_MOST_PAIRED = 24
"""Up to so many parts, every two are tried; above, neighbours in a column and in a row. Hundreds of boxes are under a
lasso that must not stall."""

Rectangle = tuple[float, float, float, float]


def hulls(boxes: NDArray[np.float64], members: NDArray[np.int64]) -> list[Rectangle]:
    """Rectangles (x, y, width, height) around the members, few, without touching any other box; the largest first.

    Args:
        boxes: x, y, width and height of all boxes, ``[n, 4]``.
        members: Indices of the boxes to be held.
    """
    if not len(members):
        return []
    low, high = boxes[members, :2], boxes[members, :2] + boxes[members, 2:]
    others = np.delete(boxes, members, axis=0)
    others = others[_touching(low.min(axis=0), high.max(axis=0), others)]
    parts = list(np.concatenate([low, high], axis=1))
    count = len(parts) + 1
    while len(parts) < count:
        count = len(parts)
        for along in (0, 1):
            parts.sort(key=lambda part, along=along: (part[along], part[1 - along]))
            parts = _merge_neighbours(parts, others)
    if len(parts) <= _MOST_PAIRED:
        while _merge_two(parts, others):
            pass
    grown = [part + np.array([-MARGIN, -MARGIN, MARGIN, MARGIN]) for part in parts]
    grown.sort(key=lambda part: -float(np.prod(part[2:] - part[:2])))
    return [(float(a), float(b), float(c - a), float(d - b)) for a, b, c, d in grown]


def _merge_neighbours(parts: list[NDArray[np.float64]], others: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Each part with the one before it, where their common rectangle is free."""
    merged = [parts[0]]
    for part in parts[1:]:
        common = _common(merged[-1], part)
        if _is_free(common, others):
            merged[-1] = common
        else:
            merged.append(part)
    return merged


def _merge_two(parts: list[NDArray[np.float64]], others: NDArray[np.float64]) -> bool:
    """Merge the first two parts whose common rectangle is free of other boxes; whether there were any."""
    for i, one in enumerate(parts):
        for j in range(i + 1, len(parts)):
            common = _common(one, parts[j])
            if _is_free(common, others):
                parts[i] = common
                del parts[j]
                return True
    return False


def _common(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])])


def _is_free(part: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    return not bool(_touching(part[:2], part[2:], others).any())


def _touching(low: NDArray[np.float64], high: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    ends = others[:, :2] + others[:, 2:]
    return np.logical_and((others[:, :2] < high).all(axis=1), (ends > low).all(axis=1))
