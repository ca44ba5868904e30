"""How many bytes weights take when they are encoded for the engine.

The engine reads weights as int8, entropy coded, padded with zeros to what it computes at a time. Their scales are the
largest magnitude of each output channel, as the program's are, so the bytes are known before anything is calibrated:
the entropy of the values with the zeros, a share that no code reaches, and the head of each stream.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.simulate.ethos.npu import Npu, round_up
from engine.simulate.ethos.passes import Part, Pass

CODE_SHARE = 1.04
"""Bits of the code for each bit of entropy (fitted to four models; ``python -m tests.benchmarks.ethos`` prints how far
the bytes are off: 1.2 % at most altogether, up to 6.4 % on average of each)."""
SCALE_BYTES = 10
"""Bias, multiplier and shift of one channel."""
_LIMIT = 127
_GRANULE = 16
_TAPS = 4
_SAMPLE = 2**17


@dataclass(frozen=True)
class Statistics:
    """Of int8 weights: bits of entropy of one that is not 0, and the share of zeros."""

    bits: float
    zeros: float


def statistics(weight: NDArray[Any]) -> Statistics:
    """Statistics of float weights [output channels, ...], each channel scaled to its largest magnitude.

    Of many weights, those of some channels, evenly chosen.
    """
    rows = weight.reshape(weight.shape[0], -1)
    rows = rows[:: max(1, rows.size // _SAMPLE)].astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    values = np.rint(rows * (_LIMIT / np.where(largest > 0.0, largest, 1.0))).astype(np.int16).ravel()
    counts = np.bincount(values + _LIMIT, minlength=2 * _LIMIT + 1).astype(np.float64)
    zeros = float(counts[_LIMIT] / values.size)
    counts[_LIMIT] = 0.0
    shares = counts[counts > 0.0] / max(counts.sum(), 1.0)
    return Statistics(float(-(shares * np.log2(shares)).sum()), zeros)


def encoded_bytes(found: Statistics, item: Pass, npu: Npu) -> int:
    """Bytes of the encoded weights of a pass."""
    count, padded = _counts(item, npu)
    zeros = 1.0 - count / padded * (1.0 - found.zeros)
    bits = padded * (_binary_bits(zeros) + (1.0 - zeros) * found.bits)
    return round_up(int(bits * CODE_SHARE / 8) + npu.stream_bytes, _GRANULE)


def _binary_bits(share: float) -> float:
    if not 0.0 < share < 1.0:
        return 0.0
    return -(share * math.log2(share) + (1.0 - share) * math.log2(1.0 - share))


def _counts(item: Pass, npu: Npu) -> tuple[int, int]:
    """Weights, and weights with the zeros they are padded with."""
    taps, depth, outputs = item.kernel[0] * item.kernel[1], item.ifm.depth, item.result[2]
    whole = round_up(outputs, npu.microblock(item)[2])
    if item.part is Part.DEPTHWISE:
        return outputs * taps, whole * round_up(taps, _TAPS)
    part_kernel = npu.takes_part_kernel(item)
    step = npu.weight_depth(part_kernel)
    return outputs * depth * taps, whole * round_up(depth, step) * (round_up(taps, _TAPS) if part_kernel else taps)
