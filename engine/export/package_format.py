"""What a package holds and how its members are called: shared by the writer and the reader."""

from __future__ import annotations

from dataclasses import dataclass

FORMAT = "quantscope-package"
VERSION = 2
SUFFIX = ".qspkg"

MANIFEST = "manifest.json"
"""Format and its version, model, target, ports, segments in order, source nodes, and a digest of every member."""
QUANTISATION = "quantisation.json"
"""Integer type and scale of every value."""
SCHEDULE = "schedule.json"
"""Steps in order with their estimated times."""


def segment_member(index: int, suffix: str) -> str:
    return f"segments/{index}.{suffix}"


@dataclass(frozen=True)
class Port:
    """A model input or output.

    Attributes:
        name: As in the model.
        value: The program value that it is fed to, or read from.
        shape: Of one run, [batch, ...].
        dtype: Of the array that is fed or read.
        integer_dtype: Integer type that the value has inside (``int8``, ``int16``), or "".
        scale: ``real = integer * scale``; 1 where there is no integer type.
    """

    name: str
    value: str
    shape: tuple[int, ...]
    dtype: str
    integer_dtype: str = ""
    scale: float = 1.0
