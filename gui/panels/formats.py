"""How figures are written everywhere in the window. Qt-free."""

from __future__ import annotations

import math

from engine.reports import Interval
from gui.canvas.scene import format_number

MISSING = "–"
"""Shown for a figure that is not there (yet)."""

BYTE_UNITS = ("B", "KB", "MB", "GB", "TB")


def number(value: float | None, unit: str = "") -> str:
    """Three significant digits and the unit; a dash for None or NaN."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{format_number(value)} {unit}".rstrip()


def decibels(interval: Interval | None, exact: str = "exact", unit: str = "") -> str:
    """A mean with its 95 % interval; ``exact`` for infinite decibels, a dash for no measurement."""
    if interval is None:
        return MISSING
    if interval.mean is None:
        return exact
    text = f"{interval.mean:.1f}".replace("-", "−")
    if interval.half_width is not None:
        text += f" ± {interval.half_width:.1f}"
    return f"{text} {unit}".rstrip()


def cosine(value: float | None) -> str:
    """A cosine with enough digits to tell 0.9999 from 1."""
    return MISSING if value is None else f"{value:.5f}"


def scientific(value: float | None) -> str:
    """A value that spans many magnitudes, such as a mean square error."""
    if value is None:
        return MISSING
    return "0" if value == 0 else f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")


def size(byte_count: float | None) -> str:
    """Bytes in decimal units, as memory bandwidth is quoted."""
    if byte_count is None:
        return MISSING
    value, unit = float(byte_count), 0
    while value >= 999.5 and unit < len(BYTE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{format_number(value)} {BYTE_UNITS[unit]}"


def count(value: int | None) -> str:
    """An integer with thousands separators."""
    return MISSING if value is None else f"{value:,}"


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with two decimals."""
    return MISSING if fraction is None else f"{100 * fraction:.2f} %"
