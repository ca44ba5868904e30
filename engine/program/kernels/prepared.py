"""What kernels derive from an operator once (packed weights, requantisation in 64 bits) and keep while it lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.program.types import Output, ProgramOp, Scaling

P = TypeVar("P", bound=ProgramOp)
V = TypeVar("V")


def prepared(build: Callable[[P], V]) -> Callable[[P], V]:
    """Decorator: compute ``build(op)`` once per operator object and hold it until the operator is gone."""
    kept: weakref.WeakKeyDictionary[P, V] = weakref.WeakKeyDictionary()

    def get(op: P) -> V:
        value = kept.get(op)
        if value is None:
            value = build(op)
            kept[op] = value
        return value

    return get


@dataclass(frozen=True)
class Tail:
    """Requantisation of an accumulator, ready for compiled loops: per-channel arrays int64 [C], clamp bounds, type."""

    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    low: int
    high: int
    dtype: str

    def channels(self, first: int, stop: int) -> Tail:
        """The same for channels first to stop (exclusive)."""
        part = slice(first, stop)
        arrays = (self.bias[part].copy(), self.multiplier[part].copy(), self.shift[part].copy())
        return Tail(*arrays, self.low, self.high, self.dtype)


def tail_of(bias: NDArray[np.int64], scaling: Scaling, output: Output) -> Tail:
    """Spread a scaling over the channels of ``bias`` (a scaling of one entry serves all)."""
    channels = bias.shape[0]
    multiplier = np.broadcast_to(scaling.multiplier, (channels,)).astype(np.int64)
    shift = np.broadcast_to(scaling.shift, (channels,)).astype(np.int64)
    return Tail(bias.astype(np.int64), multiplier, shift, output.low, output.high, output.dtype)


def single(scaling: Scaling) -> tuple[int, int]:
    """Multiplier and shift of a scaling that has one entry."""
    return int(scaling.multiplier[0]), int(scaling.shift[0])
