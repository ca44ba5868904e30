"""Operators that only move data: the values that leave are values that came in (or a padding constant)."""

from __future__ import annotations

from dataclasses import dataclass

from engine.ops.base import Op


@dataclass(frozen=True)
class Layout(Op):
    """Base of data movement. The output has the input's values, so it keeps the input's scale and precision."""


@dataclass(frozen=True)
class Reshape(Layout):
    """Same elements in row-major order, new shape (explicit, no -1). Also Flatten, Squeeze and Unsqueeze."""

    shape: tuple[int, ...]
    spelling: str = "Reshape"

    @property
    def type_name(self) -> str:
        return self.spelling


@dataclass(frozen=True)
class Transpose(Layout):
    """Permutation of axes: output axis i is input axis perm[i]."""

    perm: tuple[int, ...]


@dataclass(frozen=True)
class Concat(Layout):
    """Concatenation of all inputs along ``axis`` (non-negative)."""

    axis: int


@dataclass(frozen=True)
class Split(Layout):
    """Pieces of the given sizes along ``axis``; one output a piece."""

    axis: int
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Slice(Layout):
    """Strided slice; one (start, stop, step) per axis, normalised: 0 <= start; stop is -1 only for negative steps."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Pad(Layout):
    """Padding by (begin_0, ..., begin_n, end_0, ..., end_n) elements per axis (non-negative)."""

    pads: tuple[int, ...]
    mode: str = "constant"
    value: float = 0.0


@dataclass(frozen=True)
class Gather(Layout):
    """Selection of ``indices`` (constant, flattened, of shape ``indices_shape``) along ``axis``."""

    axis: int
    indices: tuple[int, ...]
    indices_shape: tuple[int, ...]


@dataclass(frozen=True)
class Expand(Layout):
    """Broadcast to ``shape``."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Tile(Layout):
    """Repetition of the tensor ``repeats`` times per axis."""

    repeats: tuple[int, ...]


@dataclass(frozen=True)
class Roll(Layout):
    """Cyclic shift by ``shifts`` along ``axes``: Swin's shifted window, however its file spells it."""

    shifts: tuple[int, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True)
class DepthToSpace(Layout):
    """Pixel shuffle of [N, C, H, W] by ``block``; ``mode`` DCR or CRD as in ONNX."""

    block: int
    mode: str = "DCR"


@dataclass(frozen=True)
class SpaceToDepth(Layout):
    """Inverse of DepthToSpace of the same ``mode``; CRD is torch's pixel unshuffle."""

    block: int
    mode: str = "DCR"


@dataclass(frozen=True)
class Identity(Layout):
    """The input itself (kept only where a graph output needs a node of its own)."""


@dataclass(frozen=True)
class LookUp(Op):
    """Rows of a table or of data along ``axis`` by computed indices: an embedding. Inputs (data, indices).

    Indices are integers in [-K, K) for K rows; those below 0 count from the end. Not a :class:`Layout`: a table that is
    a constant has no type to pass on.
    """

    axis: int

    @property
    def type_name(self) -> str:
        return "Gather"
