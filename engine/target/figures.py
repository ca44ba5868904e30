"""One number of a target description: its value, its unit, and where it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import msgspec

_LARGEST = 1e9
_LARGEST_COUNT = 1e12


class SourceKind(StrEnum):
    """How far a figure can be trusted: published, chosen here, or fitted to measurements."""

    DATASHEET = "datasheet"
    ASSUMED = "assumed"
    FITTED = "fitted"


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``{ value = 12.8, unit = "GB/s", source = "assumed: ..." }``."""

    value: float
    unit: str
    source: str

    @property
    def kind(self) -> SourceKind:
        return SourceKind(self.source.split(":", 1)[0])


@dataclass(frozen=True)
class Quantity:
    """What a figure must be: its unit and its range. ``whole`` asks for an integer."""

    unit: str
    minimum: float = 0.0
    maximum: float = math.inf
    exclusive_minimum: bool = True
    whole: bool = False

    @property
    def range_text(self) -> str:
        low = f"{'above' if self.exclusive_minimum else 'at least'} {self.minimum:g}"
        high = "" if math.isinf(self.maximum) else f" and at most {self.maximum:g}"
        return f"a {'whole ' if self.whole else ''}number {low}{high}"

    def admits(self, value: float) -> bool:
        above = value > self.minimum if self.exclusive_minimum else value >= self.minimum
        is_whole = not self.whole or float(value).is_integer()
        return math.isfinite(value) and above and value <= self.maximum and is_whole


def positive(unit: str) -> Quantity:
    """A number above 0, and not so large that no chip has it."""
    return Quantity(unit, maximum=_LARGEST)


def count(unit: str) -> Quantity:
    """A whole number of at least 1."""
    return Quantity(unit, minimum=1.0, maximum=_LARGEST_COUNT, exclusive_minimum=False, whole=True)


def accumulator(unit: str) -> Quantity:
    """The width of an accumulator: at least that of an int16 value."""
    return Quantity(unit, minimum=16.0, maximum=64.0, exclusive_minimum=False, whole=True)


def nonnegative(unit: str) -> Quantity:
    """A number of at least 0."""
    return Quantity(unit, maximum=_LARGEST, exclusive_minimum=False)


def fraction() -> Quantity:
    """A number above 0 and at most 1."""
    return Quantity("fraction", maximum=1.0)


def source_problem(source: str) -> str | None:
    """What is wrong with a figure's source, or None."""
    kind, colon, text = source.partition(":")
    if not colon or kind not in set(SourceKind) or not text.strip():
        return f"source is {source!r}, which does not say where the figure comes from"
    return None


def figure_problem(figure: Figure, quantity: Quantity) -> str | None:
    """What is wrong with a figure's unit or value, or None."""
    if figure.unit != quantity.unit:
        return f"unit is {figure.unit!r}, expected {quantity.unit!r}"
    if not quantity.admits(figure.value):
        return f"value is {figure.value:g} {figure.unit}, expected {quantity.range_text}"
    return None
