"""Reshapes and transposes that follow each other: they merge, or cancel.

Late: a pixel shuffle or a group norm is recognised by the reshapes around it.
"""

from __future__ import annotations

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, Step, is_closed, recognises
from engine.ops.layout import Identity, Reshape, Transpose


@recognises("reshapes merged", Reshape, late=True)
def merged_reshapes(draft: Draft, root: Node) -> Match | None:
    """Reshape(Reshape(x))."""
    first = draft.producer(root.inputs[0])
    if first is None or not isinstance(first.op, Reshape):
        return None
    shape = draft.types[root.outputs[0]].shape
    op = Identity() if draft.types[first.inputs[0]].shape == shape else Reshape(shape)
    return _merged(draft, root, first, op)


@recognises("transposes merged", Transpose, late=True)
def merged_transposes(draft: Draft, root: Node) -> Match | None:
    """Transpose(Transpose(x))."""
    first, op = draft.producer(root.inputs[0]), root.op
    if first is None or not isinstance(first.op, Transpose) or not isinstance(op, Transpose):
        return None
    perm = tuple(first.op.perm[axis] for axis in op.perm)
    return _merged(draft, root, first, Identity() if perm == tuple(range(len(perm))) else Transpose(perm))


def _merged(draft: Draft, root: Node, first: Node, op: Identity | Reshape | Transpose) -> Match | None:
    """Both as one; the first stays for others that read it, but not for two that cancel."""
    if isinstance(op, Identity) and not is_closed(draft, root, (first,)):
        return Match(op, first.inputs, (), keep=root)
    return Match(op, first.inputs, (first,), keep=root)


@recognises("transposes that move nothing are reshapes", Transpose, late=True)
def only_units_moved(draft: Draft, root: Node) -> Match | None:
    """A Transpose whose axes longer than one stay in their order."""
    op, shape = root.op, draft.types[root.inputs[0]].shape
    assert isinstance(op, Transpose)
    if draft.symbolic_batch:
        return None
    longer = [axis for axis in op.perm if shape[axis] != 1]
    if longer != sorted(longer):
        return None
    turned = draft.types[root.outputs[0]].shape
    return Match(Identity() if turned == shape else Reshape(turned), root.inputs, (), keep=root)


@recognises("transposes merged", Transpose, late=True)
def merged_around_units(draft: Draft, root: Node) -> Match | None:
    """Transpose(Reshape(Transpose(x))) where the reshape adds and removes axes of size one alone."""
    reshape, op = draft.producer(root.inputs[0]), root.op
    if reshape is None or not isinstance(reshape.op, Reshape) or draft.symbolic_batch:
        return None
    first = draft.producer(reshape.inputs[0])
    if first is None or not isinstance(first.op, Transpose):
        return None
    shapes = [draft.types[node.inputs[0]].shape for node in (first, reshape, root)]
    axes = [[axis for axis, size in enumerate(shape) if size != 1] for shape in shapes]
    if [shapes[1][axis] for axis in axes[1]] != [shapes[2][axis] for axis in axes[2]]:
        return None
    assert isinstance(op, Transpose)
    # Where each long axis of the result comes from: from the reshape's input by its rank among the long ones.
    origin = dict(zip(axes[2], (first.op.perm[axis] for axis in axes[1]), strict=True))
    order = iter([origin[axis] for axis in op.perm if axis in origin])
    perm = tuple(next(order) if shapes[0][axis] != 1 else axis for axis in range(len(shapes[0])))
    shape = draft.types[root.outputs[0]].shape
    return Match(Transpose(perm), first.inputs, (first, reshape), keep=root, after=(Step(Reshape(shape), reshape),))
