"""Edges as arrays of lines: corners rounded for near views, extents for what is outside the window. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gui.canvas.compound import CompoundLayout

_RADIUS = 7.0


@dataclass(frozen=True, eq=False)
class EdgeLines:
    """Lines `[l, 4]` and the stretch of each, ascending; stretch i has the lines `first[i]` … `first[i + 1]`."""

    lines: NDArray[np.float64]
    stretch: NDArray[np.int64]
    first: NDArray[np.int64]

    def of(self, stretches: list[int]) -> NDArray[np.float64]:
        """The lines of some stretches."""
        parts = [self.lines[self.first[i] : self.first[i + 1]] for i in stretches]
        return np.concatenate(parts) if parts else np.zeros((0, 4))


def straight_lines(layout: CompoundLayout) -> EdgeLines:
    """Corner to corner."""
    return _lines(layout.points, layout.starts)


def rounded_lines(layout: CompoundLayout) -> EdgeLines:
    """Each corner as an arc of three lines; the arc takes at most half of either side."""
    points, starts = layout.points, layout.starts
    if len(points) < 3:
        return _lines(points, starts)
    is_end = np.zeros(len(points), dtype=np.bool_)
    is_end[starts[:-1]] = True
    is_end[starts[1:] - 1] = True
    corner = np.flatnonzero(~is_end)
    before, at, after = points[corner - 1], points[corner], points[corner + 1]
    to_before, to_after = before - at, after - at
    length_before = np.linalg.norm(to_before, axis=1, keepdims=True)
    length_after = np.linalg.norm(to_after, axis=1, keepdims=True)
    radius = np.minimum(_RADIUS, np.minimum(length_before, length_after) / 2)
    enter = at + to_before / np.maximum(length_before, 1e-9) * radius
    leave = at + to_after / np.maximum(length_after, 1e-9) * radius
    copies = np.where(is_end, 1, 4)
    where = np.cumsum(copies) - copies
    rounded = np.empty((int(copies.sum()), 2))
    rounded[where[is_end]] = points[is_end]
    for i, share in enumerate((0.0, 1 / 3, 2 / 3, 1.0)):
        # A quadratic curve with the corner as its control point.
        curve = (1 - share) ** 2 * enter + 2 * share * (1 - share) * at + share**2 * leave
        rounded[where[corner] + i] = curve
    total = np.concatenate(([0], np.cumsum(copies)))
    return _lines(rounded, total[starts])


def _lines(points: NDArray[np.float64], starts: NDArray[np.int64]) -> EdgeLines:
    if len(points) < 2:
        return EdgeLines(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(len(starts), np.int64))
    pairs = np.concatenate([points[:-1], points[1:]], axis=1)
    is_within = np.ones(len(pairs), dtype=np.bool_)
    is_within[starts[1:-1] - 1] = False
    counts = np.diff(starts) - 1
    stretch = np.repeat(np.arange(len(counts)), counts)
    return EdgeLines(pairs[is_within], stretch, np.concatenate(([0], np.cumsum(counts))))


def touching(lines: NDArray[np.float64], left: float, top: float, right: float, bottom: float) -> NDArray[np.bool_]:
    """Which lines' extents touch a rectangle."""
    x1, y1, x2, y2 = lines.T
    return (
        (np.minimum(x1, x2) <= right)
        & (np.maximum(x1, x2) >= left)
        & (np.minimum(y1, y2) <= bottom)
        & (np.maximum(y1, y2) >= top)
    )
