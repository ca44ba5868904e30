"""Reductions, pooling, normalisation and softmax."""

from __future__ import annotations

from dataclasses import dataclass

from engine.ops.base import Op


@dataclass(frozen=True)
class Reduction(Op):
    """Base of reductions over ``axes`` (non-negative, sorted)."""

    axes: tuple[int, ...]
    keepdims: bool = True


@dataclass(frozen=True)
class ReduceMean(Reduction):
    """Arithmetic mean. GlobalAveragePool arrives here too."""


@dataclass(frozen=True)
class ReduceSum(Reduction):
    """Sum."""


@dataclass(frozen=True)
class ReduceMax(Reduction):
    """Maximum. GlobalMaxPool arrives here too."""


@dataclass(frozen=True)
class ReduceMin(Reduction):
    """Minimum."""


@dataclass(frozen=True)
class ReduceL2(Reduction):
    """Square root of the sum of squares."""


@dataclass(frozen=True)
class ReduceL1(Reduction):
    """Sum of magnitudes."""


@dataclass(frozen=True)
class ReduceSumSquare(Reduction):
    """Sum of squares."""


@dataclass(frozen=True)
class ReduceProd(Reduction):
    """Product."""


@dataclass(frozen=True)
class ReduceLogSum(Reduction):
    """Logarithm of the sum."""


@dataclass(frozen=True)
class ReduceLogSumExp(Reduction):
    """Logarithm of the sum of exponentials."""


@dataclass(frozen=True)
class Pool(Op):
    """Base of windowed pooling over the spatial axes of [N, C, *S]; pads as in Conv, ceil mode resolved into pads."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]


@dataclass(frozen=True)
class MaxPool(Pool):
    """Maximum of each window; padding never wins."""

    dilations: tuple[int, ...] = ()


@dataclass(frozen=True)
class AveragePool(Pool):
    """Mean of each window. ``count_include_pad``: padding counts as zeros up to ``counted_pads`` (the file's own pads);
    elements beyond them exist only because of ceil mode and are never counted."""

    count_include_pad: bool = False
    counted_pads: tuple[int, ...] = ()


@dataclass(frozen=True)
class Softmax(Op):
    """exp(x - max) / sum(exp(x - max)) along ``axis`` (non-negative)."""

    axis: int


@dataclass(frozen=True)
class LogSoftmax(Op):
    """Logarithm of the softmax along ``axis``."""

    axis: int


@dataclass(frozen=True)
class LayerNorm(Op):
    """(x - mean) / sqrt(var + epsilon) * weight + bias over the last ``axes_count`` axes.

    Inputs (x, weight or absent, bias or absent); weight and bias have the shape of the normalised axes.
    """

    axes_count: int
    epsilon: float = 1e-5

    @property
    def type_name(self) -> str:
        return "LayerNormalization"


@dataclass(frozen=True)
class RMSNorm(Op):
    """x / sqrt(mean(x^2) + epsilon) * weight over the last ``axes_count`` axes; inputs (x, weight or absent)."""

    axes_count: int
    epsilon: float = 1e-5

    @property
    def type_name(self) -> str:
        return "RMSNormalization"


@dataclass(frozen=True)
class InstanceNorm(Op):
    """Normalisation of each channel of each sample over space; inputs (x [N, C, *S], weight [C], bias [C])."""

    epsilon: float = 1e-5

    @property
    def type_name(self) -> str:
        return "InstanceNormalization"


@dataclass(frozen=True)
class GroupNorm(Op):
    """Normalisation of each group of channels over its channels and space, then scale and offset per channel.

    Inputs (x [N, C, *S], weight [C], bias [C]); ``groups`` divides C.
    """

    groups: int
    epsilon: float = 1e-5

    @property
    def type_name(self) -> str:
        return "GroupNormalization"


@dataclass(frozen=True)
class BatchNorm(Op):
    """x * scale + offset per channel: batch normalisation whose statistics are constants, where no layer absorbs it.

    Inputs (x [N, C, *S], scale [C], offset [C]).
    """

    @property
    def type_name(self) -> str:
        return "BatchNormalization"


@dataclass(frozen=True)
class ArgExtreme(Op):
    """Base of the indices of extremes along ``axis``: int64 output, of equal elements the first (or ``last``)."""

    axis: int
    keepdims: bool = True
    last: bool = False


@dataclass(frozen=True)
class ArgMax(ArgExtreme):
    """Index of the maximum."""


@dataclass(frozen=True)
class ArgMin(ArgExtreme):
    """Index of the minimum."""


@dataclass(frozen=True)
class Resize(Op):
    """Spatial resize of [N, C, *S] to ``sizes`` (the spatial sizes); ONNX coordinate and rounding modes."""

    sizes: tuple[int, ...]
    scales: tuple[float, ...]
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest_rounding: str = "round_prefer_floor"
    cubic_coefficient: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
