"""Where values lie, what is left to move, and what it comes to in bytes: the answer of layout elimination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.compile.views import View


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a value lies: the value whose buffer it is in (itself, or another), and the view of that buffer."""

    root: str
    view: View


@dataclass(frozen=True)
class Move:
    """One strided copy.

    Attributes:
        value: What it makes (a whole value, or the part of a concatenation that an input is).
        source: The value that is read, where it lies.
        target: Where it is written.
        read_bytes, write_bytes: What crosses.
        read_run_bytes, write_run_bytes: Mean bytes in consecutive addresses.
    """

    value: str
    source: str
    target: Storage
    read_bytes: int
    write_bytes: int
    read_run_bytes: int
    write_run_bytes: int

    @property
    def size_bytes(self) -> int:
        return self.read_bytes + self.write_bytes


@dataclass(frozen=True)
class LayoutBytes:
    """Bytes that layout operators read and write.

    Attributes:
        exported: As the graph has them, each a copy of what it takes: reshapes too.
        before: The same, reshapes and other pure renames of a row-major buffer at zero.
        after: What the remaining moves read and write.
        strided: What kernels fetch beyond what they use, because they read through views in runs shorter than the
            memory delivers at once.
    """

    exported: int
    before: int
    after: int
    strided: int

    @property
    def removed(self) -> float:
        """Share of ``before`` that is gone, 0 to 1."""
        return 1.0 - self.after / self.before if self.before else 0.0


@dataclass(frozen=True, eq=False)
class LayoutPlan:
    """Where values lie and what is left to move.

    Attributes:
        storages: Every value that some unit makes for others.
        root: The value whose buffer holds each of them.
        eliminated: Anchors of units that vanish: their readers read other buffers.
        moved: Anchors of layout units that remain, with their copies.
        runs: (anchor, value) to the mean bytes in consecutive addresses where the unit reads or writes the value.
        sizes: Bytes of each buffer, by its value.
        written: Values that are written into a part of another value's buffer.
        bytes: What it comes to.
    """

    storages: Mapping[str, Storage]
    root: Mapping[str, str]
    eliminated: frozenset[str]
    moved: Mapping[str, tuple[Move, ...]]
    runs: Mapping[tuple[str, str], int]
    sizes: Mapping[str, int]
    written: frozenset[str]
    bytes: LayoutBytes

    def run_bytes(self, anchor: str, value: str) -> int:
        """Mean bytes in consecutive addresses where a unit reads or writes a value. Raises KeyError for constants and
        for values inside the unit."""
        return self.runs[anchor, value]


Rescaled = frozenset[tuple[str, str]]
"""(anchor, value) of movements that bring what they read to another scale: these compute, and nothing stands for them.

Which ones do follows from scales, which only a calibrated model has. Without them: concatenations do but for inputs
that are quantised with their scale, and products with a constant never do.
"""
