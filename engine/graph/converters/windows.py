"""Explicit padding for windowed operators: ONNX's automatic padding and ceil mode resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.graph.source import SourceNode


@dataclass(frozen=True)
class Window:
    """Geometry of a windowed operator over its spatial axes; ``pads`` is (begins, ends) as in ONNX."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """How many input positions a window spans along each axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def read_window(node: SourceNode, kernel: Sequence[int], spatial: Sequence[int]) -> Window:
    """The node's window with ``auto_pad`` resolved for input sizes ``spatial``."""
    rank = len(kernel)
    strides = node.integer_list("strides") or (1,) * rank
    dilations = node.integer_list("dilations") or (1,) * rank
    window = Window(tuple(kernel), strides, dilations, (0,) * (2 * rank))
    mode = node.text("auto_pad", "NOTSET")
    if mode == "VALID":
        return window
    if mode == "NOTSET":
        return Window(tuple(kernel), strides, dilations, node.integer_list("pads") or window.pads)
    totals = [
        max(0, (-(-size // stride) - 1) * stride + reach - size)
        for size, stride, reach in zip(spatial, strides, window.reach, strict=True)
    ]
    return Window(tuple(kernel), strides, dilations, split_same(totals, lower=mode == "SAME_LOWER"))


def split_same(totals: Sequence[int], *, lower: bool) -> tuple[int, ...]:
    """Halve each total padding; the odd element goes to the begin for SAME_LOWER, else to the end."""
    smaller = [total // 2 for total in totals]
    larger = [total - half for total, half in zip(totals, smaller, strict=True)]
    return (*larger, *smaller) if lower else (*smaller, *larger)


def ceil_pads(window: Window, spatial: Sequence[int]) -> tuple[int, ...]:
    """Pads under which plain (floor) pooling has the outputs that ceil mode asks for.

    A last window that would start in the end padding is dropped, as in torch and in ONNX since opset 22.
    """
    rank = len(spatial)
    ends: list[int] = []
    for axis, size in enumerate(spatial):
        begin, end = window.pads[axis], window.pads[axis + rank]
        stride, reach = window.strides[axis], window.reach[axis]
        outputs = -(-(size + begin + end - reach) // stride) + 1
        if (outputs - 1) * stride >= size + begin:
            outputs -= 1
        ends.append(max(0, (outputs - 1) * stride + reach - size - begin))
    return (*window.pads[:rank], *ends)
