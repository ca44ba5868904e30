"""Truth values: comparison, logic, and conversion between element types."""

from __future__ import annotations

from dataclasses import dataclass

from engine.ops.elementwise import Elementwise

FLOATS = ("float32", "float16", "float64", "bfloat16")
"""Numpy names of the floating-point types."""


@dataclass(frozen=True)
class Comparison(Elementwise):
    """Base of comparisons of two tensors with numpy broadcasting; bool output. Either input may be a constant."""


@dataclass(frozen=True)
class Equal(Comparison):
    """a == b."""


@dataclass(frozen=True)
class Greater(Comparison):
    """a > b."""


@dataclass(frozen=True)
class GreaterOrEqual(Comparison):
    """a >= b."""


@dataclass(frozen=True)
class Less(Comparison):
    """a < b."""


@dataclass(frozen=True)
class LessOrEqual(Comparison):
    """a <= b."""


@dataclass(frozen=True)
class Logic(Elementwise):
    """Base of operators on truth values, with numpy broadcasting."""


@dataclass(frozen=True)
class And(Logic):
    """a and b."""


@dataclass(frozen=True)
class Or(Logic):
    """a or b."""


@dataclass(frozen=True)
class Xor(Logic):
    """Exactly one of a and b."""


@dataclass(frozen=True)
class Not(Logic):
    """Not x; one input."""


@dataclass(frozen=True)
class NumberTest(Elementwise):
    """Base of questions about one floating-point tensor; bool output."""


@dataclass(frozen=True)
class IsNaN(NumberTest):
    """Whether x is not a number."""


@dataclass(frozen=True)
class IsInf(NumberTest):
    """Whether x is infinite; of the signs asked for."""

    negative: bool = True
    positive: bool = True


@dataclass(frozen=True)
class Cast(Elementwise):
    """The numbers of a tensor in another element type: numpy names of the input's and of the output's.

    Towards integers, towards zero; to bool, whether the number differs from 0.
    """

    source: str
    to: str

    @property
    def between_floats(self) -> bool:
        """Whether both types are floating point: what is quantised is the same for either."""
        return self.source in FLOATS and self.to in FLOATS
