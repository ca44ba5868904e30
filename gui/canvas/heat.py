"""From numbers to colours, vectorised. Position 0 is the best end of a scale and 1 the worst. No Qt."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gui.canvas.scene import HeatScale
from gui.theme import CATEGORY_COLOURS, COLOUR_MAPS, channels

STEPS = 256
_LEAST_WEIGHT = 1e-12


@lru_cache(maxsize=16)
def _table(name: str) -> NDArray[np.uint8]:
    is_categories = name in CATEGORY_COLOURS
    colours = CATEGORY_COLOURS[name] if is_categories else COLOUR_MAPS[name]
    anchors = np.array([channels(colour) for colour in colours], dtype=np.float64)
    at = np.linspace(0, len(anchors) - 1, STEPS)
    at = np.rint(at) if is_categories else at
    table = np.stack([np.interp(at, np.arange(len(anchors)), anchors[:, c]) for c in range(3)], axis=1)
    rounded = np.rint(table).astype(np.uint8)
    rounded.flags.writeable = False
    return rounded


def colour_table(name: str) -> NDArray[np.uint8]:
    """Red, green, blue `[256, 3]` of a colour map, best end first; of categories, in their order.

    Raises:
        ValueError: no colour map has this name.
    """
    known = sorted({*COLOUR_MAPS, *CATEGORY_COLOURS})
    if name not in known:
        raise ValueError(f"no colour map {name!r}; there are {', '.join(known)}")
    return _table(name)


@lru_cache(maxsize=16)
def needs_white_text(name: str) -> tuple[bool, ...]:
    """For each of the 256 colours whether white text reads better on it than black, by WCAG contrast."""
    share = colour_table(name).astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return tuple((1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05).tolist())


def positions(values: NDArray[np.float64], scale: HeatScale) -> NDArray[np.float64]:
    """Where values lie on a scale, 0 (best) … 1 (worst), clipped; NaN stays NaN.

    On a log scale, values at or below zero are at the lower end.
    """
    low, high = scale.minimum, scale.maximum
    numbers = values.astype(np.float64)
    if scale.log:
        floor = _log_floor(low, high)
        numbers = np.log10(np.where(np.isnan(numbers), np.nan, np.maximum(numbers, floor)))
        low, high = math.log10(max(low, floor)), math.log10(max(high, floor))
    width = high - low
    share = (numbers - low) / width if width > 0 else np.where(np.isnan(numbers), np.nan, 0.0)
    share = np.clip(share, 0.0, 1.0)
    return share if scale.higher_is_worse else 1.0 - share


def _log_floor(low: float, high: float) -> float:
    """The least number a log axis shows: its lower end, or nine decades below the upper one."""
    if low > 0:
        return low
    return high * 1e-9 if high > 0 else 1e-12


def ticks(scale: HeatScale, most: int = 5) -> list[tuple[float, float]]:
    """(value, position) of round numbers on a scale, its position 0 … 1 as for `positions`."""
    values = _log_ticks(scale, most) if scale.log else _linear_ticks(scale, most)
    where = positions(np.array(values, dtype=np.float64), scale)
    return list(zip(values, where.tolist(), strict=True))


def _log_ticks(scale: HeatScale, most: int) -> list[float]:
    floor = _log_floor(scale.minimum, scale.maximum)
    first = math.ceil(math.log10(max(scale.minimum, floor)) - 1e-9)
    last = math.floor(math.log10(max(scale.maximum, floor)) + 1e-9)
    step = max(1, math.ceil((last - first + 1) / most))
    found = [10.0**exponent for exponent in range(first, last + 1, step)]
    return found if len(found) >= 2 else [scale.minimum, scale.maximum]


def _linear_ticks(scale: HeatScale, most: int) -> list[float]:
    width = scale.maximum - scale.minimum
    if not width > 0:
        return [scale.minimum]
    rough = width / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(scale.minimum / step - 1e-9)
    last = math.floor(scale.maximum / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def colour_index(position: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index into a colour table, −1 for NaN."""
    is_known = ~np.isnan(position)
    return np.where(is_known, np.rint(np.where(is_known, position, 0.0) * (STEPS - 1)), -1).astype(np.int64)


def worst_first(position: NDArray[np.float64], most: int) -> list[int]:
    """The `most` worst nodes with a value, worst first; nodes at the best end do not count. Ties in graph order."""
    worth = np.flatnonzero(position > 0)
    return worth[np.argsort(-position[worth], kind="stable")][:most].tolist()


def shares(position: NDArray[np.float64], weight: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """A group's positions, each as often among `bins` as its share of the weight, in ascending order; NaN where there
    are none.
    """
    known = np.flatnonzero(~np.isnan(position))
    if len(known) == 0:
        return np.full(bins, np.nan)
    order = known[np.argsort(position[known], kind="stable")]
    reached = np.cumsum(weight[order] + _LEAST_WEIGHT)
    at = np.searchsorted(reached / reached[-1], (np.arange(bins) + 0.5) / bins)
    return position[order[np.minimum(at, len(order) - 1)]]


def quantiles(position: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """A group's values in ascending order, sampled at `bins` places `[bins]`; NaN where there are none.

    The last bin is always the worst value, however many operators are well.
    """
    known = np.sort(position[~np.isnan(position)])
    if len(known) == 0:
        return np.full(bins, np.nan)
    at = np.minimum((np.arange(bins) + 0.5) / bins * len(known), len(known) - 1).astype(np.int64)
    at[-1] = len(known) - 1
    return known[at]
