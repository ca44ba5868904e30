"""Convolutions and matrix products, their accumulators handed out as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from engine.export.tosa.graph import Operator
from engine.export.tosa.schema import TosaOp
from engine.program.arithmetic import frozen
from engine.program.executor import run_program
from engine.program.types import AddScaled, Convolution, MatrixProduct, Program
from tests.conformance.tosa.forms.scale import KEEPS, UNCHANGED, UNCHANGED_WIDE, WHOLE, less_zero_point
from tests.conformance.tosa.forms.windows import as_image, from_image, paired_pads
from tests.conformance.tosa.translate import CONTAINER, OutsideError, Translation, Value, attribute_list, form_of

OVERFLOW = "sums exceed the accumulator of 32 bits, which TOSA leaves undefined and lowering proves absent"
"""A reason: the reference model wraps round where instructions saturate."""

_Layer = Callable[[NDArray[np.int8], NDArray[np.int64], str], Convolution]
"""The instruction with these weights [O, I, *K], this bias, and accumulators of this type."""


@form_of(TosaOp.CONV2D)
def _convolution(t: Translation, operator: Operator) -> Value:
    """Weights [O, KH, KW, I]."""
    return _layer_of(t, operator, _weight(t, operator).transpose(0, 3, 1, 2), _plain(operator, 1))


@form_of(TosaOp.CONV3D)
def _volume(t: Translation, operator: Operator) -> Value:
    """Weights [O, KD, KH, KW, I]."""
    return _layer_of(t, operator, _weight(t, operator).transpose(0, 4, 1, 2, 3), _plain(operator, 1))


@form_of(TosaOp.DEPTHWISE_CONV2D)
def _depthwise(t: Translation, operator: Operator) -> Value:
    """Weights [KH, KW, C, M]: M outputs for each channel, which is a group of its own."""
    height, width, channels, per_channel = t.shape(operator.inputs[1])
    weight = _weight(t, operator).transpose(2, 3, 0, 1).reshape(channels * per_channel, 1, height, width)
    return _layer_of(t, operator, weight, _plain(operator, channels))


@form_of(TosaOp.TRANSPOSE_CONV2D)
def _transposed(t: Translation, operator: Operator) -> Value:
    """Weights [O, KH, KW, I]; positive padding widens the output, where the engine's narrows it."""
    pads = tuple(-edge for edge in paired_pads(attribute_list(operator, "out_pad")))
    strides = attribute_list(operator, "stride")

    def layer(weight: NDArray[np.int8], bias: NDArray[np.int64], dtype: str) -> Convolution:
        return Convolution(
            weight, bias, KEEPS[dtype], WHOLE[dtype], strides, pads, (1, 1), 1, transposed=True, output_padding=(0, 0)
        )

    return _layer_of(t, operator, _weight(t, operator).transpose(3, 0, 1, 2), layer)


def _plain(operator: Operator, groups: int) -> _Layer:
    strides, dilations = attribute_list(operator, "stride"), attribute_list(operator, "dilation")
    pads = paired_pads(attribute_list(operator, "pad"))

    def layer(weight: NDArray[np.int8], bias: NDArray[np.int64], dtype: str) -> Convolution:
        return Convolution(weight, bias, KEEPS[dtype], WHOLE[dtype], strides, pads, dilations, groups)

    return layer


def _weight(t: Translation, operator: Operator) -> NDArray[np.int64]:
    """The weights less their zero point: up to 9 bits."""
    return t.array(operator.inputs[1]).astype(np.int64) - t.number(operator.inputs[4])


def _layer_of(t: Translation, operator: Operator, weight: NDArray[np.int64], layer: _Layer) -> Value:
    """The layer's accumulators, in the type that TOSA gives them."""
    dtype = CONTAINER[t.dtype(operator.outputs[0])]
    if dtype == "int32" and _overflows(t, operator, weight, layer):
        raise OutsideError(OVERFLOW)
    return _accumulated(t, operator, weight, layer, dtype)


def _overflows(t: Translation, operator: Operator, weight: NDArray[np.int64], layer: _Layer) -> bool:
    """Whether these inputs exceed 32 bits: computed with wide accumulators where it is not plain that they cannot."""
    source, _, bias_key, *_ = operator.inputs
    bound = int(np.abs(weight).sum()) * 255 + int(np.abs(t.array(bias_key).astype(np.int64)).max())
    if bound < 2**31 or source not in t.given:
        return False
    wide = Translation(t.file, t.given)
    value = _accumulated(wide, operator, weight, layer, "int64")
    program = Program(tuple(wide.instructions), wide.types, wide.constants, wide.inputs, {"sum": value.name})
    result = run_program(program, {source: torch.from_numpy(np.array(t.given[source]))})["sum"]
    return bool(result.max() >= 2**31 or result.min() < -(2**31))


def _accumulated(t: Translation, operator: Operator, weight: NDArray[np.int64], layer: _Layer, dtype: str) -> Value:
    """Weights of 9 bits, which a zero point makes, are the difference of two layers of 8 bits."""
    source, _, bias_key, zero_point, _ = operator.inputs
    *_, outputs = t.shape(operator.outputs[0])
    spatial = weight.ndim - 2
    bias = np.broadcast_to(t.array(bias_key).astype(np.int64), (outputs,))
    x = as_image(t, less_zero_point(t, t.value(source), t.number(zero_point)), spatial)
    positive = np.clip(weight, -128, 127)
    negative = positive - weight
    total = t.add(layer(_int8(positive), frozen(bias.copy()), dtype), (x,), dtype)
    if negative.any():
        rest = t.add(layer(_int8(negative), frozen(np.zeros(outputs, np.int64)), dtype), (x,), dtype)
        total = t.add(_difference(dtype), (total, rest), dtype)
    return from_image(t, total, spatial)


def _int8(weight: NDArray[np.int64]) -> NDArray[np.int8]:
    return frozen(np.ascontiguousarray(weight.astype(np.int8)))


def _difference(dtype: str) -> AddScaled:
    keeps = UNCHANGED_WIDE if dtype == "int64" else UNCHANGED
    return AddScaled(keeps, keeps, keeps, WHOLE[dtype], subtract=True)


@form_of(TosaOp.MATMUL)
def _matrix_product(t: Translation, operator: Operator) -> Value:
    a, b = (
        less_zero_point(t, t.value(key), t.number(zero_point))
        for key, zero_point in zip(operator.inputs[:2], operator.inputs[2:], strict=True)
    )
    dtype = CONTAINER[t.dtype(operator.outputs[0])]
    return t.add(MatrixProduct(KEEPS[dtype], WHOLE[dtype]), (a, b), dtype)
