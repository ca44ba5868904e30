"""What kernels derive from an operator once (packed weights, requantisation in 64 bits) and keep while it lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.program.types import Output, Program, ProgramOp, Scaling

P = TypeVar("P", bound=ProgramOp | Program)
V = TypeVar("V")
A = TypeVar("A", bound=NDArray[Any])


def prepared(build: Callable[[P], V]) -> Callable[[P], V]:
    """Decorator: compute ``build(op)`` once per operator (or program) and hold it until that is gone."""
    kept: weakref.WeakKeyDictionary[P, V] = weakref.WeakKeyDictionary()

    def get(op: P) -> V:
        value = kept.get(op)
        if value is None:
            value = build(op)
            kept[op] = value
        return value

    return get


RUN = 512
"""Elements that compiled loops over channels run over at least: fewer channels are repeated to reach it."""


@dataclass(frozen=True)
class Tail:
    """Requantisation of an accumulator, ready for compiled loops: clamp bounds, type, and arrays int64 [T * C].

    The C channels stand T times in a row, so that one loop serves several pixels with few channels each.
    """

    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    low: int
    high: int
    dtype: str


def tail_of(bias: NDArray[np.int64], scaling: Scaling, output: Output, channels: slice = slice(None)) -> Tail:
    """The tail of some of the channels of ``bias`` (all by default); a scaling of one entry serves all."""

    def spread(values: NDArray[np.signedinteger]) -> NDArray[np.int64]:
        return repeated(np.broadcast_to(values, bias.shape)[channels].astype(np.int64))

    return Tail(
        spread(bias), spread(scaling.multiplier), spread(scaling.shift), output.low, output.high, output.dtype
    )


def repeated(values: A) -> A:
    """[..., C] -> [..., T * C] contiguous, with the smallest T that gives at least ``RUN`` elements."""
    times = max(1, -(-RUN // values.shape[-1]))
    return np.ascontiguousarray(np.tile(values, times))  # type: ignore[return-value]


def single(scaling: Scaling) -> tuple[int, int]:
    """Multiplier and shift of a scaling that has one entry."""
    return int(scaling.multiplier[0]), int(scaling.shift[0])
