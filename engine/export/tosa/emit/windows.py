"""What convolution and pooling share: images and volumes with channels last, and windows that fit without a remainder.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.export.tosa.emit import steps
from engine.export.tosa.graph import Tensor, TosaGraph

IMAGE_AXES = 2


def plane(values: Sequence[int], absent: int) -> tuple[int, ...]:
    """Figures of one or two axes as those of height and width, a single axis being the width; three as they are."""
    return (absent, *values) if len(values) == 1 else tuple(values)


def as_image(graph: TosaGraph, x: Tensor) -> Tensor:
    """[N, C, W], [N, C, H, W] or [N, C, D, H, W] with channels last; a line is an image of one row."""
    if x.rank == 3:
        x = steps.reshape(graph, x, (*x.shape[:2], 1, x.shape[2]))
    return steps.transpose(graph, x, (0, *range(2, x.rank), 1))


def from_image(graph: TosaGraph, x: Tensor, spatial: int) -> Tensor:
    """The inverse of :func:`as_image` for ``spatial`` axes."""
    first = steps.transpose(graph, x, (0, x.rank - 1, *range(1, x.rank - 1)))
    return steps.reshape(graph, first, (*first.shape[:2], first.shape[3])) if spatial == 1 else first


def fitted(
    graph: TosaGraph,
    image: Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> tuple[Tensor, tuple[int, ...]]:
    """The image and its (top, bottom, left, right) padding, of a volume (front, back, ...), such that the last window
    ends at the edge. Padding below 0 cuts.

    TOSA demands it; what no window reaches is taken off the padding, and then off the image.
    """
    spatial = len(pads) // 2
    edges: list[int] = []
    for axis, (before, after) in enumerate(zip(plane(pads[:spatial], 0), plane(pads[spatial:], 0), strict=True)):
        cut = [max(-before, 0), max(-after, 0)]
        before, after = max(before, 0), max(after, 0)
        image = steps.take_slice(graph, image, 1 + axis, cut[0], image.shape[1 + axis] - sum(cut))
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
