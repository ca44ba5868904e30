"""The vocabulary of precisions, shared by plan and target."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """How a node is computed. ``AUTO`` is only ever requested, never effective."""

    AUTO = "auto"
    INT8 = "int8"
    INT16 = "int16"
    LUT = "lut"
    FLOAT = "float"
