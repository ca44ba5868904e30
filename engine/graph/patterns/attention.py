"""What torch's present exporter writes around scaled_dot_product_attention and a plainer export does not."""

from __future__ import annotations

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, recognises
from engine.ops.elementwise import Add
from engine.ops.layout import Identity, Reshape, Transpose

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
