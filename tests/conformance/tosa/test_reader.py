"""Reading back what the engine's writer writes."""

from __future__ import annotations

import numpy as np
import pytest

from engine.export.tosa.flatbuffer import serialised
from engine.export.tosa.graph import TosaGraph
from engine.export.tosa.schema import TosaOp
from tests.conformance.tosa.reader import UnreadableError, array_of, read_tosa


def test_graph_comes_back() -> None:
    graph = TosaGraph(location="somewhere")
    x = graph.input((1, 4, 4, 2), "int16")
    wide = graph.constant(np.array([-(2**47), -1, 2**47 - 1]), "int48")
    narrow = graph.constant(np.array([[1, -2], [3, -4]], np.int8))
    pooled = graph.add(
        TosaOp.MAX_POOL2D, (x,), (1, 2, 2, 2), "int16", kernel=(3, 3), stride=(2, 2), pad=(0, 1, 1, 0), nan_mode=1
    )
    limits = {"min_val": np.int16(-7).tobytes(), "max_val": np.int16(300).tobytes()}
    clamped = graph.add(TosaOp.CLAMP, (pooled,), pooled.shape, "int16", **limits, nan_mode=1)
    shifted = graph.add(TosaOp.ARITHMETIC_RIGHT_SHIFT, (clamped, clamped), pooled.shape, "int16", round=True)
    flat = graph.add(TosaOp.RESHAPE, (shifted, graph.sizes((8,))), (8,), "int16")
    scalar = graph.add(TosaOp.RESHAPE, (narrow, graph.sizes(())), (), "int8")
    graph.outputs = [flat, scalar]
    file = read_tosa(serialised(graph))
    assert set(file.tensors.values()) == set(graph.tensors)
    assert file.sizes == {item.key: item.values for item in graph.shapes.values()}
    assert file.inputs == (x.key,)
    assert file.outputs == (flat.key, scalar.key)
    assert [(item.op, item.inputs, item.outputs) for item in file.operators] == [
        (item.op, item.inputs, item.outputs) for item in graph.operators
    ]
    attributes = {item.op: dict(item.attribute) for item in file.operators}
    assert attributes[TosaOp.MAX_POOL2D] == {"kernel": (3, 3), "stride": (2, 2), "pad": (0, 1, 1, 0), "nan_mode": 1}
    assert attributes[TosaOp.CLAMP] == {**limits, "nan_mode": 1}
    assert attributes[TosaOp.ARITHMETIC_RIGHT_SHIFT] == {"round": True}
    np.testing.assert_array_equal(file.arrays[wide.key], graph.arrays[wide.key])
    np.testing.assert_array_equal(file.arrays[narrow.key], graph.arrays[narrow.key])


def test_padding_behind_elements_is_left_out() -> None:
    assert array_of(bytes([255, 1, 0, 0, 0, 0, 0, 0]), "int8", 2).tolist() == [-1, 1]
    assert array_of(b"\xff" * 6 + b"\x00\x00", "int48", 1).tolist() == [-1]


def test_what_is_never_exported_is_named() -> None:
    with pytest.raises(UnreadableError, match="no TOSA flatbuffer"):
        read_tosa(b"something else entirely")
