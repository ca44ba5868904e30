"""Pixel shuffles spelled as axes taken apart, transposed and put together."""

from __future__ import annotations

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, recognises
from engine.ops.layout import DepthToSpace, Reshape, SpaceToDepth, Transpose

_INTO_SPACE = {"DCR": ((0, 3, 4, 1, 5, 2), (1, 2)), "CRD": ((0, 1, 4, 2, 5, 3), (2, 3))}
"""For each mode the permutation of the six axes, and where the two of the block stand before it."""

_INTO_DEPTH = {"DCR": (0, 3, 5, 1, 2, 4), "CRD": (0, 1, 3, 5, 2, 4)}


@recognises("pixel shuffle recognised", Reshape)
def pixel_shuffle(draft: Draft, root: Node) -> Match | None:
    """[N, C, b, b, H, W] or [N, b, b, C, H, W] to [N, C, H, b, W, b], put together to [N, C, H b, W b]."""
    found = _apart(draft, root)
    if found is None:
        return None
    members, source, split, perm = found
    for mode, (wanted, (first, second)) in _INTO_SPACE.items():
        block = split[first]
        turned = tuple(split[axis] for axis in perm)
        whole = (split[0], turned[1], turned[2] * turned[3], turned[4] * turned[5])
        if perm != wanted or block != split[second] or draft.types[root.outputs[0]].shape != whole:
            continue
        if draft.types[source].shape == (split[0], turned[1] * block * block, turned[2], turned[4]):
            return Match(DepthToSpace(block, mode), (source,), members)
    return None


@recognises("pixel unshuffle recognised", Reshape)
def pixel_unshuffle(draft: Draft, root: Node) -> Match | None:
    """[N, C, H, b, W, b] to [N, b, b, C, H, W] or [N, C, b, b, H, W], put together to [N, C b b, H, W]."""
    found = _apart(draft, root)
    if found is None:
        return None
    members, source, (n, c, h, block, w, other), perm = found
    for mode, wanted in _INTO_DEPTH.items():
        if perm != wanted or block != other or draft.types[source].shape != (n, c, h * block, w * block):
            continue
        if draft.types[root.outputs[0]].shape == (n, c * block * block, h, w):
            return Match(SpaceToDepth(block, mode), (source,), members)
    return None


def _apart(draft: Draft, root: Node) -> tuple[tuple[Node, Node], str, tuple[int, ...], tuple[int, ...]] | None:
    """The reshape to six axes and the transpose before ``root``, their input, the six sizes and the permutation."""
    turn = draft.producer(root.inputs[0])
    if turn is None or not isinstance(turn.op, Transpose) or len(turn.op.perm) != 6:
        return None
    split = draft.producer(turn.inputs[0])
    if split is None or not isinstance(split.op, Reshape) or len(draft.types[split.inputs[0]].shape) != 4:
        return None
    return (split, turn), split.inputs[0], split.op.shape, turn.op.perm
