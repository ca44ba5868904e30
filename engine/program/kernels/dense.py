# pyright: reportUnknownMemberType=false
"""Fully connected layers and products of two activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.program.kernels.memory import TORCH_DTYPE, rows_of
from engine.program.kernels.prepared import Tail, prepared, single, tail_of
from engine.program.kernels.products import int8_product, split_bias, split_int16
from engine.program.kernels.registry import kernel_of
from engine.program.kernels.tails import requantised, requantised_flat, requantised_halves
from engine.program.types import FullyConnected, MatrixProduct

_EXACT_FLOAT32 = 2**24

_ACCUMULATORS = 1 << 21
"""Rows are multiplied in pieces of at most this many accumulators (8 MiB): larger blocks of memory are given back to
the system and fetched again page by page, which takes longer than the product."""


@dataclass(frozen=True)
class DenseWeights:
    """Weights of a matrix product: int8 [K, O] contiguous, and the tails for int8 and for int16 inputs."""

    matrix: Tensor
    tail: Tail
    split_tail: Tail


def dense_rows(x: Tensor, weights: DenseWeights) -> Tensor:
    """int8 or int16 [R, K] contiguous -> requantised [R, O]."""
    outputs = weights.matrix.shape[1]
    step = max(1, _ACCUMULATORS // (outputs * x.element_size()))
    out = torch.empty((x.shape[0], outputs), dtype=TORCH_DTYPE[weights.tail.dtype])
    for first in range(0, x.shape[0], step):
        _dense_piece(x[first : first + step], weights, out[first : first + step])
    return out


def _dense_piece(x: Tensor, weights: DenseWeights, out: Tensor) -> None:
    if x.dtype == torch.int8:
        requantised(int8_product(x, weights.matrix), weights.tail, out)
        return
    halves = torch.from_numpy(split_int16(x.numpy()))
    product = int8_product(halves.view(-1, x.shape[1]), weights.matrix)
    requantised_halves(product.view(2, x.shape[0], -1), weights.split_tail, out)


@prepared
def _weights_of(op: FullyConnected) -> DenseWeights:
    sums = op.weight.astype(np.int64).sum(axis=1)
    return DenseWeights(
        torch.from_numpy(np.array(op.weight.T, order="C")),
        tail_of(op.bias, op.scaling, op.output),
        tail_of(split_bias(op.bias, sums), op.scaling, op.output),
    )


@kernel_of(FullyConnected)
def fully_connected(op: FullyConnected, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    (x,) = inputs
    out = dense_rows(rows_of(x), _weights_of(op))
    return (out.view(*x.shape[:-1], op.weight.shape[0]),)


@kernel_of(MatrixProduct)
def matrix_product(op: MatrixProduct, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Batched product in float32 where every partial sum is below 2^24, in float64 otherwise: both exact."""
    a, b = inputs
    limit_a, limit_b = (128 if x.dtype == torch.int8 else 32768 for x in (a, b))
    exact = torch.float32 if a.shape[-1] * limit_a * limit_b <= _EXACT_FLOAT32 else torch.float64
    product = torch.matmul(_operand(a, exact), _operand(b, exact))
    multiplier, shift = single(op.scaling)
    output = op.output
    return (requantised_flat(product.contiguous(), multiplier, shift, output.low, output.high, output.dtype),)


def _operand(x: Tensor, exact: torch.dtype) -> Tensor:
    """The matrices in float, each one block of memory in its own order of axes, as the product wants them."""
    if x.stride(-2) == 1 and x.stride(-1) != 1:
        return x.mT.to(exact, memory_format=torch.contiguous_format).mT
    return x.to(exact, memory_format=torch.contiguous_format)
