"""Facts of the TOSA 1.0 flatbuffer schema: numbers of operators and types, and the fields of attributes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FILE_IDENTIFIER = b"TOSA"
VERSION = (1, 0, 0)
LARGEST_RANK = 6
"""MAX_RANK of the specification's level 8K."""


class DType(IntEnum):
    """Element types that integer programs use."""

    BOOL = 1
    INT8 = 3
    INT16 = 4
    INT32 = 5
    INT48 = 6


class TosaOp(IntEnum):
    """Operators that are written. Each one's attribute table has the same number in the schema's union."""

    ARGMAX = 1
    AVG_POOL2D = 2
    CONV2D = 3
    CONV3D = 4
    DEPTHWISE_CONV2D = 5
    MATMUL = 7
    MAX_POOL2D = 8
    TRANSPOSE_CONV2D = 10
    CLAMP = 11
    ADD = 15
    ARITHMETIC_RIGHT_SHIFT = 16
    LOGICAL_AND = 21
    LOGICAL_LEFT_SHIFT = 22
    LOGICAL_OR = 24
    LOGICAL_XOR = 25
    MAXIMUM = 26
    MINIMUM = 27
    MUL = 28
    SUB = 30
    TABLE = 31
    ABS = 32
    BITWISE_NOT = 33
    CLZ = 35
    LOGICAL_NOT = 40
    SELECT = 45
    EQUAL = 46
    GREATER = 47
    GREATER_EQUAL = 48
    REDUCE_MAX = 51
    REDUCE_MIN = 52
    REDUCE_SUM = 54
    CONCAT = 55
    PAD = 56
    RESHAPE = 57
    REVERSE = 58
    SLICE = 59
    TILE = 60
    TRANSPOSE = 61
    GATHER = 62
    CAST = 65
    RESCALE = 66
    CONST = 67
    IDENTITY = 68
    CONST_SHAPE = 75


NAN_PROPAGATE = 1
SINGLE_ROUND = 1

_POOL = ("kernel", "stride", "pad")
_CONVOLUTION = ("pad", "stride", "dilation", "local_bound", "acc_type")
_EXTREME = ("nan_mode",)

ATTRIBUTE_FIELDS: Mapping[TosaOp, tuple[str, ...]] = {
    TosaOp.ARGMAX: ("axis", "nan_mode"),
    TosaOp.AVG_POOL2D: (*_POOL, "acc_type"),
    TosaOp.CONV2D: _CONVOLUTION,
    TosaOp.CONV3D: _CONVOLUTION,
    TosaOp.DEPTHWISE_CONV2D: _CONVOLUTION,
    TosaOp.MAX_POOL2D: (*_POOL, "nan_mode"),
    TosaOp.TRANSPOSE_CONV2D: ("out_pad", "stride", "local_bound", "acc_type"),
    TosaOp.CLAMP: ("min_val", "max_val", "nan_mode"),
    TosaOp.ARITHMETIC_RIGHT_SHIFT: ("round",),
    TosaOp.MAXIMUM: _EXTREME,
    TosaOp.MINIMUM: _EXTREME,
    TosaOp.REDUCE_MAX: ("axis", "nan_mode"),
    TosaOp.REDUCE_MIN: ("axis", "nan_mode"),
    TosaOp.REDUCE_SUM: ("axis",),
    TosaOp.CONCAT: ("axis",),
    TosaOp.REVERSE: ("axis",),
    TosaOp.TRANSPOSE: ("perms",),
    TosaOp.RESCALE: ("scale32", "rounding_mode", "per_channel", "input_unsigned", "output_unsigned"),
}
"""Fields of attribute tables in the schema's order. Operators that are not listed have an empty table."""

DTYPE_OF: Mapping[str, DType] = {
    "bool": DType.BOOL,
    "int8": DType.INT8,
    "int16": DType.INT16,
    "int32": DType.INT32,
    "int48": DType.INT48,
}

TYPE_IN_FILE: Mapping[str, str] = {"int64": "int32"}
"""Types that TOSA lacks, and those in which a file holds such values: indices."""

_INT48_BYTES = 6


def raw_bytes(array: NDArray[np.signedinteger], dtype: str) -> bytes:
    """Row-major little-endian elements as the schema stores them: 1, 2, 4 or (int48) 6 bytes each."""
    if dtype != "int48":
        return np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).tobytes()
    wide = np.ascontiguousarray(array, "<i8").reshape(-1, 1).view(np.uint8)
    return np.ascontiguousarray(wide[:, :_INT48_BYTES]).tobytes()
