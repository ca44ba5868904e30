"""Every range method by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from engine.calibrate.ranges import KlRange, MaxRange, MovingAverageRange, MseRange, PercentileRange, RangeMethod
from engine.calibrate.table_range import TableRange

METHODS: Mapping[str, Callable[[], RangeMethod]] = MappingProxyType(
    {
        "max": MaxRange,
        "average": MovingAverageRange,
        "percentile": PercentileRange,
        "p99.9": partial(PercentileRange, 99.9),
        "p99.999": partial(PercentileRange, 99.999),
        "mse": MseRange,
        "kl": KlRange,
        "table": TableRange,
    }
)
"""By the names that plans and project files give them, each with its usual options."""
