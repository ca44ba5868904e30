"""The roofline without Qt: where each kernel lies, the ceilings, and the kernels that multiply nothing."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.reports import Compilation, KernelReport
from gui.panels import formats
from gui.panels.bounds import BOUNDS, Bound, bound_of
from gui.panels.time_axis import duration_text
from gui.panels.timeline.model import kernel_lines, kernel_title

Floats = NDArray[np.float64]

LEAST_DIAMETER_PX = 6.0
MOST_DIAMETER_PX = 34.0

ON_CHIP_GAP = 0.7
"""How far, in decades, what moves nothing to or from DDR stands to the right of all others."""

MARGIN = 0.35
"""Decades of room around the points."""

LEAST_SHARE = 1e-6

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


@dataclass(frozen=True, eq=False)
class Points:
    """The kernels with MACs: their indices, log10 of intensity (MACs a byte of DDR) and rate (MACs a microsecond),
    diameters in pixels so that areas are as their times, and whether they move anything to or from DDR at all."""

    kernel: NDArray[np.int64]
    intensity: Floats
    rate: Floats
    diameter: Floats
    is_on_chip: NDArray[np.bool_]


@dataclass(frozen=True)
class Segment:
    """A kernel without MACs on the strip: from–to as shares of the strip."""

    kernel: int
    first: float
    last: float


@dataclass(frozen=True)
class Share:
    """What share of the frame's time goes to something."""

    bound: Bound
    share: float


