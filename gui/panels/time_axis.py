"""The stretch of a frame's time that a view shows, its ticks, and how times are written. Qt-free."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gui.canvas.scene import format_number

LEAST_SHARE = 1e-6
"""The smallest stretch of a frame that a view zooms to."""

MILLISECONDS_FROM_US = 1000.0


@dataclass(frozen=True)
class TimeSpan:
    """From ``first_us`` to ``last_us`` of a frame that takes ``total_us``; always within it."""

    first_us: float = 0.0
    last_us: float = 1.0
    total_us: float = 1.0

    @staticmethod
    def whole(total_us: float) -> TimeSpan:
        """All of a frame; of an empty one a microsecond, so that there is something to divide by."""
        total = total_us if total_us > 0 else 1.0
        return TimeSpan(0.0, total, total)

    @property
    def width_us(self) -> float:
        return self.last_us - self.first_us

    @property
    def is_whole(self) -> bool:
        return self.width_us >= self.total_us * (1 - 1e-9)

    def between(self, first_us: float, last_us: float) -> TimeSpan:
        """Another stretch, pushed into the frame and no shorter than the least."""
        low, high = sorted((first_us, last_us))
        width = min(max(high - low, self.total_us * LEAST_SHARE), self.total_us)
        low = (low + high) / 2 - width / 2
        low = min(max(low, 0.0), self.total_us - width)
        return TimeSpan(low, low + width, self.total_us)

    def zoomed(self, factor: float, at_us: float) -> TimeSpan:
        """Magnified by ``factor`` about a time, which keeps its place."""
        width = min(max(self.width_us / factor, self.total_us * LEAST_SHARE), self.total_us)
        share = (at_us - self.first_us) / self.width_us
        first = at_us - share * width
        return self.between(first, first + width)

    def moved(self, by_us: float) -> TimeSpan:
        return self.between(self.first_us + by_us, self.last_us + by_us)

    def around(self, first_us: float, last_us: float, margin: float = 0.08) -> TimeSpan:
        """A stretch with some room on both sides."""
        room = (last_us - first_us) * margin
        return self.between(max(first_us - room, 0.0), min(last_us + room, self.total_us))

    def rescaled(self, total_us: float) -> TimeSpan:
        """The same stretch of another frame; all of it where all was shown."""
        whole = TimeSpan.whole(total_us)
        return whole if self.is_whole else whole.between(self.first_us, self.last_us)

    def ticks(self, most: int) -> list[float]:
        """Round times within the stretch, at most ``most`` or so."""
        rough = self.width_us / max(most, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
        first = math.ceil(self.first_us / step - 1e-9)
        last = math.floor(self.last_us / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def tick_text(time_us: float, step_us: float) -> str:
    """A tick in microseconds, with as many decimals as its neighbours need."""
    decimals = max(0, -math.floor(math.log10(step_us) + 1e-9))
    return f"{time_us:,.{decimals}f} µs"


def duration_text(time_us: float) -> str:
    """A duration with three digits: microseconds up to a millisecond."""
    if time_us >= MILLISECONDS_FROM_US:
        return f"{format_number(time_us / 1000)} ms"
    return f"{format_number(time_us)} µs"


def moment_text(time_us: float) -> str:
    """A moment of the frame: to the hundredth of a microsecond, for moments lie close together."""
    return f"{time_us:,.2f} µs"
