"""A line drawn by hand around boxes. No Qt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HEART = 0.5
"""The share of a box's width and height that the line must cross to take the box along."""


class Lasso:
    """Which boxes a line has round itself, followed point by point: each point costs one pass over the boxes.

    A box is taken whose middle is inside the line, closed by a straight one, or whose inner half the line crosses: so
    one may draw around nodes, or along them, and brushing against a neighbour does not take it.
    """

    def __init__(self, boxes: NDArray[np.float64], start: tuple[float, float]) -> None:
        self.points: list[tuple[float, float]] = [start]
        self._middle = boxes[:, :2] + boxes[:, 2:] / 2
        self._reach = boxes[:, 2:] * (_HEART / 2)
        self._is_inside: NDArray[np.bool_] = np.zeros(len(boxes), dtype=np.bool_)
        self._is_crossed: NDArray[np.bool_] = np.zeros(len(boxes), dtype=np.bool_)

    def extend(self, point: tuple[float, float]) -> None:
        """Draw on to a point."""
        last = self.points[-1]
        if point == last:
            return
        self._is_inside ^= self._right_of(last, point)
        self._is_crossed |= self._crossing(last, point)
        self.points.append(point)

    def taken(self) -> NDArray[np.int64]:
        """The boxes that the line takes, were it closed now."""
        closed = self._is_inside ^ self._right_of(self.points[-1], self.points[0])
        return np.flatnonzero(closed | self._is_crossed)

    def _right_of(self, start: tuple[float, float], end: tuple[float, float]) -> NDArray[np.bool_]:
        """Boxes from whose middle a ray to the right meets the stretch."""
        (x0, y0), (x1, y1) = start, end
        x, y = self._middle[:, 0], self._middle[:, 1]
        spans = (y0 > y) != (y1 > y)
        if y0 == y1:
            return spans
        return spans & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))

    def _crossing(self, start: tuple[float, float], end: tuple[float, float]) -> NDArray[np.bool_]:
        """Boxes whose inner half the stretch meets, by its shares inside the box along x and along y."""
        origin, step = np.array(start), np.array(end) - np.array(start)
        enter, leave = np.zeros(len(self._middle)), np.ones(len(self._middle))
        for axis in (0, 1):
            low = self._middle[:, axis] - self._reach[:, axis] - origin[axis]
            high = self._middle[:, axis] + self._reach[:, axis] - origin[axis]
            if step[axis] == 0:
                leave = np.where((low > 0) | (high < 0), -1.0, leave)
                continue
            ends = np.sort(np.stack([low, high]) / step[axis], axis=0)
            enter, leave = np.maximum(enter, ends[0]), np.minimum(leave, ends[1])
        return enter <= leave
