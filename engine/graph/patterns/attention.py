"""What exporters write around scaled_dot_product_attention and a plainer export does not."""

from __future__ import annotations

import math

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, Step, is_closed, recognises
from engine.ops.elementwise import Add, Affine
from engine.ops.layout import Identity, Reshape, Transpose
from engine.ops.linear import MatMul

_MOST_ELEMENTS = 1 << 20
"""Larger constants are no masks, and are not read to find out."""


@recognises("addition of zeros dropped", Add)
def nothing_added(draft: Draft, root: Node) -> Match | None:
    """x + 0: the mask of an attention that sees everything."""
    for value, zeros in (root.inputs, root.inputs[::-1]):
        constant = draft.constants.get(zeros)
        if constant is None or constant.type.element_count > _MOST_ELEMENTS:
            continue
        if draft.types[value] == draft.types[root.outputs[0]] and not constant.array.any():
            return Match(Identity(), (value,), (), keep=root)
    return None


@recognises("scale of factors moved behind their product", MatMul)
def scaled_product(draft: Draft, root: Node) -> Match | None:
    """(a * c) @ (b * d) as (a @ b) * (c * d), of which a chip has no work to do: it is a scale of the result.

    Half-precision products could overflow where their factors were scaled down, and stay.
    """
    if draft.types[root.outputs[0]].dtype == "float16":
        return None
    makers = [draft.producer(value) for value in root.inputs]
    scales = [node if node is not None and _scales(draft, root, node) else None for node in makers]
    members = tuple(node for node in scales if node is not None)
    if not members:
        return None
    inputs = tuple(value if node is None else node.inputs[0] for value, node in zip(root.inputs, scales, strict=True))
    factor = math.prod(node.op.multiplier for node in members if isinstance(node.op, Affine))
    behind = Step(Affine(factor, 0.0, "Mul"), members[0])
    return Match(root.op, inputs, members, keep=root, after=(behind,))


def _scales(draft: Draft, root: Node, node: Node) -> bool:
    """Whether the node multiplies by a positive constant, for the product ``root`` alone."""
    if not isinstance(node.op, Affine) or node.op.offset != 0.0 or node.op.multiplier <= 0.0:
        return False
    return is_closed(draft, root, (node,))


@recognises("matrices transposed in a batch of one axis", Reshape)
def batched_transposition(draft: Draft, root: Node) -> Match | None:
    """[*B, N, D] to [B, N, D], its last two axes exchanged, and back to [*B, D, N]."""
    swap = draft.producer(root.inputs[0])
    if swap is None or not isinstance(swap.op, Transpose) or swap.op.perm != (0, 2, 1):
        return None
    flat = draft.producer(swap.inputs[0])
    if flat is None or not isinstance(flat.op, Reshape):
        return None
    before, after = (draft.types[value].shape for value in (flat.inputs[0], root.outputs[0]))
    rank = len(before)
    matrix = draft.types[swap.inputs[0]].shape[1:]
    if rank < 3 or before[-2:] != matrix or after != (*before[:-2], *matrix[::-1]):
        return None
    return Match(Transpose((*range(rank - 2), rank - 1, rank - 2)), (flat.inputs[0],), (swap, flat), keep=swap)
