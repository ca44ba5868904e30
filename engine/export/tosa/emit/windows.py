"""What convolution and pooling share: images with channels last, and windows that fit without a remainder."""

from __future__ import annotations

from collections.abc import Sequence

from engine.export.tosa.emit import steps
from engine.export.tosa.graph import Tensor, TosaGraph

IMAGE_AXES = 2
_TO_LAST = (0, 2, 3, 1)
_TO_FIRST = (0, 3, 1, 2)


def plane(values: Sequence[int], absent: int) -> tuple[int, int]:
    """Figures of one or two axes as those of height and width; a single axis is the width."""
    first, second = (absent, *values) if len(values) == 1 else values
    return first, second


def as_image(graph: TosaGraph, x: Tensor) -> Tensor:
    """[N, C, W] or [N, C, H, W] as [N, H, W, C]."""
    if x.rank == 3:
        x = steps.reshape(graph, x, (*x.shape[:2], 1, x.shape[2]))
    return steps.transpose(graph, x, _TO_LAST)


def from_image(graph: TosaGraph, x: Tensor, spatial: int) -> Tensor:
    """[N, H, W, C] as [N, C, H, W], or [N, C, W] for one spatial axis."""
    first = steps.transpose(graph, x, _TO_FIRST)
    return first if spatial == IMAGE_AXES else steps.reshape(graph, first, (*first.shape[:2], first.shape[3]))


def fitted(
    graph: TosaGraph,
    image: Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> tuple[Tensor, tuple[int, ...]]:
    """The image and its (top, bottom, left, right) padding such that the last window ends at the edge.

    TOSA demands it; what no window reaches is taken off the padding, and then off the image.
    """
    spatial = len(pads) // 2
    edges: list[int] = []
    for axis, (before, after) in enumerate(zip(plane(pads[:spatial], 0), plane(pads[spatial:], 0), strict=True)):
        size = image.shape[1 + axis]
        rest = (size - 1 + before + after - (kernel[axis] - 1) * dilations[axis]) % strides[axis]
        kept = max(after - rest, 0)
        if rest - (after - kept) >= size:  # every window lies in the padding before the image
            amounts = [before if place == 1 + axis else 0 for place in range(image.rank)]
            image = steps.pad(graph, image, amounts, (0,) * image.rank, 0)
            size, before = size + before, 0
        image = steps.take_slice(graph, image, 1 + axis, 0, size - (rest - (after - kept)))
        edges += [before, kept]
    return image, tuple(edges)
