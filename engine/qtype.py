"""The type of a value in integers: shared by plan and program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INTEGER_RANGE: Mapping[str, tuple[int, int]] = {"int8": (-127, 127), "int16": (-32767, 32767)}
"""Range of symmetric activations. -128 and -32768 are never produced (zero point 0, symmetric)."""


@dataclass(frozen=True)
class QType:
    """``real = integer * scale``. ``scale`` is 1 for float, index and boolean values.

    ``plain``: an int8 or int16 that the model itself computes with, -128 and -32768 included.
    """

    dtype: str
    scale: float = 1.0
    plain: bool = False

    @property
    def is_quantised(self) -> bool:
        return self.dtype in INTEGER_RANGE and not self.plain


def model_type(dtype: str) -> QType:
    """The type of a value whose numbers are the model's own: indices, truth values, float constants, plain int8."""
    return QType(dtype, plain=dtype in INTEGER_RANGE)
