"""Passes: what an Ethos-U runs one after the other. Each reads one or two feature maps and writes one, block by block.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

Block = tuple[int, int, int]
"""Height, width and depth."""


class Part(Enum):
    """Which part of the engine a pass runs on."""

    CONVOLUTION = auto()
    DEPTHWISE = auto()
    PRODUCT = auto()
    """A product of two feature maps."""
    POOLING = auto()
    """Windows without weights; a table or a change of scale has windows of one element."""
    COPY = auto()
    """Pooling with windows of one element that only moves them."""
    SUM = auto()
    """A sum over the channels, on the multipliers."""
    ELEMENTWISE = auto()
    SHUFFLE = auto()
    """A transposition that only memory limits."""


EQUAL_DEPTH = frozenset({Part.DEPTHWISE, Part.POOLING, Part.COPY, Part.ELEMENTWISE})
"""Parts whose channels do not mix."""


@dataclass(frozen=True)
class FeatureMap:
    """[height, width, depth] elements of ``width_bytes``.

    Attributes:
        is_near: It lies in SRAM, not in the memory off the chip.
        is_brick: Stored in bricks of 16 channels of a row of positions, not position by position.
    """

    height: int
    width: int
    depth: int
    width_bytes: int = 1
    is_near: bool = True
    is_brick: bool = False

    @property
    def shape(self) -> Block:
        return self.height, self.width, self.depth

    @property
    def elements(self) -> int:
        return self.height * self.width * self.depth

    @property
    def stored_depth(self) -> int:
        """Channels with the padding of the last brick."""
        return -(-self.depth // 16) * 16 if self.is_brick else self.depth

    @property
    def stored_elements(self) -> int:
        return self.height * self.width * self.stored_depth


@dataclass(frozen=True)
class Weights:
    """Bytes of the encoded weights of a pass and of its scales."""

    encoded_bytes: int
    scale_bytes: int


@dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        part: Where it runs.
        ifm: What it reads.
        ofm: What it writes, in the order of axes that it writes in.
        second: A second operand, that memory holds.
        others: Further operands of the chain of elementwise operators that the pass is.
        kernel: Height and width of the window.
        strides: Of the window.
        dilations: Of the window.
        output_cycles: Cycles a result takes in the output unit.
        weights: Of a convolution.
        computed: Shape of the results before they are transposed; None where they are not.
        repeats: How often the pass runs, over as many equal maps.
        table_bytes: Of a table that it loads first.
        is_first: No convolution is in front of it, during which its weights could be copied to SRAM.
    """

    part: Part
    ifm: FeatureMap
    ofm: FeatureMap
    second: FeatureMap | None = None
    others: tuple[FeatureMap, ...] = ()
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    output_cycles: float = 0.0
    weights: Weights | None = None
    computed: Block | None = None
    repeats: int = 1
    table_bytes: int = 0
    is_first: bool = False

    @property
    def result(self) -> Block:
        """Shape of the results as they are computed."""
        return self.computed or self.ofm.shape
