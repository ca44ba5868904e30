"""A minimum without derivatives, within bounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_FIRST_STEP = 0.25
_SMALLEST = 1e-4


def minimum(
    function: Callable[[Vector], float], start: Vector, low: Vector, high: Vector, evaluations: int, restarts: int = 3
) -> Vector:
    """The best place found by Nelder and Mead's simplex with the coefficients of Gao and Han (2012) for many
    dimensions; places outside the bounds are moved onto them. It begins anew from its best place ``restarts`` times:
    a simplex can lie flat."""
    best = np.clip(start, low, high)
    for _ in range(restarts):
        best = _simplex(function, best, low, high, evaluations // restarts)
    return best


def _simplex(
    function: Callable[[Vector], float], start: Vector, low: Vector, high: Vector, evaluations: int
) -> Vector:
    size = len(start)
    reflect, expand = 1.0, 1.0 + 2.0 / size
    contract, shrink = 0.75 - 0.5 / size, 1.0 - 1.0 / size
    points = np.tile(start, (size + 1, 1))
    for axis in range(size):
        step = _FIRST_STEP if start[axis] + _FIRST_STEP <= high[axis] else -_FIRST_STEP
        points[axis + 1, axis] = np.clip(start[axis] + step, low[axis], high[axis])
    values = np.array([function(point) for point in points])
    spent = size + 1

    def at(centre: Vector, worst: Vector, factor: float) -> tuple[Vector, float]:
        point = np.clip(centre + factor * (centre - worst), low, high)
        return point, function(point)

    while spent < evaluations and float(np.abs(points - points[0]).max()) > _SMALLEST:
        order = np.argsort(values, kind="stable")
        points, values = points[order], values[order]
        centre = points[:-1].mean(axis=0)
        point, value = at(centre, points[-1], reflect)
        spent += 1
        if value < values[0]:
            further, further_value = at(centre, points[-1], reflect * expand)
            spent += 1
            point, value = (further, further_value) if further_value < value else (point, value)
        elif value >= values[-2]:
            side = reflect * contract if value < values[-1] else -contract
            point, value = at(centre, points[-1], side)
            spent += 1
            if value >= values[-1]:
                points[1:] = points[0] + shrink * (points[1:] - points[0])
                values[1:] = [function(place) for place in points[1:]]
                spent += size
                continue
        points[-1], values[-1] = point, value
    return points[int(np.argmin(values))]
