"""Scaled dot-product attention, which newer exporters write as one operator: taken apart into what the chip has."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.graph.graph import Constant
from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.base import Op
from engine.ops.elementwise import Add, Affine, Mul, Sub, Where
from engine.ops.layout import Concat, Identity, LookUp, Reshape, Slice, Split, Transpose
from engine.ops.linear import MatMul
from engine.ops.reduce import Softmax

_MASK, _PAST_KEY, _PAST_VALUE, _LENGTHS = 3, 4, 5, 6
_PRESENT_KEY, _PRESENT_VALUE, _SCORES = 1, 2, 3
_HEADS_FIRST = (0, 2, 1, 3)


@dataclass(frozen=True)
class Value:
    """A value's name and shape."""

    name: str
    shape: tuple[int, ...]


@dataclass
class Steps:
    """Operators applied one after the other, each to values of known shape."""

    node: SourceNode
    applied: list[Apply] = field(default_factory=list[Apply])

    def given(self, index: int) -> Value:
        """An input of the node."""
        return Value(self.node.inputs[index], self.node.shape(index))

    def apply(self, op: Op, inputs: tuple[Value | str, ...], shape: tuple[int, ...], to: str | None = None) -> Value:
        names = tuple(item if isinstance(item, str) else item.name for item in inputs)
        result = to or self.node.inner(op.type_name.lower())
        self.applied.append(Apply(op, names, (result,)))
        return Value(result, shape)

    def reshape(self, x: Value, shape: tuple[int, ...]) -> Value:
        return x if x.shape == shape else self.apply(Reshape(shape), (x,), shape)

    def transpose(self, x: Value, perm: tuple[int, ...]) -> Value:
        return self.apply(Transpose(perm), (x,), tuple(x.shape[axis] for axis in perm))

    def by_heads(self, x: Value, heads: int) -> Value:
        """[B, L, H * E] as [B, H, L, E]."""
        batch, length, features = x.shape
        return self.transpose(self.reshape(x, (batch, length, heads, features // heads)), _HEADS_FIRST)

    def joined(self, x: Value, axis: int, before: Value) -> Value:
        """``before`` and then ``x``, along an axis."""
        size = before.shape[axis] + x.shape[axis]
        return self.apply(Concat(axis), (before, x), (*x.shape[:axis], size, *x.shape[axis + 1 :]))

    def split(self, x: Value, sizes: tuple[int, ...]) -> list[Value]:
        """Pieces of the last axis."""
        parts = [Value(self.node.inner("part"), (*x.shape[:-1], size)) for size in sizes]
        op = Split(len(x.shape) - 1, sizes)
        self.applied.append(Apply(op, (x.name,), tuple(part.name for part in parts)))
        return parts

    def finish(self) -> Converted:
        """All of them, the last one making the node's first output."""
        last = self.applied[-1]
        return [*self.applied[:-1], Apply(last.op, last.inputs, self.node.outputs[:1])]


def attended(
    steps: Steps, query: Value, key: Value, value: Value, scale: float, masks: tuple[str, ...], shown: str = ""
) -> Value:
    """softmax(Q K^T * scale + masks) V of [B, Hq, L, E], [B, Hkv, S, E] and [B, Hkv, S, Ev]: [B, Hq, L, Ev].

    Several query heads that share a key head are rows of one matrix. ``masks`` are added to the scores; ``shown`` is a
    value of truth: where it is false, a score counts as minus infinity.
    """
    batch, heads, length, features = query.shape
    if steps.node.type(0).dtype == "float16":  # as ONNX writes it: the products of whole factors may overflow
        root = float(np.float16(math.sqrt(scale)))
        query, key = (steps.apply(Affine(root, 0.0), (x,), x.shape) for x in (query, key))
        scale = 1.0
    shared, size = key.shape[1], key.shape[2]
    rows = steps.reshape(query, (batch, shared, heads // shared * length, features))
    turned = steps.transpose(key, (0, 1, 3, 2))
    product = steps.apply(MatMul(), (rows, turned), (*rows.shape[:3], size))
    scores = product if scale == 1.0 else steps.apply(Affine(scale, 0.0), (product,), product.shape)
    scores = steps.reshape(scores, (batch, heads, length, size))
    for mask in masks:
        scores = steps.apply(Add(), (scores, mask), scores.shape)
    if shown:
        hidden = steps.node.constant(np.array(-np.inf, steps.node.type(0).dtype), "hidden")
        scores = steps.apply(Where(), (shown, scores, hidden), scores.shape)
    weights = steps.apply(Softmax(3), (scores,), scores.shape)
    if shown:  # a row that sees nothing gives zeros
        zero = steps.node.constant(np.array(0.0, steps.node.type(0).dtype), "zero")
        weights = steps.apply(Where(), (shown, weights, zero), weights.shape)
    weights = steps.reshape(weights, (*rows.shape[:3], size))
    result = steps.apply(MatMul(), (weights, value), (*rows.shape[:3], value.shape[-1]))
    return steps.reshape(result, (batch, heads, length, value.shape[-1]))


def together(steps: Steps, x: Value) -> Value:
    """[B, H, L, E] as [B, L, H * E]."""
    batch, heads, length, features = x.shape
    return steps.reshape(steps.transpose(x, _HEADS_FIRST), (batch, length, heads * features))


@converts("Attention")
def _attention(node: SourceNode) -> Converted:
    """Inputs [B, H, L, E] or [B, L, H * E], keys and values of the past before the present ones."""
    windows = ("left_window_size", "right_window_size")  # since opset 25
    if node.has(_LENGTHS) or node.wants(_SCORES) or any(node.integer(name, -1) >= 0 for name in windows):
        return None
    if node.real("softcap") or node.integer("softmax_precision"):
        return None
    steps = Steps(node)
    heads = [_by_heads(steps, index) for index in range(3)]
    query, key, value = heads
    if query is None or key is None or value is None or query.shape[1] % key.shape[1]:
        return None
    past = node.shape(_PAST_KEY)[2] if node.has(_PAST_KEY) else 0
    if past:
        key, value = (
            steps.joined(x, 2, steps.given(index)) for x, index in ((key, _PAST_KEY), (value, _PAST_VALUE))
        )
    masks = _masks(node, query.shape[2], key.shape[2], past)
    if masks is None:
        return None
    for x, index in ((key, _PRESENT_KEY), (value, _PRESENT_VALUE)):
        if node.wants(index):
            steps.apply(Identity(), (x,), x.shape, node.outputs[index])
    scale = node.real("scale") or 1 / math.sqrt(query.shape[-1])
    result = attended(steps, query, key, value, scale, *masks)
    if len(node.shape(0)) == 3:
        together(steps, result)
    return steps.finish()


def _by_heads(steps: Steps, index: int) -> Value | None:
    """An input as [B, H, L, E]; None where the number of heads is not given."""
    x, node = steps.given(index), steps.node
    if len(x.shape) == 4:
        return x
    heads = node.integer("q_num_heads" if index == 0 else "kv_num_heads")
    return steps.by_heads(x, heads) if len(x.shape) == 3 and heads and x.shape[2] % heads == 0 else None


def _masks(node: SourceNode, rows: int, columns: int, past: int) -> tuple[tuple[str, ...], str] | None:
    """What to add to the scores and what hides some of them; None where it takes the reference."""
    seen = np.tri(rows, columns, past, dtype=bool) if node.integer("is_causal") else None
    if not node.has(_MASK):
        return (() if seen is None else (_added(node, seen),)), ""
    if node.shape(_MASK)[-1] != columns:
        return None
    mask = node.array(_MASK)
    if mask is not None and mask.dtype == np.bool_:
        shown = mask.astype(np.bool_) if seen is None else mask.astype(np.bool_) & seen
        return ((_added(node, shown),), "") if shown.any(axis=-1).all() else None  # a row that sees nothing gives zeros
    causal = () if seen is None else (_added(node, seen),)
    if node.type(_MASK).dtype == "bool":
        return causal, node.inputs[_MASK]
    return (node.inputs[_MASK], *causal), ""


def _added(node: SourceNode, seen: NDArray[np.bool_]) -> str:
    """Nothing where a position is seen, minus infinity where it is not."""
    values = np.where(seen, 0.0, -np.inf).astype(node.type(0).dtype)
    return node.add_constant(f"{node.outputs[0]}/mask", Constant.of(values))


@converts("RotaryEmbedding")
def _rotary(node: SourceNode) -> Converted:
    """x of [B, H, S, D] or [B, S, H * D] turned by angles; cosines and sines [.., D / 2] are looked up by place."""
    return rotated(node, cosine=1, places=3 if node.has(3) else None, heads=node.integer("num_heads"))


def rotated(node: SourceNode, cosine: int, places: int | None, heads: int) -> Converted:
    """(a, b) of each pair of features becomes (a cos - b sin, a sin + b cos).

    ``cosine`` is the input with cosines, that of sines is next; ``places`` the input [B, S] that looks them up.
    """
    steps = Steps(node)
    x = steps.given(0)
    flat = len(x.shape) == 3
    if flat and (not heads or x.shape[2] % heads):
        return None
    if flat:
        x = steps.reshape(x, (*x.shape[:2], heads, x.shape[2] // heads))
    size = x.shape[-1]
    turned = node.integer("rotary_embedding_dim") or size
    angles = [_angles(steps, cosine + index, places, flat) for index in range(2)]
    if angles[0].shape[-1] * 2 != turned:
        return None
    rest: Value | None = None
    if turned < size:
        x, rest = steps.split(x, (turned, size - turned))
    x = _turned(steps, x, angles, interleaved=bool(node.integer("interleaved")))
    if rest is not None:
        x = steps.joined(rest, 3, x)
    steps.reshape(x, node.shape(0))
    return steps.finish()


def _angles(steps: Steps, index: int, places: int | None, flat: bool) -> Value:
    """Cosines or sines as [B, S, 1, D / 2], or [B, 1, S, D / 2] for x of [B, H, S, D]."""
    cache = steps.given(index)
    if places is not None:
        where = steps.given(places)
        cache = steps.apply(LookUp(0), (cache, where), (*where.shape, *cache.shape[1:]))
    batch, length, size = cache.shape
    return steps.reshape(cache, (batch, length, 1, size) if flat else (batch, 1, length, size))


def _turned(steps: Steps, x: Value, angles: list[Value], *, interleaved: bool) -> Value:
    *outer, size = x.shape
    half = (*outer, size // 2)
    if interleaved:
        first, second = (_every_other(steps, x, start, half) for start in range(2))
    else:
        first, second = steps.split(x, (size // 2, size // 2))
    cosine, sine = angles
    products = [
        steps.apply(Mul(), pair, half) for pair in ((first, cosine), (second, sine), (first, sine), (second, cosine))
    ]
    real = steps.apply(Sub(), (products[0], products[1]), half)
    imaginary = steps.apply(Add(), (products[2], products[3]), half)
    if not interleaved:
        return steps.joined(imaginary, 3, real)
    columns = [steps.reshape(part, (*half, 1)) for part in (real, imaginary)]
    return steps.reshape(steps.joined(columns[1], 4, columns[0]), x.shape)


def _every_other(steps: Steps, x: Value, start: int, half: tuple[int, ...]) -> Value:
    op = Slice((0, 0, 0, start), x.shape, (1, 1, 1, 2))
    return steps.apply(op, (x,), half)
