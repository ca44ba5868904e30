"""Scaled dot-product attention, which newer exporters write as one operator: taken apart into what the chip has."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.graph.graph import Constant
from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.elementwise import Add, Affine
from engine.ops.layout import Reshape, Transpose
from engine.ops.linear import MatMul
from engine.ops.reduce import Softmax

_MASK, _PAST_KEY, _PAST_VALUE, _LENGTHS = 3, 4, 5, 6


@converts("Attention")
def _attention(node: SourceNode) -> Converted:
    """softmax(Q K^T * scale + mask) V, for inputs [B, H, L, E] or [B, L, H * E]; caches are left to the reference."""
    if any(node.has(index) for index in (_PAST_KEY, _PAST_VALUE, _LENGTHS)) or any(node.wants(i) for i in (1, 2, 3)):
        return None
    if node.real("softcap") or node.integer("softmax_precision"):
        return None
    if max(node.integer("left_window_size", -1), node.integer("right_window_size", -1)) >= 0:  # since opset 25
        return None
    steps: list[Apply] = []
    heads = [_by_heads(node, index, steps) for index in range(3)]
    (query, query_shape), (key, key_shape), (value, value_shape) = heads
    if not query_shape or query_shape[1] != key_shape[1] or key_shape[1] != value_shape[1]:
        return None
    mask = _mask(node, query_shape[2], key_shape[2])
    if mask is None:
        return None
    scores = _scores(node, steps, query, key, query_shape[-1])
    if mask:
        masked = node.inner("masked")
        steps.append(Apply(Add(), (scores, mask), (masked,)))
        scores = masked
    weights = node.inner("weights")
    steps.append(Apply(Softmax(3), (scores,), (weights,)))
    if len(node.shape(0)) == 4:
        return [*steps, Apply(MatMul(), (weights, value))]
    attended, together = node.inner("attended"), node.inner("together")
    batch, count, length, _ = query_shape
    return [
        *steps,
        Apply(MatMul(), (weights, value), (attended,)),
        Apply(Transpose((0, 2, 1, 3)), (attended,), (together,)),
        Apply(Reshape((batch, length, count * value_shape[-1])), (together,)),
    ]


def _by_heads(node: SourceNode, index: int, steps: list[Apply]) -> tuple[str, tuple[int, ...]]:
    """An input as [B, H, L, E], and that shape; an empty one where the number of heads is not given."""
    shape = node.shape(index)
    if len(shape) == 4:
        return node.inputs[index], shape
    heads = node.integer("q_num_heads" if index == 0 else "kv_num_heads")
    if len(shape) != 3 or not heads or shape[2] % heads:
        return "", ()
    split, apart = node.inner("split"), node.inner("heads")
    batch, length, features = shape
    steps.append(Apply(Reshape((batch, length, heads, features // heads)), (node.inputs[index],), (split,)))
    steps.append(Apply(Transpose((0, 2, 1, 3)), (split,), (apart,)))
    return apart, (batch, heads, length, features // heads)


def _scores(node: SourceNode, steps: list[Apply], query: str, key: str, features: int) -> str:
    """Scaled at the end; in float16 as ONNX writes it, both factors by the root, lest the products overflow."""
    turned, product, scores = node.inner("key"), node.inner("product"), node.inner("scores")
    scale = node.real("scale") or 1 / math.sqrt(features)
    steps.append(Apply(Transpose((0, 1, 3, 2)), (key,), (turned,)))
    if node.type(0).dtype == "float16":
        halves = node.inner("scaled_query"), node.inner("scaled_key")
        root = float(np.float16(math.sqrt(scale)))
        steps.append(Apply(Affine(root, 0.0), (query,), halves[:1]))
        steps.append(Apply(Affine(root, 0.0), (turned,), halves[1:]))
        steps.append(Apply(MatMul(), halves, (scores,)))
        return scores
    steps.append(Apply(MatMul(), (query, turned), (product,)))
    steps.append(Apply(Affine(scale, 0.0), (product,), (scores,)))
    return scores


def _mask(node: SourceNode, rows: int, columns: int) -> str | None:
    """What to add to the scores: a value's name, "" for nothing, None where it takes the reference."""
    causal = bool(node.integer("is_causal"))
    if not node.has(_MASK):
        return _added(node, np.tri(rows, columns, dtype=bool)) if causal else ""
    if node.type(_MASK).dtype != "bool" and not causal:
        return node.inputs[_MASK] if node.shape(_MASK)[-1] == columns else None
    mask = node.array(_MASK)
    if mask is None or mask.dtype != np.bool_ or mask.shape[-1] != columns:
        return None
    seen = mask.astype(np.bool_)
    seen = seen & np.tri(rows, columns, dtype=bool) if causal else seen
    return _added(node, seen) if seen.any(axis=-1).all() else None  # a row that sees nothing gives zeros


def _added(node: SourceNode, seen: NDArray[np.bool_]) -> str:
    """Nothing where a position is seen, minus infinity where it is not."""
    values = np.where(seen, 0.0, -np.inf).astype(node.type(0).dtype)
    return node.add_constant(f"{node.outputs[0]}/mask", Constant.of(values))
