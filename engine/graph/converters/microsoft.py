"""Operators of ONNX Runtime's own domain, which its optimiser and its exporters fuse: taken apart again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from engine.graph.converters.attention import Steps, attended, rotated, together
from engine.graph.source import CONVERTERS, Apply, Converted, SourceNode, converts
from engine.ops.elementwise import (
    Add,
    Affine,
    Clip,
    Gelu,
    HardSigmoid,
    LeakyRelu,
    Mul,
    Relu,
    Sigmoid,
    Tanh,
    Unary,
)
from engine.ops.layout import Reshape, Transpose
from engine.ops.linear import Linear, MatMul
from engine.ops.logic import Cast
from engine.ops.reduce import LayerNorm, RMSNorm

MICROSOFT = "com.microsoft"
_MASKED = -10000.0
"""What the fused attention adds to the score of a position outside its mask, unless it says otherwise."""

_FUNCTIONS: dict[str, Callable[[list[float]], Unary]] = {
    "Relu": lambda _: Relu(),
    "Tanh": lambda _: Tanh(),
    "Sigmoid": lambda _: Sigmoid(),
    "LeakyRelu": lambda given: LeakyRelu(given[0] if given else 0.01),
    "Clip": lambda given: Clip(*given),
    "HardSigmoid": lambda given: HardSigmoid(*given),
}


@converts("FusedConv", "FusedGemm", domain=MICROSOFT)
def _fused_layer(node: SourceNode) -> Converted:
    """The layer, a summand (input 3 of a convolution), the function."""
    make = _FUNCTIONS.get(node.text("activation"))
    alone = node.op_type.removeprefix("Fused")
    layer = CONVERTERS["", alone](node)
    if make is None or not isinstance(layer, Sequence):
        return None
    names = ("activation_params",) if alone == "Conv" else ("activation_alpha", "activation_beta")
    given = [value for name in names for value in _reals(node, name)]
    result = node.inner("layer")
    steps = [*layer[:-1], Apply(layer[-1].op, layer[-1].inputs, (result,))]
    if alone == "Conv" and node.has(3):
        total = node.inner("sum")
        steps.append(Apply(Add(), (result, node.inputs[3]), (total,)))
        result = total
    return [*steps, Apply(make(given), (result,))]


def _reals(node: SourceNode, name: str) -> tuple[float, ...]:
    """A real attribute or a list of them; nothing where it is not there."""
    if name not in node.attributes:
        return ()
    return (node.real_list(name) or ()) if name == "activation_params" else (node.real(name),)


@converts("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def _fused_product(node: SourceNode) -> Converted:
    if node.integer("transBatchA") or node.integer("transBatchB") or min(len(node.shape(i)) for i in range(2)) < 2:
        return None
    steps: list[Apply] = []
    names: list[str] = []
    for index, flag in enumerate(("transA", "transB")):
        name, rank = node.inputs[index], len(node.shape(index))
        if node.integer(flag):
            name = node.inner("turned")
            perm = (*range(rank - 2), rank - 1, rank - 2)
            steps.append(Apply(Transpose(perm), (node.inputs[index],), (name,)))
        names.append(name)
    alpha = node.real("alpha", 1.0)
    if alpha == 1.0:
        return [*steps, Apply(MatMul(), tuple(names))]
    product = node.inner("product")
    return [*steps, Apply(MatMul(), tuple(names), (product,)), Apply(Affine(alpha, 0.0), (product,))]


@converts("Gelu", "FastGelu", "BiasGelu", domain=MICROSOFT)
def _gelu(node: SourceNode) -> Converted:
    """With a bias (FastGelu's is optional) that is added first."""
    gelu = Gelu(approximate=node.op_type == "FastGelu")
    if not node.has(1):
        return [Apply(gelu, node.inputs[:1])]
    biased = node.inner("biased")
    return [Apply(Add(), node.inputs[:2], (biased,)), Apply(gelu, (biased,))]


@converts("QuickGelu", domain=MICROSOFT)
def _quick_gelu(node: SourceNode) -> Converted:
    """x * sigmoid(alpha * x)."""
    scaled, gate = node.inner("scaled"), node.inner("gate")
    return [
        Apply(Affine(node.real("alpha", 1.702), 0.0), node.inputs, (scaled,)),
        Apply(Sigmoid(), (scaled,), (gate,)),
        Apply(Mul(), (node.inputs[0], gate)),
    ]


@converts("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def _skip_norm(node: SourceNode) -> Converted:
    """norm(x + skip + bias); output 3 is the sum."""
    if node.wants(1) or node.wants(2):
        return None
    simple = node.op_type == "SkipSimplifiedLayerNormalization"
    bias = 3 if simple else 4
    total = node.outputs[3] if node.wants(3) else node.inner("sum")
    first = node.inner("residual") if node.has(bias) else total
    steps = [Apply(Add(), node.inputs[:2], (first,))]
    if node.has(bias):
        steps.append(Apply(Add(), (first, node.inputs[bias]), (total,)))
    epsilon = node.real("epsilon", 1e-12)
    weights = node.inputs[2:3] if simple or not node.has(3) else node.inputs[2:4]
    op = RMSNorm(1, epsilon) if simple else LayerNorm(1, epsilon)
    return [*steps, Apply(op, (total, *weights), node.outputs[:1])]


@converts("SimplifiedLayerNormalization")
def _simplified_norm(node: SourceNode) -> Converted:
    """RMSNorm, which ONNX Runtime writes into the standard domain."""
    rank = len(node.shape(0))
    axis = node.axis(node.integer("axis", -1), rank)
    if node.wants(1) or node.shape(1) != node.shape(0)[axis:]:
        return None
    return [Apply(RMSNorm(rank - axis, node.real("epsilon", 1e-5)), node.inputs[:2])]


@converts("RotaryEmbedding", domain=MICROSOFT)
def _rotary(node: SourceNode) -> Converted:
    """The places come before the caches here."""
    if node.integer("is_packed_batching") or node.shape(1) != (node.shape(0)[0], node.shape(0)[-2]):
        return None
    return rotated(node, cosine=2, places=1, heads=node.integer("num_heads"))


@converts("MultiHeadAttention", domain=MICROSOFT)
def _multi_head(node: SourceNode) -> Converted:
    """Query, key and value [B, L, H * E], a bias of all three, an added mask; neither caches nor padding masks."""
    if any(node.has(index) for index in (4, 6, 7, 8, 9)) or any(node.wants(index) for index in (1, 2, 3)):
        return None
    if not node.has(1) or not node.has(2) or any(len(node.shape(index)) != 3 for index in range(3)):
        return None
    heads, steps = node.integer("num_heads"), Steps(node)
    parts = [steps.given(index) for index in range(3)]
    bias = node.array(3)
    if node.has(3):
        if bias is None:
            return None
        ends = np.cumsum([part.shape[2] for part in parts])[:-1]
        pieces = np.split(bias, ends)
        parts = [
            steps.apply(Add(), (part, node.constant(piece, "bias")), part.shape)
            for part, piece in zip(parts, pieces, strict=True)
        ]
    query, key, value = (steps.by_heads(part, heads) for part in parts)
    masks = [node.inputs[5]] if node.has(5) else []
    if node.integer("unidirectional"):
        masks.append(_causal(node, query.shape[2], key.shape[2]))
    scale = node.real("scale") or 1 / math.sqrt(query.shape[-1])
    together(steps, attended(steps, query, key, value, scale, tuple(masks)))
    return steps.finish()


def _causal(node: SourceNode, rows: int, columns: int) -> str:
    hidden = ~np.tri(rows, columns, columns - rows, dtype=np.bool_)
    filled = np.where(hidden, node.real("mask_filter_value", _MASKED), 0.0)
    return node.constant(filled.astype(node.type(0).dtype), "mask")


@converts("Attention", domain=MICROSOFT)
def _fused_attention(node: SourceNode) -> Converted:
    """One projection to query, key and value, then attention; the mask [B, S] is 1 where a position counts."""
    weight = node.array(1)
    if weight is None or node.has(4) or node.wants(1) or any(node.has(index) for index in (6, 7)):
        return None
    steps = Steps(node)
    x = steps.given(0)
    batch, length, _ = x.shape
    sizes = node.integer_list("qkv_hidden_sizes") or (weight.shape[1] // 3,) * 3
    if node.has(3) and node.shape(3) != (batch, length):
        return None
    turned = node.constant(np.ascontiguousarray(weight.T), "weight")
    inputs = (x, turned, node.inputs[2]) if node.has(2) else (x, turned)
    whole = steps.apply(Linear("MatMul"), inputs, (batch, length, sum(sizes)))
    query, key, value = (steps.by_heads(part, node.integer("num_heads")) for part in steps.split(whole, sizes))
    masks = [_padding(steps)] if node.has(3) else []
    masks += [node.inputs[5]] if node.has(5) else []
    if node.integer("unidirectional"):
        masks.append(_causal(node, length, length))
    scale = node.real("scale") or 1 / math.sqrt(query.shape[-1])
    together(steps, attended(steps, query, key, value, scale, tuple(masks)))
    return steps.finish()


def _padding(steps: Steps) -> str:
    """What to add to the scores of the mask's zeros, [B, 1, 1, S]."""
    mask = steps.given(3)
    low = steps.node.real("mask_filter_value", _MASKED)
    real = steps.apply(Cast(steps.node.type(3).dtype, steps.node.type(0).dtype), (mask,), mask.shape)
    added = steps.apply(Affine(-low, low), (real,), mask.shape)
    shape = (mask.shape[0], 1, 1, mask.shape[1])
    return steps.apply(Reshape(shape), (added,), shape).name
