"""Operators that multiply and accumulate: convolution, fully connected, matrix product."""

from __future__ import annotations

from dataclasses import dataclass

from engine.ops.base import Op


@dataclass(frozen=True)
class Mac(Op):
    """Base of the operators that run on the MAC array."""


@dataclass(frozen=True)
class Conv(Mac):
    """N-dimensional cross-correlation; inputs (x [N, C, *S], weight [O, C/groups, *K], bias [O] or absent).

    ``pads`` is (begin_0, ..., begin_n, end_0, ..., end_n) as in ONNX, already explicit.
    """

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int = 1


@dataclass(frozen=True)
class ConvTranspose(Mac):
    """N-dimensional transposed convolution; inputs (x [N, C, *S], weight [C, O/groups, *K], bias [O] or absent)."""

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int = 1


@dataclass(frozen=True)
class Linear(Mac):
    """x @ weight.T + bias; inputs (x [..., K], weight [O, K] constant, bias [O] or absent).

    ``spelling`` is the source operator (``MatMul`` or ``Gemm``), which is what the user sees.
    """

    spelling: str = "Gemm"

    @property
    def type_name(self) -> str:
        return self.spelling


@dataclass(frozen=True)
class MatMul(Mac):
    """Batched matrix product of two activations, numpy broadcasting; inputs (a [..., M, K], b [..., K, N])."""
