"""What the histograms say in words. Qt-free."""

from __future__ import annotations

from engine.reports import Interval
from engine.reports_distribution import NodeDistribution, SampleView
from gui.panels import formats

ALL_SAMPLES = "All samples"
ALL_CHANNELS = "all"


def headline(found: NodeDistribution) -> str:
    """The error of the node's values, and over how many samples."""
    count = len(found.sqnr_db)
    samples = f"{count} sample{'s' * (count != 1)}"
    return f"{formats.decibels(found.mean_db, unit='dB')} over {samples}"


def remark(found: NodeDistribution) -> str:
    """Type, range, steps and what is clipped."""
    if found.threshold is None or found.step is None:
        return f"{found.dtype}: not quantised"
    clipped = percentage(found.clipped)
    return (
        f"{found.dtype} ±{formats.number(found.threshold)} in steps of {formats.number(found.step)}; clipped {clipped}"
    )


def percentage(interval: Interval) -> str:
    """A mean percentage with its interval."""
    if interval.mean is None:
        return formats.MISSING
    half = "" if interval.half_width is None else f" ± {formats.number(interval.half_width)}"
    return f"{formats.number(interval.mean)}{half} %"


def sample_texts(found: NodeDistribution) -> tuple[str, ...]:
    """Entries to choose a sample from: all of them first."""
    named = (f"Sample {index}: {_decibels(value)}" for index, value in enumerate(found.sqnr_db))
    return (ALL_SAMPLES, *named)


def sample_lines(view: SampleView) -> tuple[str, ...]:
    """What both models make of a sample."""
    first = f"Sample {view.index}: {_decibels(view.output_db)} at the output"
    if view.made_class is None:
        return (first,)
    if view.made_class == view.float_class:
        return first, f"Both choose class {view.made_class}"
    return first, f"The integers choose class {view.made_class}, float chooses {view.float_class}"


def channel_text(found: NodeDistribution, channel: int) -> str:
    """One channel's figures."""
    low, high = found.channel_low[channel], found.channel_high[channel]
    span = f"{formats.number(low)} to {formats.number(high)}"
    return f"Channel {channel}: {span}, {_decibels(found.channel_db[channel])}"


def uneven_text(found: NodeDistribution) -> str:
    """How far the channels' ranges are apart; "" where there are no channels."""
    reaches = sorted(max(abs(low), abs(high)) for low, high in zip(found.channel_low, found.channel_high, strict=True))
    median = reaches[len(reaches) // 2] if reaches else 0.0
    if median <= 0.0:
        return "Range of each channel" if reaches else ""
    largest = formats.number(reaches[-1] / median)
    return f"Range of each of {len(reaches):,} channels: the largest is {largest}× the median one"


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f} dB".replace("-", "−")