class RooflineModel:
    """The kernels of a compilation against its ceilings."""

    def __init__(self, compilation: Compilation, titles: Mapping[str, str] | None = None) -> None:
        """``titles`` are what nodes are called where there is little room."""
        self.compilation = compilation
        self.kernels = compilation.timeline.kernels
        self.bounds = tuple(bound_of(kernel.bound) for kernel in self.kernels)
        self.points = _points(self.kernels)
        self.segments = self._segments()
        self._titles = titles or {}
        self._kernel_of_node = {node: i for i, kernel in enumerate(self.kernels) for node in kernel.nodes}

    def _segments(self) -> tuple[Segment, ...]:
        """Kernels without MACs side by side: by what bounds them, the longest first; each as wide as its time."""
        order = list(BOUNDS)
        rest = [i for i, kernel in enumerate(self.kernels) if not kernel.macs and kernel.latency_us > 0]
        total = sum(self.kernels[i].latency_us for i in rest)

        def place(index: int) -> tuple[int, float]:
            bound = self.bounds[index]
            return (order.index(bound.key) if bound is not None else len(order), -self.kernels[index].latency_us)

        made: list[Segment] = []
        at = 0.0
        for index in sorted(rest, key=place):
            width = self.kernels[index].latency_us / total
            made.append(Segment(index, at, at + width))
            at += width
        return tuple(made)

    @property
    def ceiling(self) -> tuple[tuple[float, float], ...]:
        """The roof as corners (log10 of intensity and rate) from far left over the ridge to far right."""
        limit = self.compilation.ceiling
        if limit.macs_per_us <= 0 or limit.ddr_bytes_per_us <= 0:
            return ()
        flat, slope = math.log10(limit.macs_per_us), math.log10(limit.ddr_bytes_per_us)
        ridge = flat - slope
        far = 12.0
        return ((ridge - far, flat - far), (ridge, flat), (ridge + far, flat))

    @property
    def view(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """What to show at first: all points and the ridge, as (left, right), (bottom, top) in decades."""
        roof = self.ceiling[1:2]
        x = [*self.points.intensity.tolist(), *(corner[0] for corner in roof)] or [0.0]
        y = [*self.points.rate.tolist(), *(corner[1] for corner in roof)] or [0.0]
        return (min(x) - MARGIN, max(x) + MARGIN), (min(y) - MARGIN, max(y) + 2 * MARGIN)

    def kernels_of(self, nodes: Iterable[str]) -> frozenset[int]:
        """The kernels that compute nodes."""
        found = (self._kernel_of_node.get(node) for node in nodes)
        return frozenset(kernel for kernel in found if kernel is not None)

    def colour(self, kernel: int, otherwise: str) -> str:
        """The colour of what bounds a kernel."""
        bound = self.bounds[kernel]
        return bound.colour if bound is not None else otherwise

    # What it says

    def title(self, kernel: int) -> str:
        """What a kernel is called where there is little room."""
        shown = self.kernels[kernel]
        return shown.region or self._titles.get(shown.anchor, shown.anchor)

    def card(self, kernel: int) -> str:
        """A kernel's read-out, as simple HTML."""
        shown = self.kernels[kernel]
        lines = [f"<b>{html.escape(kernel_title(shown))}</b>"]
        if shown.macs:
            rate = shown.macs / time_us(shown)
            limit = self.compilation.ceiling.macs_per_us
            of = f", {formats.number(100 * rate / limit, '%')} of the ceiling" if limit > 0 else ""
            lines.append(f"{quantity(shown.macs, ' MACs')} at {quantity(rate, ' MACs/µs')}{of}")
            lines.append(_traffic_text(shown))
        else:
            lines.append(f"no MACs, {formats.size(shown.ddr_bytes)} of DDR")
        return "<br>".join([*lines, *kernel_lines(shown, self.compilation.timeline.total_us)])

    def headline(self) -> str:
        """How much of the chip the frame uses."""
        total, macs = self.compilation.timeline.total_us, sum(kernel.macs for kernel in self.kernels)
        limit = self.compilation.ceiling.macs_per_us
        share = formats.number(100 * macs / total / limit if total > 0 and limit > 0 else None, "%")
        return f"{quantity(macs, ' MACs')} in {duration_text(total)}: {share} of the ceiling"

    def strip_title(self) -> str:
        """How many kernels have no MACs, and their time."""
        total = self.compilation.timeline.total_us
        time = sum(self.kernels[segment.kernel].latency_us for segment in self.segments)
        if not self.segments:
            return "Every kernel that takes time has MACs"
        count = f"{len(self.segments):,} kernel{'s' * (len(self.segments) != 1)} without MACs"
        return f"{count}: {duration_text(time)}, {formats.percent(time / total)} of the frame"

    def shares(self) -> tuple[Share, ...]:
        """What the frame's time goes to, most first; what no kernel has is the start of the inference."""
        total = self.compilation.timeline.total_us
        time = dict.fromkeys(BOUNDS, 0.0)
        for kernel, bound in zip(self.kernels, self.bounds, strict=True):
            if bound is not None:
                time[bound.key] += kernel.latency_us
        time["launch"] += max(total - sum(kernel.latency_us for kernel in self.kernels), 0.0)
        found = [Share(BOUNDS[key], each / total) for key, each in time.items() if each > LEAST_SHARE * total]
        return tuple(sorted(found, key=lambda share: -share.share))


def time_us(kernel: KernelReport) -> float:
    """How long a kernel takes by itself: its part of the critical path, or where others hide it, as long as its busiest
    engine works.
    """
    return max(kernel.latency_us, max(kernel.busy_us.values(), default=0.0))


def quantity(value: float, unit: str) -> str:
    """Three digits with an SI prefix and a unit; a space before the unit stays between the two."""
    size, prefix = next(((size, prefix) for size, prefix in PREFIXES if value >= size), (1.0, ""))
    return f"{formats.number(value / size)} {(prefix + unit).strip()}"


def _traffic_text(kernel: KernelReport) -> str:
    if not kernel.ddr_bytes:
        return "nothing to or from DDR"
    return f"{formats.size(kernel.ddr_bytes)} of DDR: {quantity(kernel.macs / kernel.ddr_bytes, ' MACs')} a byte"


def decade_text(exponent: int) -> str:
    """10**exponent for an axis: 10 k rather than 1e4."""
    power = max((p for p in (0, 3, 6, 9, 12) if p <= exponent), default=0)
    prefix = {0: "", 3: " k", 6: " M", 9: " G", 12: " T"}[power]
    return f"{10.0 ** (exponent - power):g}{prefix}"


def _points(kernels: tuple[KernelReport, ...]) -> Points:
    shown = [i for i, kernel in enumerate(kernels) if kernel.macs and time_us(kernel) > 0]
    macs = np.array([kernels[i].macs for i in shown], dtype=np.float64)
    time = np.array([time_us(kernels[i]) for i in shown], dtype=np.float64)
    moved = np.array([kernels[i].ddr_bytes for i in shown], dtype=np.float64)
    is_on_chip = moved == 0
    intensity = np.log10(macs / np.where(is_on_chip, 1.0, moved))
    intensity[is_on_chip] = intensity[~is_on_chip].max(initial=0.0) + ON_CHIP_GAP
    longest = time.max(initial=1e-12)
    diameter = np.maximum(MOST_DIAMETER_PX * np.sqrt(time / longest), LEAST_DIAMETER_PX)
    return Points(np.array(shown, dtype=np.int64), intensity, np.log10(macs / time), diameter, is_on_chip)
